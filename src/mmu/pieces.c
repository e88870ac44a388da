/* SPDX-License-Identifier: Apache-2.0
 *
 * pieces.c - see pieces.h.
 */
#include "mmu/pieces.h"

#include <errno.h>
#include <sys/mman.h>

#include "util/mman.h"

#define SPARES 4

struct pieces {
        move_piece *move;
        void *arg;
        void *spare[SPARES]; /* mappings that are let go when there are too many to go back */
};

/* Each a mapping by itself: memory that is shared does not join its neighbours. */
static void take_spares(struct pieces *p)
{
        for (int i = 0; i < SPARES; i++)
                p->spare[i] = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void give_spares(struct pieces *p)
{
        for (int i = 0; i < SPARES; i++) {
                if (p->spare[i] != MAP_FAILED)
                        munmap(p->spare[i], PAGE_SIZE);
                p->spare[i] = MAP_FAILED;
        }
}

static int move_part(struct pieces *p, uint64_t from, uint64_t to, uint64_t len)
{
        uint64_t half = round_up_u64(len / 2, PAGE_SIZE);
        int error = p->move(p->arg, from, to, len, MREMAP_DONTUNMAP);

        if (error != -EFAULT || half == len)
                return error;
        error = move_part(p, from, to, half);
        if (error)
                return error;
        error = move_part(p, from + half, to + half, len - half);
        if (error) {
                give_spares(p);
                move_part(p, to, from, half);
        }
        return error;
}

int move_in_pieces(uint64_t from, uint64_t to, uint64_t len, bool keep, move_piece *move, void *arg)
{
        struct pieces p = { .move = move, .arg = arg };
        int error = move(arg, from, to, len, keep ? MREMAP_DONTUNMAP : 0);

        if (error != -EFAULT || len == PAGE_SIZE)
                return error;
        take_spares(&p);
        error = move_part(&p, from, to, len);
        give_spares(&p);
        if (!error && !keep && munmap((void *)(uintptr_t)from, len)) {
                error = -errno;
                move_part(&p, to, from, len);
        }
        return error;
}
