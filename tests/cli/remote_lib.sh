# SPDX-License-Identifier: Apache-2.0
#
# remote_lib.sh - lib.sh, and servers for tests. Each ends with the test.

. "${0%/*}/lib.sh"
server=
http=
uri="nbd+unix:///?socket=$work/socket"
trap 'stop_server; [ -z "$http" ] || kill "$http"; rm -rf "$work"' EXIT

# Skips where the module was not built.
need_nbd()
{
        [ -e "${FAULTLINE%/*}/modules/faultline-nbd.so" ] || skip "there is no module for NBD"
}

need_tool()
{
        for tool; do
                command -v "$tool" >/dev/null || skip "there is no $tool"
        done
}

wait_for_socket()
{
        tries=0
        until [ -S "$work/socket" ]; do
                tries=$((tries + 1))
                [ $tries -lt 300 ] || fail "the server does not start: $(cat server.err)"
                kill -0 "$server" 2>/dev/null || fail "the server has ended: $(cat server.err)"
                sleep 0.05
        done
}

# serve FILE [WORD...]: our own server (nbd_server.c).
serve()
{
        rm -f socket
        "$HELPERS/nbd_server" "$work/socket" "$@" 2>server.err &
        server=$!
        wait_for_socket
}

# serve_by COMMAND...: another's, in the foreground, on $work/socket.
serve_by()
{
        rm -f socket
        "$@" 2>server.err &
        server=$!
        wait_for_socket
}

# stop_server [SIGNAL]
stop_server()
{
        [ -n "$server" ] || return 0
        kill "-${1:-TERM}" "$server" 2>/dev/null
        wait "$server" 2>/dev/null
        server=
}
