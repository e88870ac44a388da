#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# ext4.sh - files in ext2, ext3 and ext4 images: every byte, names and links, stores as debugfs(8) sees
# them, and images that must be refused with one line that says why.
# FAULTLINE_TEST_LONG: 5,000 files.
set -u
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
need_engine
PATH=$PATH:/usr/sbin:/sbin
for tool in mke2fs debugfs e2fsck; do
        command -v $tool >/dev/null || skip "needs $tool"
done

# make_image NAME OPTION...: of the tree.
make_image()
{
        image=$1 room=$megabytes
        shift
        case $* in # each file takes a cluster
        *bigalloc*) room=$((room + files / 10)) ;;
        esac
        mke2fs -q -F "$@" -d tree "$image" "${room}M" >log 2>&1 || fail "mke2fs $*: $(cat log)"
}

# clean IMAGE: nothing to be said of it.
clean()
{
        e2fsck -fn "$1" >log 2>&1 || fail "e2fsck -fn $1: $(cat log)"
}

# same_in_image IMAGE NAME FILE: as debugfs finds it.
same_in_image()
{
        rm -f dumped
        debugfs -R "dump $2 dumped" "$1" >log 2>&1 || fail "debugfs: $(cat log)"
        cmp dumped "$3" || fail "$1: $2 is not $3"
}

feature()
{
        debugfs -w -R "feature $2" "$1" >log 2>&1 || fail "debugfs feature $2: $(cat log)"
}

files=60 megabytes=16
[ -n "${FAULTLINE_TEST_LONG:-}" ] && files=5000 megabytes=80
odd='tree/odd "name" with
#?%'
mkdir -p tree/d/sub
make_random tree/big 1500001
make_random tree/d/small 3
: >tree/empty
truncate -s 1M tree/sparse
printf end >>tree/sparse
make_random "$odd" 5000
ln -s d/small tree/link
ln -s /d/../link tree/absolute
ln -s "$(printf 'd/%050d/../small' 0)" tree/slow
mkdir "$(printf 'tree/d/%050d' 0)"
ln -s loop tree/loop
ln -s nowhere tree/dangling
n=0
while [ $n -lt $files ]; do
        head -c $((n * 37 % 9000)) tree/big >tree/d/sub/f$n
        n=$((n + 1))
done
make_image first -t ext4
"$FAULTLINE" cat 'ext4:first#/d/small' >/dev/null 2>err || {
        grep -q 'faultline-ext4.so' err && skip "built without ext4"
        fail "$(cat err)"
}

# Every byte, whatever the layout.
check_files()
{
        for name in big d/small empty sparse "d/sub/f59"; do
                "$FAULTLINE" cat "ext4:$1#/$name" | cmp - "tree/$name" || fail "$1: $name"
        done
}
while read -r options; do
        # shellcheck disable=SC2086
        make_image image $options
        check_files image
        clean image
