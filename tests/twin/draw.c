/* SPDX-License-Identifier: Apache-2.0
 *
 * draw.c - what is drawn for an operation, from a stream of random numbers, and how it is printed.
 */
#include <stdio.h>
#include <string.h>

#include "../mman.h"
#include "threads.h"

/* Those that are met often are there more than once. */
static const int prots[] = { PROT_READ,
                             PROT_READ,
                             PROT_READ | PROT_WRITE,
                             PROT_READ | PROT_WRITE,
                             PROT_READ | PROT_WRITE,
                             PROT_READ | PROT_WRITE,
                             PROT_WRITE,
                             PROT_NONE,
                             PROT_EXEC,
                             PROT_READ | PROT_EXEC,
                             PROT_READ | PROT_WRITE | PROT_EXEC };
static const int odd_prots[] = { 0x100, PROT_READ | 0x40000, PROT_GROWSDOWN | PROT_READ,
                                 PROT_GROWSUP };
static const int advices[] = { MADV_NORMAL,   MADV_RANDOM,   MADV_SEQUENTIAL,
                               MADV_WILLNEED, MADV_DONTNEED, MADV_DONTNEED,
                               1234 };
static const int cold_advices[] = { MADV_COLD, MADV_PAGEOUT };
/* Where nobody else stores to the file. */
static const int more_advices[] = { MADV_COLD,          MADV_PAGEOUT,       MADV_REMOVE,
                                    MADV_FREE,          MADV_POPULATE_READ, MADV_POPULATE_WRITE,
                                    MADV_DONTFORK,      MADV_DOFORK,        MADV_WIPEONFORK,
                                    MADV_POPULATE_READ, MADV_KEEPONFORK,    MADV_DONTNEED_LOCKED };
static const int types[] = { MAP_SHARED,  MAP_SHARED,  MAP_SHARED,         MAP_PRIVATE,
                             MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED_VALIDATE };
static const int odd_types[] = { 0, MAP_SHARED_VALIDATE | 0x200000, MAP_TYPE & ~3 };
/* Lengths that wrap, wherever they begin. ThreadSanitizer's own munmap does not survive them. */
#ifdef __SANITIZE_THREAD__
static const size_t long_lengths[] = { 0 };
#else
static const size_t long_lengths[] = { SIZE_MAX, SIZE_MAX - PAGE };
#endif
static const off_t odd_offsets[] = { 512, -(off_t)PAGE, INT64_MAX & ~(off_t)(PAGE - 1) };

#define SHORT (8 * PAGE)

#define pick(seed, array) ((array)[random_below((seed), sizeof(array) / sizeof((array)[0]))])

/* Mostly whole pages of the region; now and then not so, or nothing. */
void draw_range(struct op *o, uint64_t *s)
{
        uint64_t first = random_below(s, REGION), most = REGION - first;
        uint64_t nr = 1 + random_below(s, random_below(s, 4) ? (most < 6 ? most : 6) : most);

        o->at = first * PAGE;
        o->len = nr * PAGE;
        if (random_below(s, 8) == 0)
                o->len -= random_below(s, PAGE);
        if (random_below(s, 24) == 0)
                o->at += 1 + random_below(s, PAGE - 1);
        if (random_below(s, 40) == 0)
                o->len = 0;
        if (random_below(s, 80) == 0)
                o->len = pick(s, long_lengths);
}

