#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# whole_device.sh - a disk of the host mapped as one file; where it is read-only, no stores.

. "${0%/*}/lib.sh"
need_engine
[ "$(id -u)" -eq 0 ] || skip "only root can make a loop device"
command -v losetup >/dev/null || skip "there is no losetup"
make_random image 3000320
make_random new 1000000
loop=
trap '[ -z "$loop" ] || losetup -d "$loop"; rm -rf "$work"' EXIT
loop=$(losetup -f --show image 2>err) || skip "no loop device: $(cat err)"

"$FAULTLINE" cat "$loop" >out || fail "cat of a disk"
cmp image out || fail "a disk: other bytes"
"$FAULTLINE" put new "$loop" || fail "put on a disk"
cmp -n 1000000 new image || fail "what was put on a disk is not in the image"
[ "$(wc -c <image)" -eq 3000320 ] || fail "the image has another size"
expect_error 1 'No space left' "$FAULTLINE" put new "$loop" --faults enospc@0+1M
head -c 4000000 /dev/zero >long
expect_error 1 'No space left' "$FAULTLINE" put long "$loop"
losetup -d "$loop"
loop=$(losetup -r -f --show image) || fail "a read-only loop device"
"$FAULTLINE" cat "$loop" >out || fail "cat of a read-only disk"
cmp image out || fail "a read-only disk: other bytes"
expect_error 1 'read-only' "$FAULTLINE" touch "$loop" --pattern seq --write
expect_error 1 'read-only' "$FAULTLINE" put new "$loop"
exit 0
