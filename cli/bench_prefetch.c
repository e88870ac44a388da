/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_prefetch.c - pages at random asked for by one call of fl_prefetch, until all are in the cache.
 */
#include <errno.h>
#include <stdlib.h>

#include "bench.h"
#include "util/base.h"

#define ASKED 100000u

/* As many as are asked for, as long as most of the file and of the cache are others. */
static uint64_t how_many(const struct work *w)
{
        uint64_t room = w->engine.cache / PAGE_SIZE / 4 * 3;

        return min_u64(ASKED, min_u64(room, w->pages / 4));
}

static int wait_for_all(struct fl_prefetch *p, struct fl_prefetch_result *r)
{
        int error = fl_prefetch_wait(p, UINT64_MAX, r) ? errno : 0;

        if (fl_prefetch_end(p) && !error)
                error = errno;
        return error;
}

int run_prefetch(struct work *w, struct bench_result *result)
{
        struct fl_prefetch_result r = { .size = sizeof(r) };
        uint64_t nr = how_many(w), started;
        struct fl_range *ranges = calloc(nr ? nr : 1, sizeof(*ranges));
        struct fl_prefetch *p;
        struct stream s;
        int error;

        if (!ranges)
                return ENOMEM;
        stream_begin(&s, w, 0);
        for (uint64_t i = 0; i < nr; i++)
                ranges[i] = (struct fl_range){ (off_t)(w->load->next(&s) * PAGE_SIZE), PAGE_SIZE };
        started = now_ns();
        p = fl_prefetch(w->session.file, ranges, nr, -1);
        error = p ? wait_for_all(p, &r) : errno;
        result->ns = now_ns() - started;
        result->units = r.read / PAGE_SIZE;
        result->errors = r.failed / PAGE_SIZE;
        free(ranges);
        return error ? error : r.left ? ENOMEM : 0;
}
