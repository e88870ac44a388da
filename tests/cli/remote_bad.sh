#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# remote_bad.sh - servers that are not there, speak nonsense, or say nothing: an errno and one line,
# within a time.

. "${0%/*}/remote_lib.sh"
need_nbd
need_engine
make_random disk 3000000

# names
expect_error 1 'form nbd://HOST' "$FAULTLINE" cat nbd:disk
expect_error 1 'no host' "$FAULTLINE" cat nbd:///disk
expect_error 1 'no host' "$FAULTLINE" cat nbd://host:/disk
expect_error 1 'needs ?socket=' "$FAULTLINE" cat nbd+unix:///disk
expect_error 1 'takes no host' "$FAULTLINE" cat "nbd+unix://host/disk?socket=s"
expect_error 1 "socket's path" "$FAULTLINE" cat "nbd+unix:///disk?socket="
expect_error 1 'knows socket=' "$FAULTLINE" cat "nbd+unix:///?sockt=s"
expect_error 1 'timeout= takes a time' "$FAULTLINE" cat "nbd+unix:///?socket=s&timeout=5"
expect_error 1 'from 1 to 8' "$FAULTLINE" cat "nbd+unix:///?socket=s&connections=9"
expect_error 1 'export.*name' "$FAULTLINE" cat "nbd+unix:///%zz?socket=s"
expect_error 1 'unknown scheme' "$FAULTLINE" cat nbds://host/disk

# nobody there
expect_error 1 'No such file' "$FAULTLINE" cat "nbd+unix:///?socket=$work/nobody"
expect_error 1 'refused\|no such host' "$FAULTLINE" cat nbd://127.0.0.1:1/
expect_error 1 'no such host' "$FAULTLINE" cat nbd://host.invalid/
serve disk
stop_server
expect_error 1 'Connection refused' "$FAULTLINE" cat "$uri"

# not a server, or one without that export
serve disk garbage
expect_error 1 'does not speak NBD' "$FAULTLINE" cat "$uri"
stop_server
serve disk mute
expect_error 1 'does not answer the handshake' "$FAULTLINE" cat "$uri&connect=300ms"
stop_server
serve disk
expect_error 1 'no such export' "$FAULTLINE" cat "nbd+unix:///other?socket=$work/socket"
"$FAULTLINE" cat "nbd+unix:///disk?socket=$work/socket" >out || fail "an export with a name"
cmp disk out || fail "other bytes"
stop_server
serve disk readonly
expect_error 1 'read-only' "$FAULTLINE" put disk "$uri"
expect_error 1 'read-only' "$FAULTLINE" touch "$uri" --pattern seq --write
"$FAULTLINE" cat "$uri" >out || fail "a read-only export"
cmp disk out || fail "other bytes of a read-only export"
stop_server

# answers that are none, or not whole: what was in the buffer before is not shown
for how in deaf truncated; do
        serve disk $how
        expect_error 1 'offset 0: Connection timed out' "$FAULTLINE" cat "$uri&timeout=600ms"
        stop_server
done
for how in holes twice; do
        serve disk $how
        expect_error 1 'offset 0: Protocol error' "$FAULTLINE" cat "$uri"
        stop_server
done
serve disk backwards
"$FAULTLINE" cat "$uri" >out || fail "pieces from back to front"
cmp disk out || fail "pieces from back to front: other bytes"
stop_server

# what cannot be written is said once, by msync; so is what cannot be made durable
make_random new 1000000
serve disk deaf-writes
expect_error 1 'msync: Connection timed out' "$FAULTLINE" put new "$uri&timeout=600ms"
stop_server
serve disk flush-fails
expect_error 1 'msync: Input/output error' "$FAULTLINE" put new "$uri"
stop_server
head -c 4000000 disk >long
cat disk >>long
serve disk
expect_error 1 'No space left' "$FAULTLINE" put long "$uri"
stop_server
exit 0