void draw_map(struct op *o, uint64_t *s)
{
        static const int fixed[] = { MAP_FIXED, MAP_FIXED, MAP_FIXED, MAP_FIXED_NOREPLACE, 0 };
        static const int fillings[] = {
                0, 0, 0, 0, 0, 0, MAP_POPULATE, MAP_POPULATE | MAP_NONBLOCK, MAP_LOCKED
        };

        draw_range(o, s);
        o->arg = pick(s, prots);
        o->flags = random_below(s, 50) ? pick(s, types) : pick(s, odd_types);
        o->flags |= pick(s, fixed);
        if ((o->flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
                o->flags &= ~MAP_FIXED_NOREPLACE; /* not among those that the kernel validates */
        o->flags |= random_below(s, 8) ? 0 : MAP_NORESERVE;
        o->flags |= pick(s, fillings);
        o->offset =
                (off_t)(random_below(s, random_below(s, 2) ? FILE_PAGES : FILE_PAGES / 4) * PAGE);
        if (random_below(s, 40) == 0)
                o->offset = pick(s, odd_offsets);
        if (random_below(s, 3) == 0) {
                o->flags |= MAP_ANONYMOUS;
                if ((o->flags & MAP_TYPE) != MAP_PRIVATE && o->len > SHORT && o->len < SIZE_MAX / 2)
                        o->len -=
                                (o->len - 1) / SHORT * SHORT; /* of shared memory there is little */
        }
}

void draw_protect(struct op *o, uint64_t *s)
{
        draw_range(o, s);
        o->arg = random_below(s, 30) ? pick(s, prots) : pick(s, odd_prots);
}

/* Some pages, as far as they are one mapping, become fewer or more, or go somewhere in the region. */
void draw_remap(struct op *o, uint64_t *s)
{
        static const int flags[] = { MREMAP_MAYMOVE | MREMAP_FIXED,
                                     MREMAP_MAYMOVE | MREMAP_FIXED,
                                     MREMAP_MAYMOVE | MREMAP_FIXED,
                                     MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
                                     MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
                                     MREMAP_MAYMOVE,
                                     MREMAP_MAYMOVE,
                                     0,
                                     0,
                                     MREMAP_FIXED,
                                     64 };
        uint64_t nr = random_below(s, 20) ? 1 + random_below(s, 6) : 0;

        draw_range(o, s);
        o->len = nr * PAGE;
        o->arg = (int)(random_below(s, 2) ? nr : random_below(s, 8));
        o->flags = pick(s, flags);
        o->offset = (off_t)(random_below(s, REGION - 7) * PAGE);
}

void draw_shared_remap(struct op *o, uint64_t *s)
{
        draw_remap(o, s);
        o->len = (1 + random_below(s, 6)) * PAGE;
        o->flags = MREMAP_MAYMOVE | MREMAP_FIXED;
}

/* Half of them when they are touched. */
void draw_lock(struct op *o, uint64_t *s)
{
        draw_range(o, s);
        o->arg = random_below(s, 2) ? MLOCK_ONFAULT : 0;
}

/* Some more often than others, so that neighbours come to be alike. */
void draw_rules(struct op *o, uint64_t *s)
{
        draw_range(o, s);
        o->arg = (int)random_below(s, random_below(s, 2) ? 4 : 64);
}

void draw_memcntl(struct op *o, uint64_t *s)
{
        draw_range(o, s);
        o->arg = (int)random_below(s, 6);
}

void draw_touch(struct op *o, uint64_t *s)
{
        draw_range(o, s);
        o->arg = (int)random_below(s, 2);
}

void draw_sync(struct op *o, uint64_t *s)
{
        static const int flags[] = { MS_SYNC,
                                     MS_SYNC,
                                     MS_SYNC,
                                     MS_ASYNC,
                                     0,
                                     MS_SYNC | MS_INVALIDATE,
                                     MS_ASYNC | MS_INVALIDATE,
                                     MS_INVALIDATE,
                                     MS_SYNC | MS_ASYNC,
                                     64 };

        draw_range(o, s);
        o->arg = pick(s, flags);
}

/* Pages of the ballast. */
void draw_press(struct op *o, uint64_t *s)
{
        uint64_t first = random_below(s, BALLAST);

        o->at = first * PAGE;
        o->len = (1 + random_below(s, BALLAST - first)) * PAGE;
        o->arg = (int)random_below(s, 2);
}

/* Of few pages, so that it is within a mapping; which way, and where the store goes. */
void draw_split(struct op *o, uint64_t *s)
{
        draw_range(o, s);
        o->at = o->at / PAGE * PAGE;
        o->len = (1 + random_below(s, 3)) * PAGE;
        if (o->at + o->len > REGION * PAGE)
                o->len = PAGE;
        o->arg = (int)random_below(s, 256);
        o->flags = (int)random_below(s, 16);
        o->offset = (off_t)random_below(s, 3);
}

/* Over much of the region; mostly at the first byte of each page. */
void draw_walk(struct op *o, uint64_t *s)
{
        uint64_t first = random_below(s, REGION), most = REGION - first;

        o->at = first * PAGE;
        o->len = (1 + random_below(s, most)) * PAGE;
        if (random_below(s, 4) == 0)
                o->at += random_below(s, PAGE);
        if (o->at % PAGE)
                o->len -= o->at % PAGE;
        o->arg = (int)random_below(s, 256);
        o->flags = (int)random_below(s, 4);
}

void draw_advise(struct op *o, uint64_t *s)
{
        draw_range(o, s);
        o->arg = random_below(s, 4) ? pick(s, advices) : pick(s, cold_advices);
}

void draw_any_advice(struct op *o, uint64_t *s)
{
        draw_range(o, s);
        o->arg = random_below(s, 2) ? pick(s, advices) : pick(s, more_advices);
}

void draw_access(struct op *o, uint64_t *s)
{
        o->at = random_below(s, REGION * PAGE);
        o->arg = (int)random_below(s, 256);
}

void draw_io(struct op *o, uint64_t *s)
{
        o->offset = (off_t)random_below(s, (FILE_PAGES - 4) * PAGE);
        if (random_below(s, 2))
                o->offset &= ~(off_t)(PAGE - 1);
        if (random_below(s, 50) == 0)
                o->offset = random_below(s, 2) ? -o->offset : INT64_MAX;
        o->len = random_below(s, 2) ? PAGE : random_below(s, BUF + 1);
        o->arg = (int)random_below(s, 256);
}

/* With the buffer in the region. */
void draw_io_at(struct op *o, uint64_t *s)
{
        draw_io(o, s);
        o->at = random_below(s, REGION * PAGE - BUF);
}

/* Of a file; often such that it ends where much is mapped. */
void draw_length(struct op *o, uint64_t *s)
{
        draw_io(o, s);
        if (random_below(s, 3) == 0)
                o->offset = (off_t)(random_below(s, FILE_PAGES / 4) * PAGE +
                                    (random_below(s, 2) ? random_below(s, PAGE) : 0));
        if (o->offset == INT64_MAX) /* what is too long depends on the file system */
                o->offset = 0;
}

void draw_budget(struct op *o, uint64_t *s)
{
        static const unsigned pages[] = { SMALLEST, CACHE, CACHE + 128 };

        o->len = pick(s, pages) * PAGE;
}

/* Half of it in the first pages, so that the threads meet. */
static uint64_t draw_shared_page(uint64_t *s)
{
        return random_below(s, random_below(s, 2) ? 32 : SHARED_PAGES);
}

void draw_shared_map(struct op *o, uint64_t *s)
{
        draw_map(o, s);
        o->flags &= ~(MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE);
        if (o->offset >= 0 && o->offset < (off_t)(FILE_PAGES * PAGE))
                o->offset = (off_t)(draw_shared_page(s) * PAGE) + o->offset % (off_t)PAGE;
}

void draw_shared_io(struct op *o, uint64_t *s)
{
        o->offset = (off_t)(draw_shared_page(s) * PAGE + random_below(s, SLOTS) * 8);
        o->len = (1 + random_below(s, BUF / 8)) * 8;
        o->arg = (int)random_below(s, 4096);
}

static const struct op_kind *draw_kind(enum mode mode, uint64_t *s)
{
        unsigned total = 0, k = 0;
        uint64_t n;

        for (unsigned i = 0; i < nr_op_kinds; i++)
                total += op_kinds[i].weight[mode];
        for (n = random_below(s, total); n >= op_kinds[k].weight[mode]; k++)
                n -= op_kinds[k].weight[mode];
        return &op_kinds[k];
}

void draw_op(struct op *o, enum mode mode, uint64_t *s)
{
        *o = (struct op){ .kind = draw_kind(mode, s) };
        o->handle = (unsigned)random_below(s, HANDLES);
        o->kind->draw(o, s);
}

/* --- in words --- */

static const char *at_text(const struct op *o, char *text, size_t size)
{
        int n = snprintf(text, size, "page %zu", o->at / PAGE);

        if (o->at % PAGE)
                snprintf(text + n, size - (size_t)n, " + %zu", o->at % PAGE);
        return text;
}

void text_map(const struct op *o, char *text, size_t size)
{
        char at[48];

        snprintf(text, size, "(%s, %#zx, prot %d, flags %#x, handle %u, offset page %lld + %lld)",
                 at_text(o, at, sizeof(at)), o->len, o->arg, (unsigned)o->flags, o->handle,
                 (long long)o->offset / (int)PAGE, (long long)o->offset % (int)PAGE);
}

void text_range(const struct op *o, char *text, size_t size)
{
        char at[48];

        snprintf(text, size, "(%s, %#zx, %#x)", at_text(o, at, sizeof(at)), o->len,
                 (unsigned)o->arg);
}

void text_access(const struct op *o, char *text, size_t size)
{
        char at[48];

        snprintf(text, size, " at %s", at_text(o, at, sizeof(at)));
}

void text_remap(const struct op *o, char *text, size_t size)
{
        char at[48];

        snprintf(text, size, "(%s, %#zx at most, to %d pages, flags %#x, page %lld)",
                 at_text(o, at, sizeof(at)), o->len, o->arg, (unsigned)o->flags,
                 (long long)o->offset / (int)PAGE);
}

void text_walk(const struct op *o, char *text, size_t size)
{
        char at[48];

        snprintf(text, size, "(%s, %#zx, %#x, %#x, %lld)", at_text(o, at, sizeof(at)), o->len,
                 (unsigned)o->arg, (unsigned)o->flags, (long long)o->offset);
}

void text_io(const struct op *o, char *text, size_t size)
{
        snprintf(text, size, "(handle %u, %#zx at page %lld + %lld, %s)", o->handle, o->len,
                 (long long)o->offset / (int)PAGE, (long long)o->offset % (int)PAGE,
                 o->arg % 2 ? "odd" : "even");
}

void text_io_at(const struct op *o, char *text, size_t size)
{
        char at[48];
        int n;

        text_io(o, text, size);
        n = (int)strlen(text);
        snprintf(text + n, size - (size_t)n, " at %s", at_text(o, at, sizeof(at)));
}

void text_handle(const struct op *o, char *text, size_t size)
{
        snprintf(text, size, "(handle %u)", o->handle);
}

const char *op_text(const struct op *o)
{
        static _Thread_local char text[200];
        int n = snprintf(text, sizeof(text), "%s", o->kind->name);

        o->kind->text(o, text + n, sizeof(text) - (size_t)n);
        return text;
}
