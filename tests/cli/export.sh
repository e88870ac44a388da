#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# export.sh - a trace for other tools: text, line by line what the counters counted; JSON whose slices
# and arrows all have two ends; blktrace's stream, on which blkparse, btt and iowatcher count what we do.

here=$(realpath "${0%/*}")
. "$here/lib.sh"

# count NAME: of the run's counters.
count()
{
        sed "s/.*\"$1\": *\([0-9]*\).*/\1/" counters
}

# --- bad input
: >empty
printf FLTRACE1 >cut
expect_error 2 'no trace' "$FAULTLINE" export
expect_error 2 'one trace' "$FAULTLINE" export a b
expect_error 2 'must be one of text|perfetto|blktrace' "$FAULTLINE" export a --format svg
expect_error 2 '-o: needs a value' "$FAULTLINE" export a -o
expect_error 2 '-x: unknown option' "$FAULTLINE" export a -x
expect_error 1 'No such file' "$FAULTLINE" export nothing
expect_error 1 'open' "$FAULTLINE" export empty
expect_error 1 'open' "$FAULTLINE" export cut

# --- a run of its own: random stores in a cache that is too small
need_engine
make_random data $((16 * 1024 * 1024))
"$FAULTLINE" touch data --pattern random --count 600 --write --seed 7 --cache 2M --readahead 64K \
        --trace trace --json --stats >touched 2>counters || fail "touch: $(cat counters)"
faults=$(($(count faults_major) + $(count faults_minor)))
[ "$faults" -gt 500 ] || fail "$faults faults"

"$FAULTLINE" export trace >text || fail "text"
seen=$(grep -c ' mmu  *do_page_fault ' text)
[ "$seen" -eq "$faults" ] || fail "text: $seen faults, not $faults"
requests=$(grep -c ' block  *request dispatch ' text)
sent=$(count requests)
[ "$requests" -ge "$sent" ] || fail "text: $requests requests, not $sent"
awk 'NR > 1 && ($1 < last || NF < 7) { exit 1 } { last = NR > 1 ? $1 : 0 }' text ||
        fail "text: not in order of time, or a line that is short"
grep -q ' fault done  *data  *[0-9]* result done' text || fail "text: no file and offset"

expect_error 1 'the trace itself' "$FAULTLINE" export trace -o ./trace
"$FAULTLINE" export trace --format perfetto -o json || fail "perfetto"
if command -v python3 >/dev/null; then
        python3 "$here/export_check.py" json "$faults" "$requests" || fail "perfetto: what is above"
else
        echo "no python3: the JSON is not looked at" >&2
fi

# Two pagers: a thread may fault again before the first has told that its fault is over.
"$FAULTLINE" touch data --pattern random --count 600 --write --seed 7 --cache 2M --readahead 64K \
        --pagers 2 --trace two --json --stats >touched 2>counters || fail "touch: $(cat counters)"
"$FAULTLINE" export two >text2 && "$FAULTLINE" export two --format perfetto -o json2 || fail "two pagers"
if command -v python3 >/dev/null; then
        python3 "$here/export_check.py" json2 "$(grep -c ' mmu  *do_page_fault ' text2)" \
                "$(grep -c ' block  *request dispatch ' text2)" || fail "two pagers: what is above"
fi

"$FAULTLINE" export trace --format blktrace -o t.blktrace.0 || fail "blktrace"
if command -v blkparse >/dev/null && command -v btt >/dev/null; then
        blkparse -i t -d t.bin >parsed 2>err || fail "blkparse: $(cat err)"
        seen=$(grep -c '^240,0 .* D ' parsed)
        [ "$seen" -eq "$requests" ] || fail "blkparse: $seen dispatched, not $requests"
        seen=$(grep -c '^240,0 .* C ' parsed)
        [ "$seen" -ge "$sent" ] || fail "blkparse: $seen completed, not $sent"
        grep -q 'Skips: 0 forward' parsed || fail "blkparse skipped: $(grep Skips parsed)"
        plugs=$(grep -c '^240,0 .* P ' parsed)
        unplugs=$(grep -c '^240,0 .* U ' parsed)
        [ "$plugs" -gt 100 ] && [ "$plugs" -eq "$unplugs" ] ||
                fail "blkparse: $plugs plugs, $unplugs unplugs"
        btt -i t.bin >latencies 2>err || fail "btt: $(cat err)"
        seen=$(awk '/^D2C / && !n { n = $5 } END { print n + 0 }' latencies)
        data=$(grep -c '^240,0 .* C  *[RW]' parsed) # a flush is none of btt's
        [ "$seen" -ge "$data" ] || fail "btt: D2C of $seen, not $data"
else
        echo "no blkparse: the stream is not looked at" >&2
fi
if command -v iowatcher >/dev/null; then
        iowatcher -t t -o movie.svg >err 2>&1 || fail "iowatcher: $(cat err)"
        grep -q '<svg' movie.svg || fail "iowatcher: no picture"
fi

# --- a trace that was cut short: what is there, and one line about the rest
head -c $(($(wc -c <trace) - 1000)) trace >short
"$FAULTLINE" export short --format perfetto -o json 2>err && fail "a trace without its end is whole"
grep -q '^faultline: short: .*exported' err || fail "short: $(cat err)"
[ "$(wc -l <err)" -eq 1 ] || fail "short: $(cat err)"
tail -n 1 json | grep -q '^]}$' || fail "short: the JSON is cut, too"
