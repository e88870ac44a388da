/* SPDX-License-Identifier: Apache-2.0
 *
 * shadow.c - see shadow.h. Everything runs under the lock of the mmu.
 */
#include "mmu/shadow.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#define USUAL_MAPS 65530u

static uint64_t map_limit(void)
{
        FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
        unsigned long long n = USUAL_MAPS;

        if (f && fscanf(f, "%llu", &n) != 1)
                n = USUAL_MAPS;
        if (f)
                fclose(f);
        return n / 4 * 3; /* the rest is the program's */
}

void shadow_init(struct shadow *s, struct table_pool *tables, uint64_t limit)
{
        range_tree_init(&s->ranges);
        radix_init(&s->bytes, tables, 0);
        s->limit = limit ? limit : map_limit();
}

void shadow_destroy(struct shadow *s)
{
        range_tree_destroy(&s->ranges);
        radix_destroy(&s->bytes);
}

uint8_t shadow_byte(struct shadow *s, uint64_t addr)
{
        uint8_t *p = radix_get(&s->bytes, addr >> PAGE_SHIFT, false), byte = 0;

        if (p) {
                byte = *p;
                radix_put(&s->bytes, p);
        }
        return byte;
}

/* 0 nothing, 1 to be read, 2 to be stored to */
static int level_of(uint8_t byte)
{
        if (!(byte & SHOWN) || (byte & HIDDEN))
                return 0;
        return byte & WRITABLE ? 2 : 1;
}

static int prot_of(const struct range *r, uint8_t byte)
{
        switch (level_of(byte)) {
        case 0:
                return PROT_NONE;
        case 1: /* where stores are allowed loads are too */
                return (r->prot & ~PROT_WRITE) | (r->prot & PROT_WRITE ? PROT_READ : 0);
        default:
                return r->prot;
        }
}

/* A stretch of pages of one range and one leaf. */
struct chunk {
        const struct range *r;
        uint64_t addr;
        unsigned nr;
        uint8_t *old; /* in the leaf, pinned */
        uint8_t new[1u << PAGE_SHIFT];
        bool forced; /* the kernel is told also what it should know */
};

/* p is the byte of the page at addr. inside: so are its neighbours, in the same leaf. */
static void set_byte(struct shadow *s, uint64_t addr, uint8_t *p, uint8_t new, bool inside)
{
        uint8_t old = *p;
        int was = level_of(old), is = level_of(new);

        if (was != is) {
                int left = level_of(inside ? p[-1] : shadow_byte(s, addr - PAGE_SIZE));
                int right = level_of(inside ? p[1] : shadow_byte(s, addr + PAGE_SIZE));

                s->borders += (left != is) + (right != is) - (left != was) - (right != was);
        }
        *p = new;
        if (!old && new)
                radix_use(&s->bytes, p);
        else if (old && !new)
                radix_unuse(&s->bytes, p);
}

static void set_page(struct shadow *s, struct chunk *c, unsigned i)
{
        set_byte(s, c->addr + ((uint64_t)i << PAGE_SHIFT), &c->old[i], c->new[i],
                 i > 0 && i + 1 < c->nr);
}

/* One system call for neighbours that end up alike. */
static int apply(struct shadow *s, struct chunk *c)
{
        unsigned i = 0;

        while (i < c->nr) {
                int prot = prot_of(c->r, c->new[i]);
                unsigned first = UINT32_MAX, last = 0, end = i;

                for (; end < c->nr && prot_of(c->r, c->new[end]) == prot; end++) {
                        if (prot_of(c->r, c->old[end]) == prot && !c->forced)
                                continue;
                        first = first == UINT32_MAX ? end : first;
                        last = end;
                }
                if (first != UINT32_MAX &&
                    mprotect((void *)(uintptr_t)(c->addr + ((uint64_t)first << PAGE_SHIFT)),
                             (uint64_t)(last - first + 1) << PAGE_SHIFT, prot))
                        return -errno;
                for (; i < end; i++)
                        set_page(s, c, i);
        }
        return 0;
}

/* The bytes of [addr, end), which begin in one range, as far as one leaf has them. NULL: none, or
 * (fresh) no memory; then *next is where to go on. */
