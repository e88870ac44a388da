#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# explain_cached.sh - a fault on a page that is cached but not mapped, and a touch without one.

. "${0%/*}/lib.sh"
need_engine
make_random file $((4 * 1024 * 1024))
export FAULTLINE_POLICY=linux # a window around the page

# The first touch reads 32 pages around; pages outside the 16 that a fault maps around are cached
# only, unless read-ahead has been mapped as well: so look for one that is.
"$FAULTLINE" touch file --readahead 128K --count 1 --mincore 2>/dev/null >ranges || fail "touch"
[ "$(head -n 1 ranges)" = 0-32 ] || fail "read-around brought $(head -n 1 ranges)"

"$FAULTLINE" explain file --readahead 128K --touch 0 --touch 0 --touch 96K >all || fail "explain"
awk '/^touch 1/ { n = 1 } /^touch 2/ { n = 2 } /^touch 3/ { n = 3 } { print >"touch" n }' all

grep -q 'find_get_page .*miss' touch1 || fail "the first touch found the page"
expect_sequence touch2 '^touch 2: load at offset 0' '^no fault: already mapped'
[ "$(wc -l <touch2)" -le 3 ] || fail "touching what is mapped made events: $(cat touch2)"
expect_sequence touch3 \
        'do_page_fault' \
        'find_vma' \
        'pte .*none' \
        'filemap_fault .*index 24' \
        'find_get_page .*hit' \
        'do_async_mmap_readahead .*index 24' \
        'set_pte' \
        '^fault [0-9]*: minor'
grep -q 'VM_FAULT_MAJOR\|do_sync_mmap_readahead' touch3 && fail "a hit went to the disk"

# the first store to a page that was loaded
"$FAULTLINE" explain file --touch 0 --touch 0:w >all || fail "explain of a store"
awk '/^touch 2/ { on = 1 } on' all >touch2
expect_sequence touch2 'do_page_fault.* write yes' 'page_mkwrite .*index 0' '^fault [0-9]*: minor'
exit 0
