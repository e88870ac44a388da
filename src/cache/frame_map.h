/* SPDX-License-Identifier: Apache-2.0
 *
 * frame_map.h - a file's frames as memory of the engine's own, to be read without a system call.
 *
 * Read-only, and for fl_pread of what is cached (filemap_hit.c), which locks nothing: a frame may go while
 * it is read, and the memory must then still be there to be read. So what has once been mapped stays
 * mapped until the file is closed. Where a frame has gone it is zeros; before the frames' end moves down,
 * zeros of another kind take the place of all of it, since the kernel sends SIGBUS behind a file's end;
 * and when it is mapped again, then no further than the new end, for who still reads behind that.
 * Either way the reader notices by `seq` or by the page's changes, and takes back what he has read.
 *
 * The kernel keeps page tables for every part of it that has been touched, whether there still are
 * frames or not. As many as the tree of the file's pages has lost leaves are of no use: when these are too
 * many, all of it is mapped anew, which leaves them behind.
 */
#ifndef FL_CACHE_FRAME_MAP_H
#define FL_CACHE_FRAME_MAP_H

#include "util/base.h"

/* Each is twice as long as the last at least. */
#define FRAME_MAP_OLD 32

struct frame_map {
        _Atomic uint64_t seq;   /* odd: the frames can be read at base */
        _Atomic(char *) base;   /* set before seq becomes odd, as is */
        _Atomic uint64_t bytes; /* of frames, from base on; grows while it is open */
        _Atomic uint64_t room;  /* and of addresses: behind the frames, zeros */
        _Atomic uint32_t busy;  /* somebody is in frame_map_want() */
        _Atomic bool off;       /* it could not be mapped */
        _Atomic uint64_t left;  /* so many leaves the tree had lost when it was last mapped */
        struct {
                char *base;
                uint64_t room;
        } old[FRAME_MAP_OLD]; /* [busy] had become too short: zeros */
        unsigned nr_old;      /* [busy] */
};

/* Frames are to be read through it up to `end`, a byte of the file's; they end at `size` by now. `lost`:
 * leaves that the tree has lost so far; most: so many useless page tables are kept. Best effort: where there is no address space, never.
 * Takes nothing and waits for nobody; one at a time does it. => the frames' end does not move */
void frame_map_want(struct frame_map *map, int fd, uint64_t end, uint64_t size, uint64_t lost,
                    uint64_t most);
/* The frames' end is about to move to `bytes`. 0, or -ENOMEM: then it must not. => no frame_map_want() */
int frame_map_close(struct frame_map *map, uint64_t bytes);
/* => nobody reads */
void frame_map_destroy(struct frame_map *map);

/* Where the frames are, and how far: read `seq` first, and when all has been read ask frame_map_held().
 * NULL: not to be read so. */
static inline const char *frame_map_base(const struct frame_map *map, uint64_t *seq,
                                         uint64_t *bytes)
{
        *seq = atomic_load_explicit(&map->seq, memory_order_acquire);
        *bytes = atomic_load_explicit(&map->bytes, memory_order_acquire); /* before base */
        return *seq & 1 ? atomic_load_explicit(&map->base, memory_order_relaxed) : NULL;
}
static inline bool frame_map_held(const struct frame_map *map, uint64_t seq)
{
        memory_fence(memory_order_acquire);
        return atomic_load_explicit(&map->seq, memory_order_relaxed) == seq;
}

#endif
