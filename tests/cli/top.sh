#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# top.sh - `faultline top`: lines that say what was done to an engine; sockets that answer nonsense; and
# the screen, driven in tmux: its keys, another size, and a terminal that is as it was afterwards.

: "${ROOT:=$(cd "${0%/*}/../.." && pwd)}"
here=$(realpath "$ROOT")/tests/cli
. "${0%/*}/lib.sh"
need_engine
export XDG_RUNTIME_DIR="$work" # nobody else's engines
chmod 700 "$work"
make_random file $((1000 * 4096))
mkfifo in
"$HELPERS/holder" file 1 2 3 500 501 999 <in >holder.out 2>holder.err &
holder=$!
exec 8>in
for _ in $(seq 600); do
        [ ! -s holder.out ] || break
        [ ! -s holder.err ] || fail "holder: $(cat holder.err)"
        sleep 0.05
done
trap 'kill $holder $liar 2>/dev/null; rm -rf "$work"' EXIT
liar=

# --- lines; other engines of this user may be there
"$FAULTLINE" top -b -n 1 -p $holder >out || fail "top -b"
grep -q '^faultline top - ..:..:.., 1 engine, every 2.0 s' out || fail "title: $(cat out)"
awk -v p=$holder '$1 == p && $2 == "holder" && $9 != "0B" && $10 == "0B" { n++ } END { exit n != 1 }' out ||
        fail "engine: $(cat out)"
awk -v p=$holder '$1 == p && $5 == "24K" && $7 == "3.9M" && $8 == "file" { n++ } END { exit n != 1 }' \
        out || fail "files: $(cat out)"
awk -v p=$holder '$1 == p && $4 == "major" && $5 == "load" && $8 == "file" { print $7 / 4096 }' out |
        sort -n | tr '\n' ' ' >got
[ "$(cat got)" = "1 2 3 500 501 999 " ] || fail "slowest faults: $(cat got) of $(cat out)"
"$FAULTLINE" top -b -n 3 -d 0.1 -p $holder >out || fail "top -n 3"
[ "$(grep -c '^faultline top - ' out)" -eq 3 ] || fail "frames: $(cat out)"
# Since the frame before nothing has happened.
awk -v p=$holder '$1 == p && $2 == "holder" { rate = $5 } END { exit rate != "0" }' out ||
        fail "rates: $(cat out)"
"$FAULTLINE" top --json -n 1 >out || fail "top --json"
tr '{' '\n' <out | grep -q "\"pid\": $holder, \"program\": \"holder\"" || fail "--json: $(cat out)"
expect_error 2 'is no process' "$FAULTLINE" top -b -p 0
"$FAULTLINE" top -b -n 1 -p $$ >out || fail "top -p"
grep -q 'no engine of this user is running' out || fail "none: $(cat out)"
expect_error 2 'seconds from 0.1' "$FAULTLINE" top -b -d 0
expect_error 1 'not on a terminal; use -b' "$FAULTLINE" top </dev/null

# --- whoever answers nonsense, or not at all, is passed by, and steers no terminal
if command -v python3 >/dev/null; then
        python3 "$here/top_liar.py" "$work/faultline" >liar.out 2>&1 &
        liar=$!
        for _ in $(seq 600); do
                grep -q ready liar.out && break
                sleep 0.05
        done
        "$FAULTLINE" top -b -n 1 >out 2>err || fail "top beside liars: $(cat err)"
        awk -v p=$holder '$1 == p && $2 == "holder" { n++ } END { exit n != 1 }' out ||
                fail "beside liars: $(cat out)"
        grep -q 'some do not answer' out || fail "liars: $(cat out)"
        tr -d '\040-\176\200-\377\n' <out >controls
        [ ! -s controls ] || fail "control characters: $(od -c controls | head -3)"
        LC_ALL=C.UTF-8 "$FAULTLINE" top -b -n 1 >out || fail "top beside liars, in UTF-8"
        ! grep -q "$(printf '\302\233')" out || fail "a control character of UTF-8 got through"
        "$FAULTLINE" stat file >out || fail "stat beside liars"
        kill $liar && wait $liar
        liar=
fi

# --- the screen
stop_screen()
{
        tmux -S tmux.sock kill-server 2>/dev/null
}
if command -v tmux >/dev/null && "$FAULTLINE" top </dev/null 2>&1 | grep -q 'not on a terminal'; then
        trap 'stop_screen; kill $holder 2>/dev/null; rm -rf "$work"' EXIT
        cat >run.sh <<END
unset TMUX
export LC_ALL=C.UTF-8
stty -g >before
"$FAULTLINE" top -d 0.2 -p $holder
echo "status \$?" >status
stty -g >after
exec cat
END
        tmux -u -f /dev/null -S tmux.sock new-session -d -x 130 -y 30 sh run.sh || fail "tmux"
        # shows PATTERN: within ten seconds
        shows()
        {
                for _ in $(seq 200); do
                        tmux -S tmux.sock capture-pane -p >screen
                        grep -q -e "$1" screen && return
                        sleep 0.05
                done
                fail "the screen does not show '$1': $(cat screen)"
        }
        key()
        {
                tmux -S tmux.sock send-keys "$1"
        }
        shows "^ *$holder holder "
        shows "999 *file\$\|$((999 * 4096)) *file\$"
        shows 'every 0.2 s'
        shows 'order: faults'
        key s
        shows 'order: latency'
        key +
        shows 'every 0.4 s'
        key -
        shows 'every 0.2 s'
        key h
        shows 'twice as long between looks'
        key x
        shows 'HOTTEST FILES'
        # smaller, and larger: the last line is where the keys are told
        tmux -S tmux.sock resize-window -x 60 -y 12 || fail "resize-window"
        for _ in $(seq 200); do
                tmux -S tmux.sock capture-pane -p >screen
                # whole: it may be caught while it is drawn
                [ "$(wc -l <screen)" -eq 12 ] && sed -n 12p screen | grep -q '^q end' &&
                        sed -n 1p screen | grep -q '^faultline top' && break
                sleep 0.05
        done
        sed -n 12p screen | grep -q '^q end' || fail "12 rows: $(cat screen)"
        sed -n 1p screen | grep -q '^faultline top' || fail "12 rows: $(cat screen)"
        awk 'length > 60 { exit 1 }' screen || fail "60 columns: $(cat screen)"
        tmux -S tmux.sock resize-window -x 140 -y 40 || fail "resize-window"
        for _ in $(seq 200); do
                tmux -S tmux.sock capture-pane -p >screen
                sed -n 40p screen | grep -q '^q end' && break
                sleep 0.05
        done
        sed -n 40p screen | grep -q '^q end' || fail "40 rows: $(cat screen)"
        key q
        for _ in $(seq 200); do
                [ ! -s after ] || break
                sleep 0.05
        done
        [ "$(cat status)" = "status 0" ] || fail "q: $(cat status)"
        cmp before after || fail "the terminal's modes are others: $(cat before after)"
        [ "$(tmux -S tmux.sock display -p '#{alternate_on} #{cursor_flag}')" = "0 1" ] ||
                fail "the other screen, or no cursor, is left"
        stop_screen
fi
exec 8>&-
wait $holder || fail "holder"
exit 0
