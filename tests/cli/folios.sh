#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# folios.sh - a cache that is large enough for windows of whole folios: a scan takes and gives them back as
# such, every byte is the file's, and stores to parts of them are kept. Without the right to have them (a
# tmpfs of one's own) frames are single pages, and all but the first count must hold all the same.

. "${0%/*}/lib.sh"
need_engine

limit=$((128 * 1024 * 1024))
pages=81920
"$HELPERS/stamp_check" make file "$pages" || fail "make the file"

"$FAULTLINE" touch file --pattern seq --advice sequential --cache 128M --trace t --json >stats ||
        fail "scan: $(cat stats)"
[ "$(json_value stats access_errors)" -eq 0 ] || fail "accesses: $(cat stats)"
[ "$(json_value stats cache_bytes_peak)" -le "$limit" ] || fail "peak: $(cat stats)"
"$FAULTLINE" export t -o t.txt || fail "export"
whole=$(grep -c 'evict .*pages 512, why reclaim' t.txt)
parts=$(sed -n 's/.*evict .*pages \([0-9]*\), why reclaim.*/\1/p' t.txt |
        awk '$1 != 512 { n += $1 } END { print n + 0 }')
if [ "$(id -u)" -eq 0 ] && grep -q 'CapEff:.*[2367abef]......$' /proc/self/status 2>/dev/null; then
        # 51,200 pages and more have gone, 512 at a time.
        [ "$whole" -ge 90 ] || fail "only $whole folios have gone whole, $parts other pages"
        [ "$parts" -le $((whole * 512 / 8)) ] || fail "$parts pages in parts, $whole folios"
fi

"$FAULTLINE" cat file --cache 128M | cmp - file || fail "what was read is not the file"

# Stores in order go in windows, those at random into what is left of them.
"$FAULTLINE" touch file --pattern seq --advice sequential --cache 128M --write --verify --seed 5 \
        --json >stats || fail "stores in order: $(cat stats)"
[ "$(json_value stats verify_errors)" -eq 0 ] || fail "verify: $(cat stats)"
"$FAULTLINE" touch file --pattern random --count 60000 --threads 4 --cache 128M --write --verify \
        --seed 6 --json >stats || fail "stores at random: $(cat stats)"
[ "$(json_value stats verify_errors)" -eq 0 ] || fail "verify: $(cat stats)"
[ "$(json_value stats cache_bytes_peak)" -le "$limit" ] || fail "peak: $(cat stats)"
exit 0
