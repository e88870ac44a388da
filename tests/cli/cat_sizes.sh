#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# cat_sizes.sh - cat gives a file's bytes, put stores them, whatever the size.

. "${0%/*}/lib.sh"
need_engine

same_sum()
{
        want=$(sha256sum <"$1")
        got=$("$FAULTLINE" cat "$1" --cache 32M | sha256sum)
        [ "$want" = "$got" ] || fail "cat of $(wc -c <"$1") bytes differs"
}

large=$((100 * 1024 * 1024 + 13))
[ -z "${FAULTLINE_TEST_LONG:-}" ] || large=$((1024 * 1024 * 1024))
for size in 1 4095 4096 4097 $((1024 * 1024 + 7)) "$large"; do
        make_random source "$size"
        same_sum source
        rm -f copy
        "$FAULTLINE" put source copy --cache 32M || fail "put of $size bytes"
        cmp source copy || fail "put of $size bytes differs"
        # over what is there already: longer, then shorter
        head -c 5000 /dev/zero >copy
        "$FAULTLINE" put source copy --cache 256K || fail "put of $size bytes over 5000"
        cmp source copy || fail "put of $size bytes over 5000 differs"
done

# parts, at offsets that are no multiple of a page
make_random source $((1024 * 1024 + 7))
for part in "0 1" "1 4096" "4095 2" "4096 4096" "70000 300001" "1048582 1" "1048583 5" \
        "1000000 100000000"; do
        offset=${part% *} length=${part#* }
        tail -c +$((offset + 1)) source | head -c "$length" >want
        "$FAULTLINE" cat source --offset "$offset" --length "$length" >got ||
                fail "cat --offset $offset --length $length"
        cmp want got || fail "cat --offset $offset --length $length differs"
done

# a reader that has seen enough ends cat without a word
"$FAULTLINE" cat source 2>err | head -c 10 >/dev/null
[ ! -s err ] || fail "closed pipe: $(cat err)"

# the smallest budget, and the empty file
"$FAULTLINE" cat source --cache 256K | cmp - source || fail "cat with 64 pages differs"
: >empty
"$FAULTLINE" cat empty >got || fail "cat of an empty file"
[ ! -s got ] || fail "an empty file has bytes"
"$FAULTLINE" put empty copy || fail "put of an empty file"
[ -e copy ] && [ ! -s copy ] || fail "put of an empty file left bytes"

# the options may stand in the environment
FAULTLINE_CACHE=32M FAULTLINE_STATS=1 FAULTLINE_JSON=1 "$FAULTLINE" cat source 2>stats >got
cmp source got || fail "cat with FAULTLINE_CACHE differs"
[ "$(json_value stats budget_bytes)" = $((32 * 1024 * 1024)) ] || fail "FAULTLINE_CACHE not read"
exit 0