static uint8_t *bytes_at(struct shadow *s, uint64_t addr, uint64_t end, bool fresh, uint64_t *next)
{
        uint64_t index = addr >> PAGE_SHIFT;
        uint8_t *p = radix_get(&s->bytes, index, fresh);

        *next = min_u64(end, radix_leaf_end(&s->bytes, index) << PAGE_SHIFT);
        if (!p && !fresh) {
                uint8_t *there = radix_next(&s->bytes, &index, (end - 1) >> PAGE_SHIFT, false);

                *next = there ? max_u64(index << PAGE_SHIFT, addr) : end;
                if (there)
                        radix_put(&s->bytes, there);
        }
        return p;
}

/* What change() does to the pages. */
struct job {
        shadow_want *want;
        void *arg;
        bool fresh, forced, unmapped;
};

static int change_range(struct shadow *s, const struct range *r, uint64_t addr, uint64_t end,
                        const struct job *job)
{
        while (addr < end) {
                struct chunk c = { .r = r, .addr = addr, .forced = job->forced };
                uint64_t next;
                int error = 0;

                c.old = bytes_at(s, addr, end, job->fresh, &next);
                if (!c.old && job->fresh)
                        return -ENOMEM;
                if (c.old) {
                        c.nr = (unsigned)((next - addr) >> PAGE_SHIFT);
                        for (unsigned i = 0; i < c.nr; i++)
                                c.new[i] = job->want(c.old[i], r, job->arg);
                        if (job->unmapped)
                                for (unsigned i = 0; i < c.nr; i++)
                                        set_page(s, &c, i);
                        else
                                error = apply(s, &c);
                        radix_put(&s->bytes, c.old);
                }
                if (error)
                        return error;
                addr = next;
        }
        return 0;
}

static int change(struct shadow *s, uint64_t addr, uint64_t end, const struct job *job)
{
        while (addr < end) {
                struct range *r = range_find(&s->ranges, addr);
                int error;

                if (!r || r->start > addr)
                        return -ENOENT;
                error = change_range(s, r, addr, min_u64(end, r->end), job);
                if (error)
                        return error;
                addr = r->end;
        }
        return 0;
}

/* mprotect(2) says ENOMEM for too many VMAs and for none. */
static bool is_mapped(uint64_t addr, uint64_t end)
{
        for (uint64_t next; addr < end; addr = next) {
                unsigned char vec[512];

                next = min_u64(end, addr + (sizeof(vec) << PAGE_SHIFT));
                if (mincore((void *)(uintptr_t)addr, next - addr, vec))
                        return false;
        }
        return true;
}

/* Once more after the clock has gone round, if it was for want of VMAs. */
static int change_hard(struct shadow *s, uint64_t addr, uint64_t end, const struct job *job)
{
        int error = change(s, addr, end, job);

        if (error != -ENOMEM)
                return error;
        if (end - addr <= 1ul << 30 && !is_mapped(addr, end))
                return -ENOENT;
        shadow_hide_cold(s, true);
        return change(s, addr, end, job);
}

int shadow_change(struct shadow *s, uint64_t addr, uint64_t end, bool fresh, shadow_want *want,
                  void *arg)
{
        struct job job = { .want = want, .arg = arg, .fresh = fresh };

        shadow_hide_cold(s, false);
        return change_hard(s, addr, end, &job);
}

static uint8_t want_hidden(uint8_t old, const struct range *r, void *arg)
{
        (void)r, (void)arg;
        return old & SHOWN ? old | HIDDEN : old;
}

/* All that the ranges show is hidden, each by one call that needs no VMA more. */
static void hide_ranges(struct shadow *s, uint64_t addr, uint64_t end)
{
        struct job hide = { .want = want_hidden, .unmapped = true };

        for (struct range *r = range_find(&s->ranges, addr); r && r->start < end; r = range_next(r))
                if (!mprotect((void *)(uintptr_t)r->start, r->end - r->start, PROT_NONE))
                        change_range(s, r, r->start, r->end, &hide);
}

int shadow_restrict(struct shadow *s, uint64_t addr, uint64_t end, shadow_want *want)
{
        struct job job = { .want = want };
        int error = change_hard(s, addr, end, &job);

        if (error != -ENOMEM)
                return error;
        hide_ranges(s, addr, end);
        return change(s, addr, end, &job);
}

