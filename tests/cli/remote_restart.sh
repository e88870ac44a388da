#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# remote_restart.sh - servers that die and come back: what was stored is there, whatever they had
# forgotten. The servers keep writes in memory until they are told to flush, and lose them when
# they die.

. "${0%/*}/remote_lib.sh"
need_nbd
need_engine
make_random new 8000000

# put_on WORD...: the file is put on a server that does as it is told, and is there.
put_on()
{
        head -c "${bytes:-9000001}" /dev/zero | tr '\0' x >disk
        serve disk volatile "$@"
        "$FAULTLINE" put new "$uri" --cache 2M || fail "put on a server with: $*"
        "$FAULTLINE" cat "$uri" --length 8000000 >out || fail "cat from a server with: $*"
        stop_server KILL
        cmp new out || fail "other bytes from a server with: $*"
        cmp -n 8000000 new disk || fail "lost by a server with: $*"
        [ -z "$(tail -c +8000001 disk | tr -d x)" ] || fail "something behind it changed with: $*"
}

put_on
for n in 1 2 3 5 8 13 21 34; do
        put_on die=$n
done
put_on die=9 deaths=3
put_on die=7 late=300
put_on die=6 nofua
# Blocks larger than a page: a write of a page reads the rest of its block.
bytes=9043968
put_on min=4096 max=65536 die=20
put_on min=65536 max=131072 die=40

# Stamps, stored in random order while the server dies and comes back, and then read.
head -c 16M /dev/zero >disk
serve disk volatile die=30 deaths=4 late=50
"$FAULTLINE" touch "$uri" --pattern random --count 3000 --seed 7 --write --cache 2M >/dev/null ||
        fail "stamps"
"$FAULTLINE" touch "$uri" --pattern random --count 3000 --seed 7 --verify --cache 2M >/dev/null ||
        fail "stamps are not what was stored"
stop_server KILL
# The server has forgotten all it could: what was synced is in the file.
"$FAULTLINE" touch disk --pattern random --count 3000 --seed 7 --verify >/dev/null ||
        fail "stamps are not in the file"

# One that comes back as another is not taken for the same.
head -c 9M /dev/zero >disk
serve disk die=8 shrink
expect_error 1 'Stale file handle' "$FAULTLINE" put new "$uri&timeout=600ms"
stop_server
# One that does not come back.
serve disk die=8 once
expect_error 1 'Connection refused' "$FAULTLINE" put new "$uri&timeout=600ms"
stop_server
exit 0
