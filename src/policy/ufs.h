/* SPDX-License-Identifier: Apache-2.0
 *
 * ufs.h - what Solaris's UFS decides in getpage: is this a stream, how much is read for a miss, when
 * does the next cluster start and how long is it. Arithmetic only; rule numbers are those of
 * docs/policies.md. Offsets and lengths are bytes.
 */
#ifndef FL_POLICY_UFS_H
#define FL_POLICY_UFS_H

#include "policy/policy.h"

struct ufs_layout {
        uint64_t i_size;
        uint32_t page, fs_bsize, fs_maxcontig;
};

/* What to read; len 0: nothing. */
struct ufs_io {
        uint64_t off, len;
};

/* S15: CLUSTSZ. */
uint64_t ufs_clustsz(const struct ufs_layout *l);
/* S15. create: S_CREATE */
bool ufs_is_sequential(const struct ufs_stream *s, uint64_t off, bool create);
/* S15: before the page at `off` is looked up in a stream: is the next cluster to be started? */
bool ufs_cluster_due(const struct ufs_stream *s, const struct ufs_layout *l, uint64_t off,
                     bool in_memory);
/* S16: a miss at off, where the file is contiguous on the disk for `contig` bytes; 0: a hole. */
struct ufs_io ufs_read_miss(struct ufs_stream *s, const struct ufs_layout *l, uint64_t off,
                            uint64_t contig, bool sequential);
/* S17: the next cluster, asynchronous; contig likewise, at i_nextrio. segment_end: file offset. */
struct ufs_io ufs_read_ahead(struct ufs_stream *s, const struct ufs_layout *l, uint64_t contig,
                             uint64_t segment_end, bool directio);
/* S17: the page there exists already. */
void ufs_read_ahead_exists(struct ufs_stream *s, const struct ufs_layout *l);
/* S14: GETPAGE returns the pages up to `end`. */
void ufs_returned(struct ufs_stream *s, uint64_t end);
/* S14: 0, or -EFAULT: the range reaches beyond the end of the file. */
int ufs_check_range(const struct ufs_layout *l, uint64_t off, uint64_t len);

/* S18: which pages around the one at `off` one request reads, within [vp_off, vp_end). */
struct pvn_ask {
        uint64_t off, vp_off, vp_end;
        uint32_t page;
        bool ahead;                /* nobody waits for it */
        uint64_t freemem, minfree; /* pages */
        bool (*cached)(void *arg, uint64_t off);
        bool (*kluster)(void *arg, uint64_t off); /* S13: together with the one at ask.off */
        void *arg;
};
struct ufs_io pvn_read_kluster(const struct pvn_ask *ask);

/* S22: read(2) past these lets its pages go. */
struct ufs_small_files {
        uint64_t smallfile1, smallfile2; /* bytes */
};
struct ufs_small_files ufs_small_files(uint64_t freemem_bytes, unsigned ncpu);
#define UFS_FREE 1u     /* SM_FREE|SM_ASYNC */
#define UFS_DONTNEED 2u /* SM_DONTNEED: the first to be used again */
unsigned ufs_read_flags(const struct ufs_stream *s, const struct ufs_small_files *small,
                        uint64_t off, bool freebehind, bool cache_read_ahead);

#endif
