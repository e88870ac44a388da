#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# export_nbd.sh - a random and a sequential reader of a server that takes 2 ms for everything: what btt
# makes of the trace agrees with what the engine counted itself, and whoever waited has an arrow. The same
# run is loaded by speedscope, and is a page of which pictures can be taken (FAULTLINE_PICTURES: where to
# leave them).

here=$(realpath "${0%/*}")
. "$here/remote_lib.sh"
need_nbd
need_tool nbdkit python3 blkparse btt
need_engine
make_random disk $((32 * 1024 * 1024))
serve_by nbdkit -f -U "$work/socket" --filter=delay file disk rdelay=2ms

# One thread takes the first half of the list, the other the second: 200 pages of the disk's end in a
# random order, and 200 of its beginning one after the other.
awk 'BEGIN {
        srand(7)
        for (i = 0; i < 200; i++) print 4096 + int(rand() * 4096)
        for (i = 0; i < 200; i++) print i
}' >list
"$FAULTLINE" touch "$uri" --pattern list=list --threads 2 --cache 8M --readahead 64K --trace trace \
        --stats >touched 2>stats || fail "touch: $(cat stats)"
grep -q '^trace  *0 events lost' touched || fail "events were lost: $(cat touched)"

# --- btt's averages, and those of the engine's own counters
"$FAULTLINE" export trace --format blktrace -o t.blktrace.0 || fail "blktrace"
blkparse -q -i t -d t.bin >/dev/null 2>err || fail "blkparse: $(cat err)"
btt -i t.bin >latencies 2>err || fail "btt: $(cat err)"
# device read bios requests bytes unit waits unit takes unit; then btt's lines, in seconds
awk '
        function us(value, unit) { return unit == "ms" ? 1000 * value : value }
        function differ(name, a, b) {
                if (a < 0.98 * b || a > 1.02 * b) {
                        print name ": btt " a " us, the engine " b " us"
                        bad = 1
                }
        }
        FILENAME == "stats" && $2 == "read" && !n {
                n = $4
                waits = us($(NF - 3), $(NF - 2))
                takes = us($(NF - 1), $NF)
        }
        FILENAME == "latencies" && $1 == "D2C" && NF == 5 { d2c = $3 * 1e6; seen = $5 }
        FILENAME == "latencies" && $1 == "Q2C" && NF == 5 { q2c = $3 * 1e6 }
        END {
                if (n < 200 || seen < n) {
                        print "D2C of " seen ", requests " n
                        bad = 1
                }
                if (takes < 2000) {
                        print "requests take " takes " us only"
                        bad = 1
                }
                differ("D2C", d2c, takes)
                differ("Q2C", q2c, waits + takes)
                exit bad
        }' stats latencies >&2 || fail "$(grep -A 1 '^device' stats) $(grep -e ^D2C -e ^Q2C latencies)"

# --- and what the histograms of the block layer say of each latency by itself
mkdir each
(cd each && btt -i ../t.bin -q q2c -l d2c >out 2>err) || fail "btt: $(cat each/err)"
python3 "$here/latency_check.py" stats each || fail "latencies: what is above"

# --- every slice and every arrow has two ends, and whoever waited has an arrow
"$FAULTLINE" export trace --format perfetto -o json || fail "perfetto"
number()
{
        awk -v name="$1" '$1 == name { print $2; exit }' stats
}
faults=$(($(number faults_major) + $(number faults_minor)))
python3 "$here/export_check.py" json "$faults" "$(number requests)" || fail "perfetto: what is above"

# --- the same run in a browser: in speedscope, and as a page with the documentation's pictures
: "${ROOT:=$here/../..}"
report=$(realpath "$ROOT")/report
command -v node >/dev/null && [ -d "$report/node_modules/speedscope" ] || exit 0
node "$report/test/speedscope.mjs" json || fail "speedscope: what is above"
"$FAULTLINE" report trace -o page.html 2>err || {
        grep -q 'without the page' err && exit 0
        fail "report: $(cat err)"
}
pictures=${FAULTLINE_PICTURES:-$work/pictures}
mkdir -p "$pictures"
node "$report/test/screenshots.mjs" page.html "$pictures" || fail "pictures: what is above"
for name in overview fault readahead slowest; do
        [ "$(wc -c <"$pictures/report-$name.png")" -gt 20000 ] || fail "nothing is on report-$name.png"
done
