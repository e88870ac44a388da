#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# images.sh - files and directories in an image by the command; what cannot be had of one is one clear
# line, and soon.

. "${0%/*}/lib.sh"
need_engine
need_module squashfs
command -v mksquashfs >/dev/null || skip "mksquashfs is not installed"

mkdir -p source/folder/inner
seq 1 20000 >source/numbers
printf 'inside\n' >'source/folder/o#d?d%n'
: >source/empty
truncate -s 1M source/hole
ln -s folder/inner/../../numbers source/link
ln -s loop source/loop
ln -s /folder source/folder/inner/home
ln -s gone source/dangling
mkfifo source/pipe
mksquashfs source image -noappend -quiet -no-progress >log 2>&1 || fail "mksquashfs: $(cat log)"

# ls
"$FAULTLINE" ls squashfs:image#/ >out || fail "ls"
expect_sequence out '^l.* dangling -> gone$' '^-.* 0 .* empty$' '^d.* folder$' \
        '^-.* 1048576 .* hole$' '^l.* link -> ' '^l.* loop -> loop$' '^-.* numbers$' '^p.* pipe$'
[ "$(wc -l <out)" -eq 8 ] || fail "ls: $(wc -l <out) lines"
"$FAULTLINE" ls squashfs:image#/folder/inner/home/ >out || fail "ls through a link"
grep -q ' o#d?d%n$' out || fail "ls of odd names: $(cat out)"
"$FAULTLINE" ls squashfs:image#/numbers >out || fail "ls of a file"
grep -q "^-.* $(wc -c <source/numbers) .* numbers\$" out || fail "ls of a file: $(cat out)"
"$FAULTLINE" ls squashfs:image#/folder --json >out || fail "ls --json"
grep -q '"name": "o#d?d%n", "type": "file", "mode": [0-9]*, "size": 7, ' out ||
        fail "ls --json: $(cat out)"
expect_error 1 'not in an image' "$FAULTLINE" ls .

# cat
"$FAULTLINE" cat squashfs:image#/link | cmp - source/numbers || fail "cat of a link"
"$FAULTLINE" cat 'squashfs:file:./image#/folder/o%23d%3Fd%25n' | grep -q inside || fail "odd name"
"$FAULTLINE" cat squashfs:image#/numbers --offset 100000 --length 10 >out || fail "cat of a part"
[ "$(tail -c +100001 source/numbers | head -c 10)" = "$(cat out)" ] || fail "cat of a part"
expect_error 1 'Too many levels' "$FAULTLINE" cat squashfs:image#/loop
expect_error 1 'No such file' "$FAULTLINE" cat squashfs:image#/dangling
expect_error 1 'No such file' "$FAULTLINE" cat squashfs:image#/folder/none
expect_error 1 'Is a directory' "$FAULTLINE" cat squashfs:image#/folder
expect_error 1 'Not a directory' "$FAULTLINE" cat squashfs:image#/numbers/
expect_error 1 'No such device' "$FAULTLINE" cat squashfs:image#/pipe
expect_error 1 'TYPE:DEV#/path' "$FAULTLINE" cat squashfs:image
expect_error 1 'No such file' "$FAULTLINE" cat squashfs:none#/numbers
expect_error 1 'no squashfs image' "$FAULTLINE" cat squashfs:source/numbers#/numbers
expect_error 1 'no squashfs image' "$FAULTLINE" cat squashfs:ram:1M#/numbers
expect_error 1 'no squashfs image' "$FAULTLINE" ls squashfs:source/empty#/

# put, and stores
expect_error 1 'read-only' "$FAULTLINE" put source/numbers squashfs:image#/numbers
expect_error 1 'Read-only' "$FAULTLINE" put source/numbers squashfs:image#/new

# explain: what is done, and where the page lies
"$FAULTLINE" explain squashfs:image#/numbers >out || fail "explain"
expect_sequence out 'load at offset 0, .*, sector [0-9]*$' 'filemap_fault' 'read_pages' \
        'readahead' 'submit_bio' 'decompress' 'page_end_read' 'set_pte'
"$FAULTLINE" explain squashfs:image#/hole --touch 512K >out || fail "explain of a hole"
expect_sequence out 'load at offset 524288, .*, a hole$'

# damaged, each in its way
damage() # BYTE VALUE: a copy with it
{
        cp image bad
        printf "$2" | dd of=bad bs=1 seek="$1" conv=notrunc 2>/dev/null
}
damage 0 'x'
expect_error 1 'no squashfs image' timeout 20 "$FAULTLINE" cat squashfs:bad#/numbers
damage 28 '\007'
expect_error 1 'version' timeout 20 "$FAULTLINE" cat squashfs:bad#/numbers
damage 20 '\011'
expect_error 1 'damaged' timeout 20 "$FAULTLINE" cat squashfs:bad#/numbers
damage 64 '\377\377\377'
expect_error 1 'damaged' timeout 20 "$FAULTLINE" cat squashfs:bad#/numbers
head -c $(($(wc -c <image) / 2)) image >bad
expect_error 1 'cut short' timeout 20 "$FAULTLINE" cat squashfs:bad#/numbers
expect_error 1 'cut short' timeout 20 "$FAULTLINE" ls squashfs:bad#/
if command -v mksquashfs >/dev/null && mksquashfs source lzo -comp lzo -quiet >log 2>&1; then
        "$FAULTLINE" ls squashfs:lzo#/ >out 2>err ||
                expect_error 1 'lzo' "$FAULTLINE" ls squashfs:lzo#/
fi

exit 0
