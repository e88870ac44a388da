/* SPDX-License-Identifier: Apache-2.0
 *
 * patterns.c - the accesses whose residency the rules work out by hand, one by one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "fidelity.h"

#define LARGE 256 /* pages: such windows are not read in vain except in the long form */

/* Steps of a pattern on a file of `pages`, with windows of r pages. */
struct pattern {
        const char *name;
        void (*fill)(struct steps *s, uint64_t pages, uint64_t r, uint64_t arg);
        uint64_t arg;
        bool exec, private;
        enum fd_advice fd_advice;
        int advice;
        bool costly; /* reads a whole window again and again */
};

static void touch(struct steps *s, uint64_t page)
{
        step_add(s, READ_PAGE, page, 1, 0);
}

static void one(struct steps *s, uint64_t pages, uint64_t r, uint64_t at)
{
        (void)r;
        touch(s, at < pages ? at : pages - 1);
}

/* At the edge of what is read around page 0, give or take. */
static void near_half(struct steps *s, uint64_t pages, uint64_t r, uint64_t arg)
{
        (void)pages;
        touch(s, r / 2 + arg - 1);
}

static void inside_window(struct steps *s, uint64_t pages, uint64_t r, uint64_t at)
{
        (void)pages;
        touch(s, at);
        for (uint64_t i = at - r / 2; i < at + r / 4; i++)
                touch(s, i);
}

static void marker(struct steps *s, uint64_t pages, uint64_t r, uint64_t at)
{
        (void)pages;
        touch(s, at);
        touch(s, (at > r / 2 ? at - r / 2 : 0) + r - r / 4);
}

/* The marker after that, on a folio of four pages, by its `arg`th. */
static void second_marker(struct steps *s, uint64_t pages, uint64_t r, uint64_t arg)
{
        (void)pages;
        touch(s, 5000);
        touch(s, 5000 + r / 4);
        touch(s, 5000 + r / 2 + arg);
}

static void forward(struct steps *s, uint64_t pages, uint64_t r, uint64_t from)
{
        for (uint64_t i = from; i < from + 6 * r && i < pages; i++)
                touch(s, i);
}

static void backward(struct steps *s, uint64_t pages, uint64_t r, uint64_t from)
{
        uint64_t stop = from > 4 * r ? from - 4 * r : 0;

        (void)pages;
        for (uint64_t i = from; i > stop; i--)
                touch(s, i);
}

static void stride(struct steps *s, uint64_t pages, uint64_t r, uint64_t by)
{
        uint64_t end = 8 * r > 16 * by ? 8 * r : 16 * by;

        for (uint64_t i = 0; i < end && i < pages; i += by)
                touch(s, i);
}

static void some(struct steps *s, uint64_t pages, uint64_t r, uint64_t arg)
{
        (void)r;
        (void)arg;
        for (uint64_t i = 0; i < 40; i++)
                touch(s, i * 1237 % pages);
}

static void willneed(struct steps *s, uint64_t pages, uint64_t r, uint64_t nr)
{
        (void)r;
        step_add(s, WILLNEED, 100, nr < pages - 100 ? nr : pages - 100, 0);
}

/* Two streams that meet: the second finds pages of the first in its way. */
static void meeting(struct steps *s, uint64_t pages, uint64_t r, uint64_t apart)
{
        for (uint64_t i = 0; i < 3 * r; i++) {
                touch(s, i);
                if (apart + i < pages)
                        touch(s, apart + i);
        }
}

static void misses(struct steps *s, uint64_t pages, enum step_kind kind, unsigned nr)
{
        for (unsigned i = 0; i < nr; i++) {
                step_add(s, DROP, 0, pages, 0);
                step_add(s, kind, 5000, 1, 0);
        }
}

static void read_misses(struct steps *s, uint64_t pages, uint64_t r, uint64_t nr)
{
        (void)r;
        misses(s, pages, READ_PAGE, (unsigned)nr);
}

static void write_misses(struct steps *s, uint64_t pages, uint64_t r, uint64_t nr)
{
        (void)r;
        misses(s, pages, WRITE_PAGE, (unsigned)nr);
}

/* Past the cut-off, and back by one read of pages that are there. */
static void restored(struct steps *s, uint64_t pages, uint64_t r, uint64_t arg)
{
        (void)arg;
        misses(s, pages, WRITE_PAGE, 101);
        step_add(s, DROP, 0, pages, 0);
        step_add(s, WILLNEED, 64, 16, 0);
        touch(s, 70);
        step_add(s, WRITE_PAGE, 9000 + r, 1, 0);
}

