#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# touch_verify.sh - 200,000 random stores by 8 threads into a file eight times the cache: the
# budget holds, seen from inside and from outside, and another program finds every stamp.

. "${0%/*}/lib.sh"
need_engine

limit=$((32 * 1024 * 1024))
pages=65536
"$HELPERS/stamp_check" make file "$pages" || fail "make the file"

"$FAULTLINE" touch file --pattern random --count 200000 --threads 8 --seed 42 --write --verify \
        --cache 32M --json >stats &
child=$!

# From outside: the blocks of the memfds that hold the page frames. A process that has ended but
# was not waited for has no maps.
most=0
while [ -n "$(head -c 1 "/proc/$child/maps" 2>/dev/null)" ]; do
        held=0
        for fd in "/proc/$child/fd"/*; do
                case $(readlink "$fd" 2>/dev/null) in
                /memfd:* | "/faultline (deleted)")
                        blocks=$(stat -L -c %b "$fd" 2>/dev/null)
                        held=$((held + ${blocks:-0} * 512))
                        ;;
                esac
        done
        [ "$held" -gt "$most" ] && most=$held
        sleep 0.05
done
wait "$child" || fail "touch failed: $(cat stats)"

[ "$(json_value stats verify_errors)" -eq 0 ] || fail "verify: $(cat stats)"
[ "$(json_value stats access_errors)" -eq 0 ] || fail "accesses: $(cat stats)"
peak=$(json_value stats cache_bytes_peak)
[ "$peak" -le "$limit" ] || fail "cache_bytes_peak is $peak"
[ "$most" -le "$limit" ] || fail "the memfds held $most bytes"
[ "$most" -gt 0 ] || fail "no memfd was seen"
[ "$(json_value stats evicted_pages)" -gt 0 ] || fail "nothing was evicted"

"$HELPERS/stamp_check" check file "$pages" 42 200000 8 || fail "a stamp is missing, or other bytes"
# another run of some of the streams finds them; with another seed no stamp is right
"$FAULTLINE" touch file --pattern random --count 2000 --threads 8 --seed 42 --verify --cache 32M \
        --advice random >/dev/null || fail "the stamps are not found again"
"$FAULTLINE" touch file --pattern random --count 2000 --threads 8 --seed 43 --verify --cache 32M \
        --advice random >/dev/null 2>err && fail "stamps of another seed are taken for right"
grep -q 'verify: 19[0-9][0-9] stamps are missing or wrong' err || fail "wrong stamps: $(cat err)"

# private stores are seen by whoever made them, and never reach the file
"$FAULTLINE" touch file --pattern random --count 5000 --threads 8 --seed 7 --private --write \
        --verify --cache 64M --advice random >/dev/null || fail "private stores"
"$HELPERS/stamp_check" check file "$pages" 42 200000 8 || fail "private stores reached the file"
exit 0
