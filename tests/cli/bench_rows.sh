#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# bench_rows.sh - every benchmark runs once on every side, the document parses and makes a table,
# Markdown and a page; what could not be compared is said, and nothing is left behind. How fast it
# is, is no matter of a test.

. "${0%/*}/lib.sh"
need_engine

rows='rand-read-1 rand-read-2 rand-read-8 rand-read-32 rand-read-1-inline rand-read-8-inline
        rand-read-1-spin rand-read-8-spin
        rand-noadvice-1 rand-write rand-write-8 msync-64 rand-tail-8 seq seq-write
        backward stride stride-noadvice four-streams hot-set zipf-0.9 zipf-1.1 zipf-scan many-maps map-unmap refault anon-random anon-seq
        first-touch map-large map-large-file maps-50000 far-apart pread-hit pread-miss
        rand-read-8-traced minor-60000-traced nbd-seq remote-rand-8 remote-rand-64 remote-seq remote-prefetch mapped block-read-32 prefetch block-ram'

# expect_count N PATTERN: in out there are N matches.
expect_count()
{
        got=$(grep -o -e "$2" out | wc -l)
        [ "$got" -eq "$1" ] || fail "$got times $2, not $1: $(cat out)"
}

# sides_here KEY COUNT REASON: the side took part in so many rows, or the run says why not.
sides_here()
{
        count=$2
        if grep -q "{\"side\": \"$1\", \"name\": \"[^\"]*\", \"why\": \"$3" out; then
                count=0
        fi
        expect_count "$count" "{\"side\": \"$1\", \"name\": \"[^\"]*\", \"ratio_permille\""
}

groups_here()
{
        find /sys/fs/cgroup -maxdepth 9 -type d -name 'faultline-bench-*' 2>/dev/null
}
before_us=$(groups_here)

"$FAULTLINE" bench --size 8M --cache 1M --seconds 0.01 --rounds 1 --dir . --json >out ||
        fail "bench --json"
[ "$(wc -l <out)" -eq 1 ] || fail "not one line: $(cat out)"
for row in $rows; do
        grep -q "\"name\": \"$row\", \"title\"" out || fail "no row $row in $(cat out)"
