/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_memory.c - the rows about mappings as such: large ones, new memory, thousands of them.
 *
 * Where only a part of what a run does is measured, that part adds to work.timed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bench.h"
#include "guard.h"

#define SPREAD 2654435761u /* a prime: k * SPREAD mod n meets every k < n once */

/* ---- one large mapping ---- */

static int map_large(struct work *w, struct stream *stream, struct bench_result *result)
{
        uint64_t len = w->pages * PAGE_SIZE;
        char *memory = w->ops->map(w, 0, len);

        (void)stream;
        if (memory == MAP_FAILED)
                return errno;
        if (w->ops->unmap(w, memory, len))
                return errno;
        result->units++;
        return 0;
}

int run_map_large(struct work *w, struct bench_result *result)
{
        return run_steps(w, result, map_large);
}

/* The touches are measured, not the mapping and unmapping. */
static int touch_new(struct work *w, struct stream *stream, struct bench_result *result)
{
        uint64_t len = w->pages * PAGE_SIZE, started;
        char *memory = w->ops->map(w, 0, len);

        (void)stream;
        if (memory == MAP_FAILED)
                return errno;
        started = now_ns();
        for (uint64_t i = 0; i < w->pages; i++)
                *(volatile uint64_t *)(memory + i * PAGE_SIZE) = i;
        w->timed += now_ns() - started;
        if (w->ops->unmap(w, memory, len))
                return errno;
        result->units += w->pages;
        return 0;
}

int run_first_touch(struct work *w, struct bench_result *result)
{
        int error = run_steps(w, result, touch_new);

        result->ns = w->timed;
        return error;
}

/* ---- thousands of mappings ----
 *
 * A fault maps the cached pages of its 64 KiB of addresses too. So each piece is 128 KiB, of which
 * the one stretch of 64 KiB that begins at a multiple of 64 KiB and lies within it is touched: then
 * a touch is one fault and maps 16 pages, whether the pieces are one mapping or each its own.
 */

#define PIECE_PAGES 32
#define AROUND (64 * 1024UL)
#define MOST_MAPS 50000u /* of vm.max_map_count, usually 65,530 */

static uint64_t nr_pieces(const struct work *w)
{
        return w->parts ? w->parts : w->pages / PIECE_PAGES;
}

static char *piece(const struct work *w, uint64_t i)
{
        return w->parts ? w->part[i] : w->memory + i * PIECE_PAGES * PAGE_SIZE;
}

/* All that is shown is cached: what is measured are minor faults. */
int setup_maps(struct work *w)
{
        uint64_t pieces = w->pages / PIECE_PAGES, n = w->job->cache / PAGE_SIZE * 4;
        int error = setup_fill(w);

        if (error || w->ops->small)
                return error;
        if (n > MOST_MAPS)
                n = MOST_MAPS;
        w->part = pieces ? calloc(n, sizeof(*w->part)) : NULL;
        if (!w->part)
                return pieces ? ENOMEM : EINVAL;
        w->part_pages = PIECE_PAGES;
        for (; w->parts < n; w->parts++) {
                /* No two neighbours in a row of the file: they would become one mapping. */
                uint64_t from = w->parts * 7 % pieces * PIECE_PAGES * PAGE_SIZE;
                char *part = w->ops->map(w, from, PIECE_PAGES * PAGE_SIZE);

                if (part == MAP_FAILED)
                        return errno;
                w->part[w->parts] = part;
        }
        return 0;
}

static int fault_pieces(struct work *w, struct stream *stream, struct bench_result *result)
{
        uint64_t n = nr_pieces(w), started = now_ns();

        (void)stream;
        for (uint64_t i = 0; i < n; i++) {
                uintptr_t at = (uintptr_t)piece(w, i * SPREAD % n);

                (void)*(const volatile uint64_t *)((at + AROUND - 1) & ~(AROUND - 1));
        }
        w->timed += now_ns() - started;
        result->units += n;
        for (uint64_t i = 0; i < n; i++)
                if (w->ops->advise(w, piece(w, i), PIECE_PAGES * PAGE_SIZE, MADV_DONTNEED))
                        return errno;
        return 0;
}

int run_maps(struct work *w, struct bench_result *result)
{
        struct bench_result first = { 0 };
        int error = fault_pieces(w, NULL, &first); /* the page tables are made */

        w->timed = 0;
        if (!error)
                error = run_steps(w, result, fault_pieces);
        result->ns = w->timed;
        return error;
}
