#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# touch_anon.sh - random stores into memory without a file, eight times the cache: it goes to swap
# and comes back, every stamp is there, and the budget holds. What is refused as a swap area.

. "${0%/*}/lib.sh"
need_engine

limit=$((4 * 1024 * 1024))
"$FAULTLINE" touch --anon 32M --swap "$work/swap:64M" --pattern random --count 20000 --threads 4 \
        --write --verify --cache 4M --json >stats || fail "touch --anon: $(cat stats)"
[ "$(json_value stats verify_errors)" -eq 0 ] || fail "verify: $(cat stats)"
[ "$(json_value stats access_errors)" -eq 0 ] || fail "accesses: $(cat stats)"
[ "$(json_value stats swap_outs)" -gt 0 ] || fail "nothing went to swap: $(cat stats)"
[ "$(json_value stats swap_ins)" -gt 0 ] || fail "nothing came back: $(cat stats)"
[ "$(json_value stats zero_fills)" -gt 0 ] || fail "zero_fills: $(cat stats)"
peak=$(json_value stats cache_bytes_peak)
[ "$peak" -le "$limit" ] || fail "cache_bytes_peak is $peak"
[ "$(stat -c '%a %s' swap)" = "600 67108864" ] || fail "the area: $(stat -c '%a %s' swap)"

# It is known again, with its size; and by its variable.
FAULTLINE_SWAP=$work/swap "$FAULTLINE" touch --anon 8M --write --verify --cache 1M --mincore \
        >ranges 2>err || fail "touch --mincore: $(cat err)"
grep -q '^[0-9]*-[0-9]*$' ranges || fail "--mincore: $(cat ranges)"

# Loads of what was never stored to take nothing.
"$FAULTLINE" touch --anon 64M --cache 1M --json >stats || fail "loads: $(cat stats)"
[ "$(json_value stats cache_bytes)" -eq 0 ] || fail "zeros are held: $(cat stats)"

make_random other 100000
sum=$(sha256sum other)
expect_error 1 'not been a swap area' "$FAULTLINE" touch --anon 1M --swap "$work/other"
[ "$(sha256sum other)" = "$sum" ] || fail "a file that is no swap area was changed"
expect_error 1 'No such file' "$FAULTLINE" touch --anon 1M --swap "$work/new"
[ ! -e new ] || fail "a swap area without a size was made"
expect_error 1 'allocate memory' "$FAULTLINE" touch --anon 64M --write --cache 1M --swap off
expect_error 2 'not both' "$FAULTLINE" touch --anon 1M other