#define SEQUENTIAL .advice = MADV_SEQUENTIAL
#define RANDOM .advice = MADV_RANDOM

#define PATTERN(n, f, a, ...)                                                                      \
        {                                                                                          \
                .name = n, .fill = f, .arg = a, __VA_ARGS__                                        \
        }

static const struct pattern patterns[] = {
        PATTERN("one touch at 0", one, 0),
        PATTERN("one touch at 1", one, 1),
        PATTERN("one touch at 64", one, 64),
        PATTERN("one touch at 1025", one, 1025),
        PATTERN("one touch at 5000", one, 5000),
        PATTERN("one touch at 16000", one, 16000),
        PATTERN("one touch of the last page", one, UINT64_MAX),
        PATTERN("one touch before half a window", near_half, 0),
        PATTERN("one touch at half a window", near_half, 1),
        PATTERN("one touch behind half a window", near_half, 2),
        PATTERN("touches inside a window", inside_window, 8000),
        PATTERN("the marker of the first window", marker, 0),
        PATTERN("a marker", marker, 5000),
        PATTERN("the second marker", second_marker, 0),
        PATTERN("the second marker's folio, second page", second_marker, 1),
        PATTERN("the second marker's folio, last page", second_marker, 3),
        PATTERN("behind the second marker's folio", second_marker, 4),
        PATTERN("forward from 0", forward, 0),
        PATTERN("forward from 5000", forward, 5000),
        PATTERN("forward into the end", forward, MAX_PAGES - 100),
        PATTERN("backward from 20000", backward, 20000),
        PATTERN("backward from 50", backward, 50),
        PATTERN("stride 8", stride, 8),
        PATTERN("stride 16", stride, 16),
        PATTERN("stride 33", stride, 33),
        PATTERN("stride 100", stride, 100),
        PATTERN("stride 1500", stride, 1500),
        PATTERN("stride 3000", stride, 3000),
        PATTERN("two streams that meet", meeting, 70),
        PATTERN("two streams far apart", meeting, 15000),
        PATTERN("MADV_RANDOM", some, 0, RANDOM),
        PATTERN("MADV_RANDOM forward", forward, 5000, RANDOM),
        PATTERN("MADV_SEQUENTIAL from 0", forward, 0, SEQUENTIAL),
        PATTERN("MADV_SEQUENTIAL from 5000", forward, 5000, SEQUENTIAL),
        PATTERN("MADV_SEQUENTIAL backward", backward, 5000, SEQUENTIAL),
        PATTERN("PROT_EXEC", some, 0, .exec = true),
        PATTERN("PROT_EXEC forward", forward, 5000, .exec = true),
        PATTERN("PROT_EXEC, MADV_RANDOM", some, 0, .exec = true, RANDOM),
        PATTERN("FADV_SEQUENTIAL", one, 9000, .fd_advice = FD_SEQUENTIAL),
        PATTERN("FADV_SEQUENTIAL forward", forward, 5000, .fd_advice = FD_SEQUENTIAL),
        PATTERN("FADV_RANDOM", some, 0, .fd_advice = FD_RANDOM),
        PATTERN("MADV_WILLNEED of 100", willneed, 100),
        PATTERN("MADV_WILLNEED of 1025", willneed, 1025),
        PATTERN("MADV_WILLNEED of all", willneed, MAX_PAGES),
        PATTERN("130 read misses", read_misses, 130, .costly = true),
        PATTERN("130 write misses, private", write_misses, 130, .private = true, .costly = true),
        PATTERN("130 write misses, shared", write_misses, 130, .costly = true),
        PATTERN("misses made good by a read", restored, 0, .private = true, .costly = true),
};

unsigned pattern_count(void)
{
        return sizeof(patterns) / sizeof(patterns[0]);
}

bool pattern_steps(const struct ground *g, unsigned number, struct steps *s)
{
        const struct pattern *p = &patterns[number];
        uint64_t r = g->ra_pages, pages = ground_pages(g, 0);
        const char *long_form = getenv("FAULTLINE_TEST_LONG");

        s->nr = 0;
        s->file = 0;
        s->first = 0;
        s->nr_pages = pages;
        s->exec = p->exec;
        s->private = p->private;
        s->fd_advice = p->fd_advice;
        snprintf(s->name, sizeof(s->name), "%s", p->name);
        if (p->advice)
                step_add(s, ADVISE, 0, 0, p->advice);
        p->fill(s, pages, r, p->arg);
        return r <= LARGE || (long_form && *long_form) || (!p->costly && s->nr < LARGE);
}
