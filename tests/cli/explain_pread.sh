#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# explain_pread.sh - fl_pread: below the page cache, the same path as a fault's.

. "${0%/*}/lib.sh"
need_engine
make_random file $((4 * 1024 * 1024))

"$FAULTLINE" explain file --via pread --readahead 128K --touch 0 --touch 0 >all || fail "explain"
awk '/^touch 1/ { n = 1 } /^touch 2/ { n = 2 } { print >"touch" n }' all
expect_sequence touch1 \
        '^touch 1: fl_pread at offset 0' \
        ' cache .*filemap_read .*index 0' \
        ' cache .*find_get_page .*miss' \
        ' cache .*do_page_cache_ra .*start 0' \
        ' cache .*page_cache_ra_unbounded .*allocated' \
        ' cache .*read_pages' \
        ' fs .*->readahead' \
        ' block .*submit_bio .*opf READ' \
        ' block .*request dispatch' \
        ' driver .*driver submit' \
        ' block .*request complete'
grep -q 'do_page_fault' touch1 && fail "fl_pread took a page fault"
expect_sequence touch2 'filemap_read .*index 0' 'find_get_page .*hit'
grep -q 'driver submit' touch2 && fail "a hit went to the disk"
exit 0
