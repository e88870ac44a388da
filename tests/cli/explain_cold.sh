#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# explain_cold.sh - a fault on a page that is nowhere: every layer, in the order of the path.

. "${0%/*}/lib.sh"
need_engine
make_random file $((4 * 1024 * 1024))
export FAULTLINE_POLICY=linux # a window around the page

"$FAULTLINE" explain file --readahead 128K >out || fail "explain"
expect_sequence out \
        '^touch 1: load at offset 0' \
        ' mmu .*do_page_fault.* write no' \
        ' vm .*find_vma .*prot r--' \
        ' vm .*pte .*none' \
        ' cache .*filemap_fault .*index 0' \
        ' cache .*find_get_page .*miss' \
        ' cache .*VM_FAULT_MAJOR' \
        ' cache .*do_sync_mmap_readahead' \
        ' cache .*do_page_cache_ra .*size 32, .*read-around' \
        ' cache .*page_cache_ra_unbounded .*allocated 32' \
        ' cache .*read_pages .*pages 32' \
        ' fs .*->readahead .*pages 32' \
        ' block .*submit_bio .*opf READ' \
        ' block .*get request' \
        ' block .*elevator insert .*prio real-time' \
        ' block .*request dispatch .*bytes 128K' \
        ' driver .*driver submit .*bytes 128K, op READ' \
        ' block .*request complete .*result 128K' \
        ' cache .*page_end_read .*error none' \
        ' vm .*set_pte .*frame memfd[+]0x0' \
        'fault done' \
        '^fault [0-9]*: major, '

# times go up, from zero
awk '$2 ~ /^(mmu|vm|cache|fs|block|driver)$/ {
        if (!n++ && $1 != 0) exit 1
        if ($1 < last) exit 1
        last = $1
     }
     END { exit n < 10 }' out || fail "the times are not in order"

# a store: the page is made dirty before it can be written
cp file before
"$FAULTLINE" explain file --touch 64K:w >out || fail "explain of a store"
expect_sequence out \
        '^touch 1: store at offset 65536' \
        'do_page_fault.* write yes' \
        'find_vma .*prot rw-' \
        'find_get_page .*miss' \
        'page_mkwrite .*index 16' \
        'set_pte .*writable yes' \
        '^fault [0-9]*: major'
cmp file before || fail "explain changed the file"

# a read that fails is explained too
"$FAULTLINE" explain file --faults eio@0+4M >out 2>err
[ $? -eq 1 ] || fail "explain of a failing read: exit status"
expect_sequence out 'failed: Input/output error' 'find_get_page .*miss' \
        'request complete .*result EIO'
exit 0