done
# shellcheck disable=SC2086
set -- $rows
if grep -q '{"side": "nbdcopy", "name": "[^"]*", "why": "' out; then
        expect_count $(($# - 5)) '"side": "faultline"'
        rows=$(echo "$rows" | sed 's/nbd-seq//; s/remote-[a-z0-9-]*//g') # nobody runs it, so tables have no line for it
else
        expect_count $# '"side": "faultline"'
        expect_count 2 '{"side": "nbdcopy", "name": "[^"]*", "ratio_permille"'
fi
expect_count 3 '"side": "faultline-small"'
expect_count 2 '"side": "faultline-untraced"'
# what a trace loses is told, also if it is nothing
expect_count 2 '[0-9] events lost ([0-9]*-[0-9]*) of [1-9][0-9]* a round"'
expect_count 13 '"side": "faultline-no-advice"'
# those that swap may have nowhere to swap to
if grep -q 'the kernel has nowhere to swap to: ..*"' out; then
        expect_count 24 '"side": "mmap"'
else
        expect_count 26 '"side": "mmap"'
fi
# a pass over four caches swaps (the kernel's side has room enough beside); in its 10 ms the other row may
# not come to its first store
grep -q '"note": "[0-9.]* bytes swapped a byte' out || fail "nothing was swapped: $(cat out)"
expect_count 19 '"side": "mmap-advice"'
if "$FAULTLINE" touch faultline-bench-8M.dat --mmu sigbus --count 1 >/dev/null 2>&1; then
        expect_count 7 '"note": "MMU '
fi
expect_count 2 'KiB of metadata a page'
expect_count 14 '"side": "pread"'
expect_count 1 '"side": "malloc"'
sides_here io_uring 14 '\(io_uring\|O_DIRECT\): '
sides_here fio-nbd 3 '\(fio \|nbd\|the module\)'
sides_here fio-psync 16 '\(fio is not\|O_DIRECT: \)'
sides_here fio-io_uring 14 '\(fio is not\|io_uring: \|O_DIRECT: \)'
for word in '"cpu": "..*", "cores": [1-9]' '"kernel": "[0-9]' '"read_ahead_kb": [0-9]' \
        '"debug": \(true\|false\)' '"floor_permille": 250' '"cache_bytes": 1048576' '"file_bytes": 8388608' \
        '"comparable": ' '"elapsed_ns_all": [1-9]' '"cpu_ns_all": [1-9]'; do
        grep -q "$word" out || fail "no $word in $(cat out)"
done
grep -q '"comparable": false' out && ! grep -q '"problem": "..*"' out &&
        fail "not comparable, and no reason: $(cat out)"
grep -q '"problem": "[0-9]* accesses failed"' out && fail "$(cat out)"
# What stores bytes and what reads them cannot be done in no time.
grep -q '"per_second": "bytes"[^]]*"median": 0,' out && fail "$(cat out)"
[ "$(ls)" = "$(printf 'faultline-bench-8M.dat\nout\nprobe\nprobe.err')" ] || fail "left behind: $(ls)"
for group in $(groups_here); do
        # Another run's is its own business, as long as that runs; and what was there was not ours.
        kill -0 "${group##*-}" 2>/dev/null || echo "$before_us" | grep -qxF "$group" ||
                fail "left behind: $group"
done
grep -q "$(pwd)/faultline-bench-" /proc/swaps && fail "still swapping: $(cat /proc/swaps)"

# the same run again as a table, as Markdown and as a page; the JSON is read back whole
mv out run.json
"$FAULTLINE" bench --from run.json --json >out || fail "--from --json"
cmp run.json out || fail "the document changed when it was read back"
# earlier versions gave a side that is not here only its name
echo '{"rows": [], "absent": [{"side": "fio psync, direct", "why": "fio is not installed"}]}' >old.json
"$FAULTLINE" bench --from old.json >out || fail "--from old.json"
grep -q '^not here: fio psync, direct (fio is not installed)$' out || fail "$(cat out)"
"$FAULTLINE" bench --from run.json --html run.html >table || fail "--from"
"$FAULTLINE" bench --from run.json --markdown >markdown || fail "--from --markdown"
for row in $rows; do
        grep -q "^$row  *[0-9n]" table || fail "no $row in $(cat table)"
        grep -q "^| $row |" markdown || fail "no $row in $(cat markdown)"
        grep -q "<h2 id=\"row-[0-9]*\">$row</h2>" run.html || fail "no $row in the page"
        grep -q "<title id=\"t-[0-9]*\">$row: " run.html || fail "no plot of $row in the page"
done
grep -q -e '<script' -e 'src=' -e 'href="[^#]' -e '@import' -e 'url(' run.html &&
        fail "the page needs something else"
[ "$(tail -n 1 run.html)" = '</main></body></html>' ] || fail "the page has no end"
# a ratio below a tenth has a bar of its own length
echo '{"rows": [{"name": "low", "comparable": true, "ratio_permille": 40, "sides": []}]}' >low.json
"$FAULTLINE" bench --from low.json --html low.html >out || fail "--from low.json"
grep -q 'scale from 0.01 to 10' low.html || fail "the axis ends above the bar"
# what polling took stands on a line of its own
echo '{"rows": [{"name": "polls", "comparable": true, "beside": "mmap", "sides": [{"side": "faultline",
"name": "Faultline", "median": 9, "min": 8, "max": 10, "cpu_ns": 30000, "spin_ns": 24000, "spins": 2000,
"spin_hits": 1500}]}]}' >polls.json
"$FAULTLINE" bench --from polls.json --html polls.html >out || fail "--from polls.json"
grep -q '^ *75 % of 2,000 in time  *24 us  of which polling before sleeping$' out || fail "$(cat out)"
grep -q '>of which polling before sleeping</th><td colspan="4">75 % of 2,000 in time</td><td>24 us<' \
        polls.html || fail "$(cat polls.html)"
"$FAULTLINE" bench --from polls.json --markdown >out || fail "--from polls.json --markdown"
grep -q '^|  |  | of which polling before sleeping | 75 % of 2,000 in time | 24 us |$' out || fail "$(cat out)"
echo '{}' >empty.json
expect_error 1 'not of bench --json' "$FAULTLINE" bench --from empty.json
expect_error 1 'missing.json: read: ' "$FAULTLINE" bench --from missing.json

# the goals: each row with its cache, every goal of the row with what was found, and the same again from the file
"$FAULTLINE" bench --goals rand-read-1-inline rand-read-8 msync-64 refault pread-hit \
        --size 8M --seconds 0.01 --rounds 1 --dir . --json >goals.json ||
        fail "bench --goals"
"$FAULTLINE" bench --from goals.json >out || fail "--from goals.json"
for wanted in 'random read, 1 thread, sigbus, beside mmap *>= 1.25 *[0-9]' \
        'CPU time of a random fault, 8 threads, uffd *<= 1.30 *[0-9]' \
        'msync of 64 pages *>= 1.00 *[0-9]' 'refault, a page *<= 350 ns *[1-9][0-9]* ns' \
        'refault, pages a fault *>= 512 *[1-9]' 'fl_pread of what is cached *>= 1.67 *[0-9]'; do
        grep -q "^$wanted.*  \(met\|missed\)  .*/s" out || fail "no $wanted in $(cat out)"
