#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# stat.sh - `faultline stat`: the page cache's row is fincore's, an engine's is what its own fl_mincore
# counts; the bar is where the pages are; images are found by their device.

. "${0%/*}/lib.sh"
need_engine
export XDG_RUNTIME_DIR="$work" # nobody else's engines
chmod 700 "$work"
make_random file $((1000 * 4096 + 5))

# hold NAME URI PAGE...: an engine that has these pages; $name.out is what fl_mincore counts
hold()
{
        name=$1
        shift
        mkfifo "$name.in"
        "$HELPERS/holder" "$@" <"$name.in" >"$name.out" 2>"$name.err" &
        holders="${holders:-} $!"
}
# Both ends stay open until `release`.
wait_for()
{
        for _ in $(seq 600); do
                [ -s "$1.out" ] && return
                [ ! -s "$1.err" ] || fail "$1: $(cat "$1.err")"
                sleep 0.05
        done
        fail "$1 does not begin"
}

# --- nobody has it
"$FAULTLINE" stat file -b >out || fail "stat"
grep -q 'none has it open$' out || fail "no engines: $(cat out)"
"$FAULTLINE" stat file --json >out || fail "stat --json"
grep -q '"by": "engine"' out && fail "an engine: $(cat out)"
expect_error 1 'open: No such file' "$FAULTLINE" stat nothing
expect_error 1 'neither a file nor' "$FAULTLINE" stat /dev/null
expect_error 2 'no URI' "$FAULTLINE" stat

# --- the page cache, beside fincore: all of it, a part of it
kernel_as_fincore()
{
        command -v fincore >/dev/null || return 0
        for _ in $(seq 20); do # the kernel may change its mind between two looks
                fincore -b -n -o RES,PAGES,SIZE file | awk '{ print $1, $2, $3 }' >want
                "$FAULTLINE" stat file -b >out || fail "stat"
                awk '/page cache/ { print $1, $2, $3 }' out >got
                fincore -b -n -o RES,PAGES,SIZE file | awk '{ print $1, $2, $3 }' >again
                cmp -s want again && break
        done
        cmp -s want got || fail "fincore: $(cat want), stat: $(cat got)"
        fincore -n -o RES,PAGES,SIZE file | awk '{ print $1, $2, $3 }' >want
        "$FAULTLINE" stat file | awk '/page cache/ { print $1, $2, $3 }' >got
        cmp -s want got || fail "for people: fincore: $(cat want), stat: $(cat got)"
}
kernel_as_fincore
dd of=file oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null
dd if=file of=/dev/null bs=4096 skip=500 count=3 2>/dev/null
kernel_as_fincore

# --- two engines: their own counts, and the bar
hold one file 0 1 2 16 999 1000
exec 8>one.in
hold two file 500
exec 9>two.in
wait_for one
wait_for two
"$FAULTLINE" stat file -b >out || fail "stat"
for name in one two; do
        want=$(cat $name.out)
        awk -v n="$want" '$2 == n && $1 == n * 4096 && $3 == 4096005 && /holder  *file$/ { found = 1 }
                END { exit !found }' out || fail "$name has $want pages: $(cat out)"
done
[ "$(cat one.out)" -eq 6 ] && [ "$(cat two.out)" -eq 1 ] || fail "$(cat one.out two.out)"
# 1001 pages in 60 parts of 17: pages 0 to 2 and 16 lie in the first, 999 and 1000 in the 59th
bar=$(grep -A1 ' holder *file$' out | grep ' 6/1001$')
[ "$bar" = "  [o                                                         o] 6/1001" ] ||
        fail "the bar: '$bar'"
"$FAULTLINE" stat file --json >out || fail "stat --json"
grep -q '"pages": 6, ' out && grep -q '"pages": 1, ' out || fail "--json: $(cat out)"
# a name that is not UTF-8, and holds what steers a terminal of eight bits
strange=$(printf 'na\303me\2332J')
cp file "$strange" && "$FAULTLINE" stat "$strange" --json >out || fail "--json of a strange name"
grep -q '"file": "na?me?2J"' out || fail "--json of a strange name: $(cat out)"
LC_ALL=C "$FAULTLINE" stat "$strange" >out || fail "a strange name"
grep -q 'na?me?2J$' out || fail "a strange name: $(cat out)"
# by another name
ln -s file link
"$FAULTLINE" stat "file:$work/link" -b | grep -q "holder  *file:$work/link" || fail "by a link"
# An engine that does not answer is passed by, and does no harm.
kill -STOP ${holders##* }
"$FAULTLINE" stat file -b >out || fail "stat beside an engine that is stopped"
grep -q ' 6/1001$' out || fail "beside an engine that is stopped: $(cat out)"
kill -CONT ${holders##* }

# --- a file in an image
if has_module squashfs && command -v mksquashfs >/dev/null; then
        mkdir tree && cp file tree/inner && mksquashfs tree image >/dev/null 2>&1 || fail "mksquashfs"
        hold three 'squashfs:image#/inner' 7
        exec 7>three.in
        wait_for three
        "$FAULTLINE" stat "squashfs:$work/image#/inner" -b >out || fail "stat of an image"
        awk -v n="$(cat three.out)" '$2 == n && /holder/ { found = 1 } END { exit !found }' out ||
                fail "a file in an image, by another name: $(cat out)"
        exec 7>&-
fi
exec 8>&- 9>&-
for pid in $holders; do
        wait "$pid" || fail "a holder failed"
done
[ -z "$(ls faultline)" ] || fail "sockets are left: $(ls faultline)"
exit 0
