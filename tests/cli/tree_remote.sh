#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tree_remote.sh - image_tree.sh over NBD: from a server that takes 2 ms for each answer, and from one
# that dies in the middle, forgets what it was not told to flush, and comes back; it takes one client.
# Files are put into the ext4 image: debugfs(8) and, where one can be had, a loop mount find them, and
# e2fsck -fn nothing. FAULTLINE_TEST_LONG: 5,000 files.

. "${0%/*}/remote_lib.sh"
need_nbd
need_engine
need_module ext4
need_module squashfs
PATH=$PATH:/usr/sbin:/sbin
need_tool nbdkit mke2fs e2fsck debugfs mksquashfs

count=200 megabytes=64
[ -z "${FAULTLINE_TEST_LONG:-}" ] || count=5000 megabytes=256
"$HELPERS/tree" make source "$count" || fail "make the tree"
mke2fs -q -F -t ext4 -d source made "${megabytes}M" >log 2>&1 || fail "mke2fs: $(cat log)"
for compressor in gzip zstd lz4; do
        mksquashfs source "$compressor.img" -comp "$compressor" -noappend -quiet -no-progress \
                >log 2>&1 || fail "mksquashfs: $(cat log)"
done

# compare TYPE: all files.
compare()
{
        "$HELPERS/tree" compare "$1:$uri#" source >compared || fail "$1 is not the tree"
        cat compared
}

# Every 10th file gets other bytes; where they are is in `put`.
put_some()
{
        n=0
        : >put
        # Names that debugfs takes as they are.
        find source -type f -size +0 ! -path '*[!A-Za-z0-9/_.-]*' | sort >names
        while read -r name; do
                n=$((n + 1))
                [ $((n % 10)) -eq 3 ] || continue
                path=${name#source/}
                new=new/$((n % 7))
                "$FAULTLINE" put $new "ext4:$uri#/$path" || fail "put $path"
                echo "$new $path" >>put
        done <names
        [ -s put ] || fail "nothing was put"
}

# What was put is there, for others.
check_put()
{
        e2fsck -fn image >log 2>&1 || fail "e2fsck -fn: $(cat log)"
        while read -r new path; do
                rm -f dumped
                debugfs -R "dump /$path dumped" image >log 2>&1 || fail "debugfs: $(cat log)"
                cmp dumped "$new" || fail "debugfs: $path is not what was put"
        done <put
        mkdir -p mounted
        if mount -o loop,ro image mounted 2>log; then
                while read -r new path; do
                        cmp "mounted/$path" "$new" || echo "$path" >wrong
                done <put
                umount mounted || fail "umount"
                [ ! -e wrong ] || fail "a loop mount: $(cat wrong) is not what was put"
                echo "seen by a loop mount too"
        fi
        wc -l <put
}

mkdir new
for i in 0 1 2 3 4 5 6; do
        make_random new/$i $((i * i * 9000 + 1))
done

# A server that takes its time.
cp made image
serve_by nbdkit -f -U "$work/socket" --filter=delay file image rdelay=2ms wdelay=2ms
compare ext4
put_some
stop_server
check_put
for compressor in gzip zstd lz4; do
        serve_by nbdkit -f -r -U "$work/socket" --filter=delay file $compressor.img rdelay=2ms
        compare squashfs
        stop_server
done

# One that dies and comes back: while files are read, and while they are written.
cp made image
serve image volatile die=150 deaths=5 late=50
compare ext4
put_some
stop_server KILL
check_put
serve zstd.img readonly die=100 deaths=5 late=50
compare squashfs
stop_server KILL
exit 0