done
[ "$(grep -c '  \(met\|missed\|-\)   *[0-9n]' out)" -eq 8 ] || fail "goals: $(cat out)"
"$FAULTLINE" bench --from goals.json --markdown >out || fail "--from goals.json --markdown"
grep -q '^| msync of 64 pages | >= 1.00 | [0-9.]* | \(met\|missed\) | ' out || fail "$(cat out)"
expect_error 2 'sets each row' "$FAULTLINE" bench --goals --cache 1M --dir .

# a second thread running beside: the row again, held to no floor
"$FAULTLINE" bench mapped --busy --size 8M --seconds 0.01 --rounds 1 --dir . --sides malloc >out ||
        fail "bench --busy"
grep -q '^mapped  *[0-9.]*  0.98 \(met\|missed\) .* GB/s .* malloc$' out || fail "$(cat out)"
grep -q '^mapped+busy  *[0-9.]*  .* GB/s .* malloc$' out || fail "$(cat out)"
grep -q '^mapped+busy .*\(met\|missed\)' out && fail "$(cat out)"

# only the side that the ratio is about
"$FAULTLINE" bench stride --pairs --size 8M --seconds 0.01 --rounds 1 --dir . --json >out ||
        fail "bench --pairs"
expect_count 2 '"side": "[^"]*", "name": "[^"]*", "ratio_permille"'
expect_count 1 '"side": "mmap-advice"'

# a side that was left out is not compared with; the file is made once
before=$(stat -c %Y.%i faultline-bench-8M.dat)
"$FAULTLINE" bench mapped --size 8M --seconds 0.01 --rounds 1 --dir . --sides mmap >out ||
        fail "bench --sides"
grep -q '^mapped  *not comparable: malloc was not measured$' out || fail "$(cat out)"
rm -f ./*.json table markdown ./*.html
"$FAULTLINE" bench mapped --size 8M --seconds 0.01 --rounds 2 --dir . >out || fail "bench"
[ "$before" = "$(stat -c %Y.%i faultline-bench-8M.dat)" ] || fail "the file was made anew"

# a run that was killed takes its worker with it and leaves its group; the next removes that
"$FAULTLINE" bench stride --pairs --size 8M --seconds 60 --dir . >out &
killed=$!
sleep 1
kill -9 "$killed" && wait "$killed" 2>/dev/null
stale=$(groups_here | grep -- "-$killed\$")
for try in 1 2 3 4 5; do
        [ "$try" -eq 1 ] || sleep 1
        "$FAULTLINE" bench stride --pairs --size 8M --seconds 0.01 --rounds 1 --dir . >out ||
                fail "bench"
        [ -d "$stale" ] || break
done
[ ! -d "$stale" ] || fail "the group of a killed run stays: $stale"

# of one that goes on under another name it keeps away
cp "$FAULTLINE" renamed
./renamed bench stride --pairs --size 8M --seconds 1 --rounds 1 --dir . >out2 2>&1 &
renamed=$!
for try in 1 2 3 4 5; do
        "$FAULTLINE" bench stride --pairs --size 8M --seconds 0.01 --rounds 1 --dir . >out ||
                fail "bench"
done
wait "$renamed" || fail "a run beside others: $(cat out2)"

# a dead run's is removed as well where another run's would not have been
if [ -n "$stale" ] && mkdir "${stale%/*}/elsewhere-$$" 2>/dev/null; then
        sh -c 'exit 0' &
        dead=$!
        wait "$dead"
        mkdir "${stale%/*}/elsewhere-$$/faultline-bench-$dead"
        "$FAULTLINE" bench stride --pairs --size 8M --seconds 0.01 --rounds 1 --dir . >out ||
                fail "bench"
        left=$(ls -d "${stale%/*}/elsewhere-$$"/faultline-bench-* 2>/dev/null)
        rmdir "${stale%/*}/elsewhere-$$"/faultline-bench-* "${stale%/*}/elsewhere-$$" 2>/dev/null
        [ -z "$left" ] || fail "the group of a dead run stays: $left"
fi

# without the right to make a cgroup the kernel's rows are not compared
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
        chmod 755 . && chmod 644 faultline-bench-8M.dat
        if setpriv --reuid 65534 --regid 65534 --clear-groups "$FAULTLINE" bench seq --size 8M \
                --rounds 1 --dir . --mmu uffd --sides mmap-advice >out 2>err; then
                grep -q '^seq  *not comparable: ..*' out || fail "$(cat out)"
        fi
fi

expect_error 2 'no such benchmark' "$FAULTLINE" bench nonsense
expect_error 2 'no such side' "$FAULTLINE" bench seq --sides mmap,nonsense
expect_error 2 'must be from' "$FAULTLINE" bench seq --seconds never
expect_error 1 'missing: ' "$FAULTLINE" bench seq --dir missing --size 8M
exit 0
