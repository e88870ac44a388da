#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# report.sh - traces as documents: numbers that agree with each other and with the run's counters, bad
# input, a million events. report_page.sh looks at the pages.

here=$(realpath "${0%/*}")
. "$here/lib.sh"

# count NAME: of the run's counters.
count()
{
        sed "s/.*\"$1\": *\([0-9]*\).*/\1/" counters
}

# check JSON [FAULTS [REQUESTS]]
check()
{
        command -v python3 >/dev/null || return 0
        python3 "$here/report_check.py" "$@" || fail "$1: what is above"
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

# --- random readers, in a cache that is too small
need_engine
make_random data $((16 * 1024 * 1024))
traced mixed data --pattern random --count 700 --threads 2 --seed 7 --cache 4M --readahead 64K
faults=$(($(count faults_major) + $(count faults_minor)))
expect_error 1 'the trace itself' "$FAULTLINE" report mixed --json -o ./mixed
"$FAULTLINE" report mixed --json >json || fail "report --json"
check json "$faults" "$(count requests)"

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

# --- a million events. Memory as a disk, for many faults in little time.
traced million ram:64M --pattern random --count "${TOUCHES:-105000}" --cache 32M --readahead 4K --seed 3
"$FAULTLINE" report million --json >json || fail "million"
check json
# Those that were lost on a machine that is busy happened too.
events=$(($(grep -o '"events":[0-9]*' json | head -n 1 | tr -dc 0-9) +
        $(grep -o '"dropped":[0-9]*' json | tr -dc 0-9)))
[ "$events" -gt 1000000 ] || fail "million: $events events"
