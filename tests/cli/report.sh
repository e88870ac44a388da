#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# report.sh - traces as pages: numbers that are those of the run's counters, bad input, and then each
# page in headless Chromium, used with pointer and keyboard (report/test/page.mjs).

here=$(realpath "${0%/*}")
: "${ROOT:=$here/../..}"
ROOT=$(realpath "$ROOT")
. "$here/lib.sh"

# count NAME: of the run's counters.
count()
{
        sed "s/.*\"$1\": *\([0-9]*\).*/\1/" counters
}

# traced NAME OPTIONS...: a run, its trace and its counters.
traced()
{
        name=$1
        shift
        "$FAULTLINE" touch "$@" --trace "$name" --json --stats >touched 2>counters ||
                fail "$name: $(cat counters)"
}

# --- bad input
printf FLTRACE1 >cut
: >nothing
expect_error 2 'no trace' "$FAULTLINE" report
expect_error 2 'one trace' "$FAULTLINE" report a b
expect_error 2 '-o: needs a value' "$FAULTLINE" report a -o
for bad in none nothing cut; do
        expect_error 1 'open' "$FAULTLINE" report $bad --json
done
"$FAULTLINE" report cut -o page 2>err
grep -q 'without the page' err && page= || page=1

# --- a random reader and a sequential one, in a cache that is too small
need_engine
make_random data $((16 * 1024 * 1024))
traced mixed data --pattern random --count 700 --threads 2 --seed 7 --cache 4M --readahead 64K
faults=$(($(count faults_major) + $(count faults_minor)))
expect_error 1 'the trace itself' "$FAULTLINE" report mixed --json -o ./mixed
"$FAULTLINE" report mixed --json >json || fail "report --json"
seen=$(grep -o '"faults":[0-9]*' json | head -n 1 | tr -dc 0-9)
[ "$seen" -eq "$faults" ] || fail "report: $seen faults, not $faults"

# --- a trace that was cut short: what is there, and one line about the rest
head -c $(($(wc -c <mixed) - 1000)) mixed >short
"$FAULTLINE" report short --json >json 2>err && fail "a trace without its end is whole"
grep -q '^faultline: short: .*in the report' err && [ "$(wc -l <err)" -eq 1 ] || fail "short: $(cat err)"
grep -q '"problem":"' json || fail "short: the document does not say so"

# --- bits turned over: whatever comes out, it is no crash
size=$(wc -c <mixed)
for seed in 1 2 3 4 5 6 7 8; do
        cp mixed flipped
        for at in 13 31 57 73 91; do
                printf '\377' | dd of=flipped bs=1 conv=notrunc status=none \
                        seek=$((64 + seed * 7919 * at % (size - 64)))
        done
        "$FAULTLINE" report flipped --json >json 2>err
        [ $? -le 1 ] || fail "flipped, $seed: $(cat err)"
done

# --- the pages
[ "$page" ] || skip "the pages: built without node or npm's packages; the rest passed"
command -v node >/dev/null || skip "the pages: no node; the rest passed"
[ -d "$ROOT/report/node_modules/playwright-core" ] ||
        skip "the pages: no playwright-core (npm ci --ignore-scripts in report/); the rest passed"

"$FAULTLINE" report mixed -o mixed.html || fail "mixed"
"$FAULTLINE" report short -o short.html 2>err && fail "short: whole, as a page"

# Memory as a disk, for many faults in little time.
traced million ram:64M --pattern random --count "${TOUCHES:-92000}" --cache 32M --readahead 4K --seed 3
events=$("$FAULTLINE" report million --json | grep -o '"events":[0-9]*' | head -n 1 | tr -dc 0-9)
[ "$events" -gt 1000000 ] || fail "million: $events events"
"$FAULTLINE" report million -o million.html || fail "million"

# A run that touches nothing.
: >zero
"$FAULTLINE" cat zero --trace empty >/dev/null || fail "empty"
"$FAULTLINE" report empty -o empty.html || fail "a trace without faults"

# Names that would be more than names, were they believed. The first is that of a file in a folder.
evil='</script><img src=x onerror=window.hacked=1>'
image='<img src=x onerror=window.hacked=1>'
mkdir '<'
cp data "$image"
"$FAULTLINE" touch "$image" --pattern seq --count 64 --cache 1M --trace "$evil" >/dev/null || fail "names"
"$FAULTLINE" report "$evil" -o names.html || fail "names, as a page"

node "$ROOT/report/test/page.mjs" "$work" "$events"
