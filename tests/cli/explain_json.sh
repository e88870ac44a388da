#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# explain_json.sh - where a fault's time went, layer by layer: as bars, and as JSON that is what its
# schema says.

here=$(realpath "${0%/*}")
. "$here/lib.sh"
need_engine
make_random file $((4 * 1024 * 1024))

# a device that takes 30 ms: that is where the time goes, and the shares are all of it
"$FAULTLINE" explain file --faults delay=30ms >out || fail "explain"
expect_sequence out '^fault [0-9]*: major' '^  vm ' '^  cache ' '^  block ' '^  driver .*%  ####'
awk '/^  (mmu|vm|cache|fs|block|driver|wait) .*%/ {
        for (i = 1; i <= NF; i++)
                if ($i ~ /%$/) share[$1] = $i + 0
        all += share[$1]
     }
     END { exit !(all > 99 && all < 101 && share["driver"] + share["wait"] > 40) }' out ||
        fail "the shares: $(grep % out)"

command -v python3 >/dev/null || skip "no python3: the JSON is not looked at"
check()
{
        name=$1
        shift
        "$FAULTLINE" explain file --json "$@" >json 2>err || [ "$name" = failing ] || fail "$name"
        python3 "$here/schema_check.py" "$ROOT/docs/explain.schema.json" json || fail "$name: above"
}
check loads --touch 0 --touch 0 --touch 128K
grep -q '"faults": \[\]' json || fail "a second load of a page is no fault"
check stores --touch 64K:w --touch 64K:w
check pread --via pread --touch 1M
check failing --faults eio@0+4M
grep -q '"error": "Input/output error"' json || fail "no error told"
check solaris --policy solaris --touch 0 --touch 8K

# and the check can say no
sed 's/"dropped": 0/"dropped": -1/' json >wrong
python3 "$here/schema_check.py" "$ROOT/docs/explain.schema.json" wrong 2>err && fail "-1 events lost"
sed 's/"driver": [0-9]*/"driver": 1/' json >wrong
python3 "$here/schema_check.py" "$ROOT/docs/explain.schema.json" wrong 2>err && fail "shares"
exit 0
