#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# remote_tools.sh - the servers of docs/remote.md that one machine can run: nbdkit and qemu-nbd, with
# the command lines printed there but for names of files.

here=$(cd "${0%/*}" && pwd)
. "$here/remote_lib.sh"
need_nbd
need_tool nbdkit qemu-nbd qemu-img
need_engine
make_random data 5000000
make_random new 3000000

# expect_bytes FILE URI
expect_bytes()
{
        "$FAULTLINE" cat "$2" >out || fail "cat $2"
        cmp "$1" out || fail "cat $2: other bytes than $1"
}

# a plain file
cp data disk
serve_by nbdkit -f -U "$work/socket" file disk
expect_bytes data "$uri"
"$FAULTLINE" put new "$uri" || fail "put on nbdkit file"
cmp -n 3000000 new disk || fail "nbdkit file: what was put is not there"
"$FAULTLINE" explain "$uri" --touch 0 >explained || fail "explain"
expect_sequence explained 'devfs' 'driver nbd' 'request complete'
stop_server

# over TCP
port=$((20000 + $$ % 20000))
nbdkit -f -i 127.0.0.1 -p $port file disk 2>server.err &
server=$!
tries=0
until "$FAULTLINE" cat "nbd://127.0.0.1:$port/" >out 2>err; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "nbdkit over TCP: $(cat err server.err)"
        sleep 0.1
done
cmp disk out || fail "nbdkit over TCP: other bytes"
stop_server

# qcow2, by name, and what qemu-nbd keeps in memory
qemu-img convert -O qcow2 data image.qcow2 || fail "qemu-img convert"
serve_by qemu-nbd -k "$work/socket" -f qcow2 -x disk -t -e 8 image.qcow2
"$FAULTLINE" cat "nbd+unix:///disk?socket=$work/socket" --length 5000000 >out || fail "cat qcow2"
cmp data out || fail "qcow2: other bytes"
expect_error 1 'no such export' "$FAULTLINE" cat "nbd+unix:///nodisk?socket=$work/socket"
"$FAULTLINE" put new "nbd+unix:///disk?socket=$work/socket" || fail "put on qcow2"
stop_server
qemu-img convert -O raw image.qcow2 raw || fail "qemu-img convert back"
cmp -n 3000000 new raw || fail "qcow2: what was put is not there"

# compressed, read-only
gzip -k data
serve_by nbdkit -f -U "$work/socket" --filter=gzip file data.gz
expect_bytes data "$uri"
expect_error 1 'read-only' "$FAULTLINE" put new "$uri"
stop_server
if command -v xz >/dev/null; then
        xz -k -0 data
        serve_by nbdkit -f -U "$work/socket" --filter=xz file data.xz
        expect_bytes data "$uri"
        stop_server
fi
tar -cf archive.tar data
serve_by nbdkit -f -U "$work/socket" --filter=tar file archive.tar tar-entry=data
expect_bytes data "$uri"
stop_server
serve_by nbdkit -f -U "$work/socket" memory 4M
"$FAULTLINE" put new "$uri" || fail "put in memory"
"$FAULTLINE" cat "$uri" --length 3000000 >out || fail "cat from memory"
cmp new out || fail "memory: other bytes"
stop_server

# HTTP
if nbdkit --dump-plugin curl >/dev/null 2>&1 && command -v python3 >/dev/null; then
        python3 "$here/range_server.py" data port 2>http.err &
        http=$!
        tries=0
        until [ -s port ]; do
                tries=$((tries + 1))
                [ $tries -lt 300 ] || fail "the HTTP server does not start: $(cat http.err)"
                sleep 0.05
        done
        serve_by nbdkit -f -r -U "$work/socket" --filter=cache --filter=retry curl \
                "http://127.0.0.1:$(cat port)/disk.raw"
        expect_bytes data "$uri"
        stop_server
        kill $http
        wait $http 2>/dev/null
        http=
fi

serve_by nbdkit -f -r -U "$work/socket" file disk
expect_bytes disk "$uri"
expect_error 1 'read-only' "$FAULTLINE" touch "$uri" --pattern seq --write
stop_server

# slow
serve_by nbdkit -f -U "$work/socket" --filter=delay file disk rdelay=2ms wdelay=2ms
"$FAULTLINE" touch "$uri" --pattern random --count 500 --seed 3 --write --cache 1M >/dev/null ||
        fail "stamps on a slow server"
"$FAULTLINE" touch "$uri" --pattern random --count 500 --seed 3 --verify --cache 1M >/dev/null ||
        fail "stamps of a slow server"
stop_server

# failing: what it cannot read is an error of those pages; then it can
cp data disk
serve_by nbdkit -f -U "$work/socket" --filter=error file disk error-pread=EIO \
        error-pread-rate=100% error-pread-file="$work/fail"
expect_bytes data "$uri"
touch fail
expect_error 1 'offset 0: Input/output error' "$FAULTLINE" cat "$uri"
rm fail
expect_bytes data "$uri"
stop_server
serve_by nbdkit -f -U "$work/socket" --filter=error file disk error-pwrite=ENOSPC \
        error-pwrite-rate=100% error-pwrite-file="$work/fail"
touch fail
expect_error 1 'No space left' "$FAULTLINE" put new "$uri"
rm fail
"$FAULTLINE" put new "$uri" || fail "put on a server that has recovered"
cmp -n 3000000 new disk || fail "a server that has recovered: other bytes"
stop_server

# killed and started again in the middle
head -c 16M /dev/zero >disk
serve_by nbdkit -f -U "$work/socket" --filter=delay file disk rdelay=1ms wdelay=1ms
"$FAULTLINE" touch "$uri" --pattern random --count 4000 --seed 5 --write --cache 1M >touched 2>&1 &
touching=$!
# Opening it asks a server that is there: so when something has been stored.
until [ -n "$(tr -d '\0' <disk | head -c 1)" ]; do
        kill -0 $touching 2>/dev/null || fail "stamps on a server: $(cat touched)"
        sleep 0.1
done
for again in 1 2 3; do
        sleep 0.3
        stop_server KILL
        serve_by nbdkit -f -U "$work/socket" --filter=delay file disk rdelay=1ms wdelay=1ms
done
wait $touching || fail "stamps while the server was killed: $(cat touched)"
"$FAULTLINE" touch "$uri" --pattern random --count 4000 --seed 5 --verify --cache 1M >/dev/null ||
        fail "stamps after the server was killed"
stop_server
exit 0
