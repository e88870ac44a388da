/* SPDX-License-Identifier: Apache-2.0
 *
 * ufs.c - see ufs.h.
 */
#include "policy/ufs.h"

#include <errno.h>

#define SMALL_FILE (32u << 10)

uint64_t ufs_clustsz(const struct ufs_layout *l)
{
        return (uint64_t)l->fs_bsize * l->fs_maxcontig;
}

bool ufs_is_sequential(const struct ufs_stream *s, uint64_t off, bool create)
{
        return s->i_nextr == off && !create;
}

bool ufs_cluster_due(const struct ufs_stream *s, const struct ufs_layout *l, uint64_t off,
                     bool in_memory)
{
        return off + ufs_clustsz(l) >= s->i_nextrio && s->i_nextrio >= off &&
               s->i_nextrio < l->i_size && in_memory;
}

struct ufs_io ufs_read_miss(struct ufs_stream *s, const struct ufs_layout *l, uint64_t off,
                            uint64_t contig, bool sequential)
{
        struct ufs_io io = { off, contig };

        if (contig == 0)
                return io;
        if (!sequential || off == 0)
                io.len = min_u64(contig, l->fs_bsize);
        s->i_nextrio = off + io.len;
        return io;
}

struct ufs_io ufs_read_ahead(struct ufs_stream *s, const struct ufs_layout *l, uint64_t contig,
                             uint64_t segment_end, bool directio)
{
        struct ufs_io io = { s->i_nextrio, 0 };

        if (directio || io.off >= segment_end || io.off >= l->i_size)
                return io;
        io.len = io.off == l->fs_bsize ? min_u64(contig, l->fs_bsize) : contig;
        s->i_nextrio += io.len;
        return io;
}

void ufs_read_ahead_exists(struct ufs_stream *s, const struct ufs_layout *l)
{
        s->i_nextrio += l->page;
}

void ufs_returned(struct ufs_stream *s, uint64_t end)
{
        s->i_nextr = end;
}

int ufs_check_range(const struct ufs_layout *l, uint64_t off, uint64_t len)
{
        uint64_t end = (l->i_size + l->page - 1) / l->page * l->page;

        return off > end || len > end - off ? -EFAULT : 0;
}

struct ufs_io pvn_read_kluster(const struct pvn_ask *ask)
{
        uint64_t from = ask->off, to = ask->off + ask->page;

        if (ask->ahead && (ask->freemem <= ask->minfree || !ask->kluster(ask->arg, ask->off)))
                return (struct ufs_io){ ask->off, 0 };
        while (from >= ask->vp_off + ask->page && !ask->cached(ask->arg, from - ask->page) &&
               ask->kluster(ask->arg, from - ask->page))
                from -= ask->page;
        while (to < ask->vp_end && !ask->cached(ask->arg, to) && ask->kluster(ask->arg, to))
                to += ask->page;
        return (struct ufs_io){ from, to - from };
}

struct ufs_small_files ufs_small_files(uint64_t freemem_bytes, unsigned ncpu)
{
        struct ufs_small_files small;

        small.smallfile1 = max_u64(SMALL_FILE, freemem_bytes / ncpu / 1000);
        small.smallfile2 = max_u64(small.smallfile1, freemem_bytes / ncpu / 10);
        return small;
}

unsigned ufs_read_flags(const struct ufs_stream *s, const struct ufs_small_files *small,
                        uint64_t off, bool freebehind, bool cache_read_ahead)
{
        if (!freebehind || s->i_nextr != off || off <= small->smallfile1)
                return 0;
        return off > small->smallfile2 && !cache_read_ahead ? UFS_FREE | UFS_DONTNEED : UFS_FREE;
}
