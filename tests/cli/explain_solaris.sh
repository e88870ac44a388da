#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# explain_solaris.sh - seg_vn and UFS, step by step, each with its rule.

. "${0%/*}/lib.sh"
need_engine
make_random file $((1024 * 1024))

"$FAULTLINE" explain file --policy solaris --readahead 128K --touch 0 --touch 8K >all || fail "explain"
awk '/^touch 1/ { n = 1 } /^touch 2/ { n = 2 } { print >"touch" n }' all
expect_sequence touch1 \
        'as_fault .S6.' \
        'segvn_fault .S7. .*MADV_NORMAL' \
        'hat_probe .S9. .*mapped no, plsz 64K' \
        'VOP_GETPAGE .S9, S14. .*off 0, len 8K, plsz 64K, rw S_READ' \
        'getapage .S15, S16. .*miss' \
        'pvn_read_kluster .S16, S18. .*off 0, len 8K' \
        'read-ahead .S15, S17. .*off 8K, len 8K' \
        '^fault [0-9]*: major'
expect_sequence touch2 \
        'VOP_GETPAGE .*off 8K' \
        'getapage .*hit, nextr 8K, nextrio 16K' \
        'read-ahead .*off 16K, len 128K'

# Nobody waits for the second block: on a busy machine it may not be there yet when mincore looks.
tries=0
until [ "$(head -n 1 ranges 2>/dev/null)" = 0-4 ]; do
        tries=$((tries + 1))
        [ $tries -le 10 ] || fail "the first touch brought $(head -n 1 ranges)"
        "$FAULTLINE" touch file --policy solaris --readahead 128K --count 1 --mincore 2>/dev/null \
                >ranges || fail "touch"
done

# A stream of reads behind the first 32 KiB.
"$FAULTLINE" explain file --policy solaris --cache 8M --readahead 128K --via pread --touch 40K --touch 48K --touch 80K >all ||
        fail "explain reads"
awk '/^touch 1/ { n = 1 } /^touch 2/ { n = 2 } /^touch 3/ { n = 3 } { print >"touch" n }' all
expect_sequence touch2 'filemap_read' 'free-behind .S22. .*off 48K, len 8K'
grep -q 'free-behind' touch1 touch3 && fail "reads that are none of a stream free pages"
exit 0