static uint8_t want_nothing(uint8_t old, const struct range *r, void *arg)
{
        (void)old, (void)r, (void)arg;
        return 0;
}

void shadow_forget(struct shadow *s, uint64_t addr, uint64_t end)
{
        struct job job = { .want = want_nothing, .unmapped = true };

        change_range(s, NULL, addr, end, &job);
}

static int copy_byte(struct shadow *s, uint64_t addr, uint8_t byte)
{
        uint8_t *p = radix_get(&s->bytes, addr >> PAGE_SHIFT, true);

        if (!p)
                return -ENOMEM;
        set_byte(s, addr, p, byte, false);
        radix_put(&s->bytes, p);
        return 0;
}

int shadow_copy(struct shadow *s, uint64_t from, uint64_t to, uint64_t len)
{
        uint64_t index = from >> PAGE_SHIFT, end = (from + len) >> PAGE_SHIFT, stop;
        int error = 0;
        uint8_t *p;

        while (!error && (p = radix_next_part(&s->bytes, &index, end, &stop))) {
                uint8_t *leaf = p;

                for (; !error && index < stop; index++, p++)
                        if (*p)
                                error = copy_byte(s, to + (index << PAGE_SHIFT) - from, *p);
                radix_put(&s->bytes, leaf);
        }
        if (error)
                shadow_forget(s, to, to + len);
        return error;
}

int shadow_hide(struct shadow *s, uint64_t addr, uint64_t end)
{
        for (int tries = 0; mprotect((void *)(uintptr_t)addr, end - addr, PROT_NONE); tries++) {
                if (errno != ENOMEM || tries)
                        return -errno;
                shadow_hide_cold(s, true);
        }
        return 0;
}

static uint8_t want_same(uint8_t old, const struct range *r, void *arg)
{
        (void)r, (void)arg;
        return old;
}

int shadow_refresh(struct shadow *s, uint64_t addr, uint64_t end)
{
        struct job job = { .want = want_same, .forced = true };
        int error = change_hard(s, addr, end, &job);

        if (error != -ENOMEM)
                return error;
        hide_ranges(s, addr, end);
        return change(s, addr, end, &job);
}

/* --- the clock ---------------------------------------------------------------------------- */

static uint8_t want_cold_hidden(uint8_t old, const struct range *r, void *arg)
{
        (void)r, (void)arg;
        if (!(old & SHOWN) || (old & HIDDEN))
                return old;
        return old & TOUCHED ? old & ~TOUCHED : old | HIDDEN;
}

/* Only borders can be fewer. Where ranges alone are as many as there should be, the clock would go round
 * at every turn and change nothing: a few are allowed in any case, and then it is the kernel that says
 * when it is too much. */
static uint64_t most_borders(const struct shadow *s)
{
        uint64_t few = s->limit / 16;

        return s->limit > s->nr_ranges + few ? s->limit - s->nr_ranges : few;
}

static uint64_t borders(const struct shadow *s)
{
        return s->borders > 0 ? (uint64_t)s->borders : 0;
}

/* The hand goes over one leaf. False: it has come to the end. */
static bool tick(struct shadow *s)
{
        struct job job = { .want = want_cold_hidden };
        uint64_t index = s->hand, addr, end;
        uint8_t *p = radix_next(&s->bytes, &index, UINT64_MAX, false);

        if (!p)
                return false;
        radix_put(&s->bytes, p);
        s->hand = radix_leaf_end(&s->bytes, index);
        addr = index << PAGE_SHIFT;
        end = s->hand << PAGE_SHIFT;
        for (struct range *r = range_find(&s->ranges, addr); r && r->start < end;
             r = range_next(r)) /* what cannot be hidden stays */
                change_range(s, r, max_u64(addr, r->start), min_u64(end, r->end), &job);
        return true;
}

void shadow_hide_cold(struct shadow *s, bool at_once)
{
        uint64_t now = borders(s), goal = most_borders(s) / 8 * 7;

        if (now < most_borders(s) && !at_once)
                return;
        goal = at_once ? min_u64(goal, now / 2) : goal;
        /* Round once to see what is touched, and once more to hide what was. */
        for (int rounds = 0; rounds < 3 && borders(s) > goal;) {
                if (tick(s))
                        continue;
                s->hand = 0;
                rounds++;
        }
}
