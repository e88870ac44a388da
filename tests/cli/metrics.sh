#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# metrics.sh - --metrics: a file, a socket and a port, read by Prometheus's own parser; and whatever is
# wrong with them, the program does its work.

: "${ROOT:=$(cd "${0%/*}/../.." && pwd)}"
here=$(realpath "$ROOT")/tests/cli
. "${0%/*}/lib.sh"
need_engine
python=
for p in python3 /usr/bin/python3; do
        "$p" -c 'import prometheus_client.openmetrics.parser' 2>/dev/null && python=$p && break
done
[ -n "$python" ] || skip "python3-prometheus-client is not installed"
export XDG_RUNTIME_DIR="$work" # nobody else's engines
chmod 700 "$work"
make_random file $((4 * 1024 * 1024))
"$FAULTLINE" cat file >want || fail "cat"

# --- a file: whole whenever it is read, and at the end what --stats says
echo "a note of the user's" >m.prom.new
"$FAULTLINE" cat file --cache 1M --metrics m.prom --stats --json >out 2>stats ||
        fail "cat --metrics: $(cat stats)"
cmp out want || fail "cat --metrics differs"
"$python" "$here/metrics_check.py" file m.prom stats || fail "the file"
[ "$(cat m.prom.new)" = "a note of the user's" ] || fail "m.prom.new was not ours"
rm m.prom.new
[ "$(echo m.prom*)" = m.prom ] || fail "left behind: $(echo m.prom*)"
"$FAULTLINE" cat file --metrics m.prom >out 2>err || fail "over earlier metrics"
[ ! -s err ] || fail "over earlier metrics: $(cat err)"

# --- what must not be written over, or cannot
going_on() # PATTERN COMMAND...: its work is done, with one line that says what is not
{
        pattern=$1
        shift
        "$@" >out 2>err || fail "$*: $(cat err)"
        cmp out want || fail "$*: differs"
        [ "$(wc -l <err)" -eq 1 ] || fail "$*: $(cat err)"
        grep -q "^faultline: .*: .*metrics.*: $pattern; going on without" err || fail "$*: $(cat err)"
}
echo "my notes, which nobody is to write over" >notes
going_on "there is something else in it" "$FAULTLINE" cat file --metrics notes
[ "$(cat notes)" = "my notes, which nobody is to write over" ] || fail "notes were written over"
going_on "Invalid argument" "$FAULTLINE" cat file --metrics /dev/null
going_on "No such file or directory" "$FAULTLINE" cat file --metrics no/such/m.prom
for where in 0 99999 example.org:80 unix:; do
        expect_error 1 "choosing where to tell metrics" "$FAULTLINE" cat file --metrics "$where"
done

# --- a full disk ends no program: one line. (published.c has a limit on the size of files.)
mkdir small
if mount -t tmpfs -o size=4k none small 2>/dev/null; then
        trap 'umount "$work/small"; rm -rf "$work"' EXIT
        going_on "No space left on device" "$FAULTLINE" cat file --metrics small/m.prom
        [ "$(echo small/*)" = 'small/*' ] || fail "a full disk: left behind: $(echo small/*)"
        umount small
        trap 'rm -rf "$work"' EXIT
fi

# --- a socket and a port, while it works; taken; and readers that never read
"$python" "$here/metrics_check.py" serve "$FAULTLINE" file || fail "serving"
exit 0
