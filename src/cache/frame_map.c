/* SPDX-License-Identifier: Apache-2.0
 *
 * frame_map.c - see frame_map.h.
 */
#include "cache/frame_map.h"

#include <errno.h>
#include <sys/mman.h>

#include "util/perturb.h"

#define SHORTEST (1ul << 20)

/* Somewhere; fd -1: zeros. A child has it too: a handler may fork in the middle of a read. Without access
 * until it is unlocked: with mlockall(MCL_FUTURE) the kernel would make a frame for every page of the
 * file. */
static char *map_unlocked(uint64_t bytes, int fd, uint64_t from)
{
        int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
        char *p = mmap(NULL, bytes, PROT_NONE, flags, fd, (off_t)from);

        if (p == MAP_FAILED)
                return NULL;
        munlock(p, bytes);
        madvise(p, bytes, MADV_DONTDUMP);
        if (mprotect(p, bytes, PROT_READ) == 0)
                return p;
        munmap(p, bytes);
        return NULL;
}

/* [from, end) at once, whoever reads there meanwhile: the kernel lets no fault see the moment in between. */
static bool put_frames(char *base, uint64_t from, uint64_t end, int fd)
{
        uint64_t bytes = end - from;
        char *p = map_unlocked(bytes, fd, from);

        if (!p)
                return false;
        if (mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, base + from) != MAP_FAILED)
                return true;
        munmap(p, bytes);
        return false;
}

/* Likewise; needs no more addresses than it has. */
static bool put_zeros(char *base, uint64_t bytes)
{
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

        if (mmap(base, bytes, PROT_READ, flags, -1, 0) == MAP_FAILED)
                return false;
        madvise(base, bytes, MADV_DONTDUMP);
        return true;
}

static bool is_open(const struct frame_map *map)
{
        return atomic_load(&map->seq) & 1;
}

/* Addresses for so much and as much again, so that a file that grows little by little is seldom moved. */
static char *reserve(uint64_t size, uint64_t *room)
{
        uint64_t want = SHORTEST;

        while (want < size && want < 1ull << 62)
                want *= 2;
        *room = want;
        return map_unlocked(want, -1, 0);
}

/* The file has become longer than the addresses. Whoever still reads there finds zeros. */
static bool move(struct frame_map *map, uint64_t size)
{
        char *base = atomic_load(&map->base), *to;
        uint64_t room;

        if (base && (map->nr_old == FRAME_MAP_OLD || frame_map_close(map, 0)))
                return false;
        to = reserve(size, &room);
        if (!to)
                return false;
        if (base) {
                map->old[map->nr_old].base = base;
                map->old[map->nr_old++].room = atomic_load(&map->room);
        }
        atomic_store(&map->base, to);
        atomic_store(&map->room, room);
        return true;
}

/* anew: all of it, or else what has come behind the old end. What is there keeps its page tables: whoever
 * follows a file that becomes longer, page by page, would have all of them made again for each. */
static bool reopen(struct frame_map *map, int fd, uint64_t size, bool anew)
{
        uint64_t bytes = pages_of(size) << PAGE_SHIFT, from;

        if (bytes > atomic_load(&map->room) && !move(map, bytes))
                return false;
        from = anew || !is_open(map) ? 0 : atomic_load(&map->bytes);
        if (from >= bytes) /* somebody else was faster */
                return true;
        if (!put_frames(atomic_load(&map->base), from, bytes, fd))
                return false;
        perturb_gap();
        atomic_store(&map->bytes, bytes);
        if (!is_open(map))
                atomic_fetch_add(&map->seq, 1);
        return true;
}

void frame_map_want(struct frame_map *map, int fd, uint64_t end, uint64_t size, uint64_t lost,
                    uint64_t most)
{
        bool fits = is_open(map) && end <= atomic_load(&map->bytes);
        bool anew = lost - atomic_load(&map->left) > most;

        if (atomic_load(&map->off) || (fits && !anew))
                return;
        if (atomic_exchange(&map->busy, 1))
                return;
        if (anew || !is_open(map))
                atomic_store(&map->left, lost);
        if (!reopen(map, fd, size, anew))
                atomic_store(&map->off, true);
        atomic_store(&map->busy, 0);
}

int frame_map_close(struct frame_map *map, uint64_t bytes)
{
        if (!is_open(map) || bytes >= atomic_load(&map->bytes))
                return 0;
        /* First, so that who finds zeros there knows it. */
        atomic_fetch_add(&map->seq, 1);
        perturb_gap();
        if (put_zeros(atomic_load(&map->base), atomic_load(&map->room)))
                return 0;
        atomic_fetch_add(&map->seq, 1);
        return -ENOMEM;
}

void frame_map_destroy(struct frame_map *map)
{
        if (atomic_load(&map->base))
                munmap(atomic_load(&map->base), atomic_load(&map->room));
        for (unsigned i = 0; i < map->nr_old; i++)
                munmap(map->old[i].base, map->old[i].room);
}
