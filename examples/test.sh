#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# test.sh NAME PROGRAM - runs an example and checks what it says.

name=$1 program=$2
work=$(mktemp -d "${TMPDIR:-/var/tmp}/faultline-example-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

fail()
{
        echo "FAIL: $name: $*" >&2
        exit 1
}

# refused: no engine on this machine?
refused()
{
        grep -q -i -e userfaultfd -e 'not permitted' "$work/err" && exit 77
        fail "$(cat "$work/err")"
}

case $name in
counter)
        for want in 1 2 3; do
                got=$("$program" "$work/file" 2>"$work/err") || refused
                [ "$got" = "$want" ] || fail "counted $got, not $want"
                on_disk=$(od -A n -t u8 -N 8 "$work/file" | tr -d ' ')
                [ "$on_disk" = "$want" ] || fail "the file holds $on_disk, not $want"
        done
        [ "$(wc -c <"$work/file")" -eq 8 ] || fail "the file has the wrong size"
        ;;
scan)
        # 40 MiB through 16 MiB of memory: bytes whose sum is known
        head -c $((40 * 1024 * 1024)) /dev/zero | tr '\0' '\003' >"$work/file"
        got=$("$program" "$work/file" 2>"$work/err") || refused
        [ "$got" = $((3 * 40 * 1024 * 1024)) ] || fail "the sum is $got"
        ;;
*)
        fail "unknown"
        ;;
esac
"$program" "$work/missing/file" >/dev/null 2>"$work/err" && fail "opened what is not there"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "an error in more than one line: $(cat "$work/err")"
exit 0