done <<'END'
-t ext4 -b 1024
-t ext4 -b 2048
-t ext4 -b 4096
-t ext4 -O ^64bit,^metadata_csum
-t ext4 -O bigalloc
-t ext4 -O meta_bg,^resize_inode
-t ext3 -b 1024
-t ext2 -b 4096
-t ext2 -b 1024 -I 128
END
for path in tree/d/sub/*; do
        "$FAULTLINE" cat "ext4:first#/${path#tree/}" | cmp - "$path" || fail "$path"
done
"$FAULTLINE" cat 'ext4:file:first#/odd "name" with
%23%3F%25' | cmp - "$odd" || fail "the odd name"
for link in link absolute slow; do
        "$FAULTLINE" cat "ext4:first#/$link" | cmp - tree/d/small || fail "$link"
done
"$FAULTLINE" cat 'ext4:first#//d/./sub/../small' | cmp - tree/d/small || fail "dots"
clean first

# Stores: as long, longer, shorter, into holes.
make_random as_big 1500001
make_random longer 2300007
make_random short 4099
while read -r options; do
        # shellcheck disable=SC2086
        make_image image $options
        "$FAULTLINE" put as_big 'ext4:image#/big' || fail put
        "$FAULTLINE" put longer 'ext4:image#/empty' || fail put
        "$FAULTLINE" put short 'ext4:image#/sparse' || fail put
        "$FAULTLINE" put longer 'ext4:image#/link' || fail put
        clean image
        same_in_image image big as_big
        same_in_image image empty longer
        same_in_image image sparse short
        same_in_image image d/small longer
done <<'END'
-t ext4 -b 1024
-t ext4 -b 4096
-t ext4 -O meta_bg,^resize_inode
-t ext3 -b 1024
-t ext2 -b 2048
END

# Unwritten extents read as zeros, and become blocks as they are stored to.
make_image image -t ext4 -b 1024
debugfs -w -R 'fallocate /sparse 0 1100' image >log 2>&1 || fail "$(cat log)"
"$FAULTLINE" cat 'ext4:image#/sparse' | cmp - tree/sparse || fail "unwritten extents"
"$FAULTLINE" touch 'ext4:image#/sparse' --pattern random --count 100 --seed 3 --write >log ||
        fail "$(cat log)"
clean image
"$FAULTLINE" touch 'ext4:image#/sparse' --pattern random --count 100 --seed 3 --verify >log ||
        fail "$(cat log)"
debugfs -R 'dump /sparse dumped' image >log 2>&1 || fail "$(cat log)"
"$FAULTLINE" cat 'ext4:image#/sparse' | cmp - dumped || fail "unwritten extents, stored to"

# A full one: nothing is lost of what was there.
make_image image -t ext4
make_random huge $((megabytes * 2000000))
expect_error 1 'No space left' "$FAULTLINE" put huge 'ext4:image#/empty'
clean image
same_in_image image big tree/big

# What there is not, and what cannot be opened.
expect_error 1 'No such file' "$FAULTLINE" cat 'ext4:first#/nothing'
expect_error 1 'No such file' "$FAULTLINE" cat 'ext4:first#/dangling'
expect_error 1 'Is a directory' "$FAULTLINE" cat 'ext4:first#/d'
expect_error 1 'Is a directory' "$FAULTLINE" cat 'ext4:first#/'
expect_error 1 'Not a directory' "$FAULTLINE" cat 'ext4:first#/big/x'
expect_error 1 'Not a directory' "$FAULTLINE" cat 'ext4:first#/big/'
expect_error 1 'Too many levels' "$FAULTLINE" cat 'ext4:first#/loop'
expect_error 1 'name too long' "$FAULTLINE" cat "ext4:first#/$(printf %0300d 0)"
expect_error 1 'cannot be made' "$FAULTLINE" put short 'ext4:first#/new'
expect_error 1 'not an ext2, ext3 or ext4 file system' "$FAULTLINE" cat 'ext4:huge#/x'
expect_error 1 'not an ext2, ext3 or ext4 file system' "$FAULTLINE" cat 'ext4:tree/empty#/x'
expect_error 1 'No such file' "$FAULTLINE" cat 'ext4:missing#/x'

# Features, of the image and of a file.
make_image image -t ext4 -O bigalloc
expect_error 1 bigalloc "$FAULTLINE" put short 'ext4:image#/big'
clean image
make_image image -t ext4 -O quota
expect_error 1 quota "$FAULTLINE" put short 'ext4:image#/big'
make_image image -t ext4 -O inline_data -I 256
expect_error 1 inline_data "$FAULTLINE" cat 'ext4:image#/d/small'
"$FAULTLINE" cat 'ext4:image#/big' | cmp - tree/big || fail "beside inline data"
make_image image -t ext4 -O encrypt,verity
debugfs -w -R 'set_inode_field big flags 0x80800' image >log 2>&1 || fail "$(cat log)"
debugfs -w -R 'set_inode_field sparse flags 0x180000' image >log 2>&1 || fail "$(cat log)"
expect_error 1 encrypted "$FAULTLINE" cat 'ext4:image#/big'
expect_error 1 verity "$FAULTLINE" cat 'ext4:image#/sparse'
mke2fs -q -F -O journal_dev image 16M >log 2>&1 || fail "$(cat log)"
expect_error 1 journal_dev "$FAULTLINE" cat 'ext4:image#/big'
make_image image -t ext4
debugfs -w -R 'set_super_value feature_incompat 0x802c2' image >log 2>&1 || fail "$(cat log)"
expect_error 1 'feature number 0x80000' "$FAULTLINE" cat 'ext4:image#/big'

# Not unmounted cleanly, errors, a journal that is not empty.
make_image image -t ext4
debugfs -w -R 'set_super_value state 0' image >log 2>&1 || fail "$(cat log)"
"$FAULTLINE" cat 'ext4:image#/big' | cmp - tree/big || fail "an image not unmounted cleanly"
expect_error 1 'e2fsck -p image' "$FAULTLINE" put as_big 'ext4:image#/big'
debugfs -w -R 'set_super_value state 3' image >log 2>&1 || fail "$(cat log)"
expect_error 1 'errors: run e2fsck -f image' "$FAULTLINE" cat 'ext4:image#/big'
make_image image -t ext4
feature image needs_recovery
expect_error 1 'e2fsck -p image' "$FAULTLINE" cat 'ext4:image#/big'
cp image before
"$FAULTLINE" cat 'ext4:image#/big?norecovery' 2>err | cmp - tree/big || fail norecovery
grep -q 'may be old' err || fail "norecovery: $(cat err)"
expect_error 1 norecovery "$FAULTLINE" put as_big 'ext4:first#/big?norecovery'
cmp image before || fail "norecovery has written"
e2fsck -fp image >log 2>&1
"$FAULTLINE" put as_big 'ext4:image#/big' || fail "after e2fsck -p"

# Cut short, and damaged.
make_image image -t ext4
truncate -s $((megabytes - 1))M image
expect_error 1 'cut short' "$FAULTLINE" cat 'ext4:image#/big'
make_image image -t ext4
dd if=huge of=image bs=1 count=4 seek=1200 conv=notrunc 2>/dev/null
expect_error 1 'checksum of its super block' "$FAULTLINE" cat 'ext4:image#/big'
make_image image -t ext4 -O ^metadata_csum
dd if=huge of=image bs=1 count=64 seek=1024 conv=notrunc 2>/dev/null
printf '\123\357' | dd of=image bs=1 seek=1080 conv=notrunc 2>/dev/null
expect_error 1 'corrupt\|cut short\|feature' "$FAULTLINE" cat 'ext4:image#/big'
make_image image -t ext4
debugfs -w -R 'set_inode_field big block[0] 0x1f30b' image >log 2>&1 || fail "$(cat log)"
expect_error 1 corrupt "$FAULTLINE" cat 'ext4:image#/big'

# Two at once: as many as like to read, or one that writes.
if command -v flock >/dev/null; then
        make_image image -t ext4
        expect_error 1 'another engine or program' flock -x image "$FAULTLINE" cat 'ext4:image#/big'
        expect_error 1 'another engine or program' flock -s image \
                "$FAULTLINE" put as_big 'ext4:image#/big'
        flock -s image "$FAULTLINE" cat 'ext4:image#/big' | cmp - tree/big || fail "two readers"
        clean image
fi
echo "all as it should be"
