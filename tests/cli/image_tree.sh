#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# image_tree.sh - a tree of files with one of everything, packed into images of every kind: each
# file's bytes, and each directory's entries, are those of the tree. FAULTLINE_TEST_LONG: 5,000 files.

. "${0%/*}/lib.sh"
need_engine
need_module squashfs

count=200
[ -z "${FAULTLINE_TEST_LONG:-}" ] || count=5000
"$HELPERS/tree" make source "$count" || fail "make the tree"

# compare PREFIX [N]: all files of it, or each Nth.
compare()
{
        "$HELPERS/tree" compare "$1" source "${2:-1}" >compared
        case $? in
        0) [ -s compared ] || fail "$1: nothing was compared" ;;
        77) skip "no engine" ;;
        *) fail "$1 is not the tree" ;;
        esac
}

# make_squashfs IMAGE COMPRESSOR [mksquashfs OPTION...]
make_squashfs()
{
        image=$1 compressor=$2
        shift 2
        if command -v mksquashfs >/dev/null; then
                mksquashfs source "$image" -comp "$compressor" -noappend -quiet -no-progress "$@" \
                        >log 2>&1 || fail "mksquashfs: $(cat log)"
        elif command -v gensquashfs >/dev/null; then
                gensquashfs -D source -c "$compressor" -q "$image" >log 2>&1 ||
                        fail "gensquashfs: $(cat log)"
        else
                skip "neither mksquashfs nor gensquashfs is installed"
        fi
}

for compressor in gzip zstd lz4; do
        make_squashfs "$compressor.img" "$compressor"
        compare "squashfs:$work/$compressor.img#"
done
# Other ways to lay an image out: some of the files are enough.
make_squashfs small.img zstd -b 4K
compare squashfs:$work/small.img# 3
make_squashfs large.img xz -b 1M -no-fragments
compare squashfs:$work/large.img# 3
make_squashfs plain.img gzip -noD -noI -noF -always-use-fragments
compare squashfs:$work/plain.img# 3
# The thread itself serves its fault, and waits for a worker in the handler.
for mmu in sigbus sigsegv; do
        FAULTLINE_MMU=$mmu compare squashfs:$work/zstd.img# 5
done

# From a server, which takes its time.
serve() # IMAGE [FILTER PARAMETER]: at $work/socket
{
        nbdkit -r -U "$work/socket" -P "$work/pid" ${2:+--filter="$2"} file "$1" ${3:+"$3"} ||
                fail "nbdkit"
}
stop()
{
        kill "$(cat pid)"
        while kill -0 "$(cat pid)" 2>/dev/null; do sleep 0.05; done
        rm -f pid socket
}
if has_module nbd && command -v nbdkit >/dev/null; then
        trap '[ ! -f "$work/pid" ] || kill "$(cat "$work/pid")"; rm -rf "$work"' EXIT
        serve zstd.img
        compare "squashfs:nbd+unix:///?socket=$work/socket#" 2
        stop
        serve zstd.img delay rdelay=2ms
        compare "squashfs:nbd+unix:///?socket=$work/socket#" 10
        stop
fi
if has_module ext4 && command -v mke2fs >/dev/null; then
        mke2fs -q -F -t ext4 -d source ext4.img 256M >log 2>&1 || fail "mke2fs: $(cat log)"
        compare "ext4:$work/ext4.img#"
        e2fsck -fn ext4.img >log 2>&1 || fail "e2fsck: $(cat log)"
fi

# By the command, a few: all of it goes the same way.
for file in source/d0/file0 source/d1/file1 source/d0/link source/d5/*/file*; do
        [ -f "$file" ] || continue
        "$FAULTLINE" cat "squashfs:$work/gzip.img#/${file#source/}" >out || fail "cat $file"
        cmp -s "$file" out || fail "cat $file: other bytes"
done
exit 0
