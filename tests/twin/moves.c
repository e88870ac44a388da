/* SPDX-License-Identifier: Apache-2.0
 *
 * moves.c - mremap on either side. Neighbours that are alike are one mapping of an engine's; the
 * kernel does not always join them (private ones with pages of their own are not), and says EFAULT to
 * what goes over their seam. So on its side such a range moves page by page: what comes of it is the
 * same.
 */
#include <errno.h>

#include "../mman.h"
#include "twin.h"

/* As far as one mapping goes. */
struct op remap_of(const struct lane *l, const struct op *o)
{
        struct op r = *o;

        if (r.at % PAGE == 0 && r.len > PAGE)
                r.len = run_at(l, (unsigned)(r.at / PAGE), (unsigned)(r.len / PAGE)) * PAGE;
        if ((r.flags & MREMAP_DONTUNMAP) && r.len)
                r.arg = (int)(r.len / PAGE);
        return r;
}

static bool is_valid(const struct op *r)
{
        size_t to = (size_t)r->offset, len = (size_t)r->arg * PAGE;

        if (r->at % PAGE || !r->arg ||
            (r->flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)))
                return false;
        if (!(r->flags & MREMAP_MAYMOVE) && r->flags)
                return false;
        return !(r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) || r->at >= to + len ||
               to >= r->at + r->len;
}

/* Not out of the region; nor what is locked beyond what may be; nor, leaving it mapped, what is locked
 * at all: the kernel unlocks all of its mapping. And one MMU moves no private pages. */
bool ready_to_remap(struct lane *l, const struct op *o)
{
        const struct op r = remap_of(l, o);
        const struct mapped_page *p = &l->page[r.at / PAGE];
        unsigned new = (unsigned)r.arg, old = (unsigned)(r.len / PAGE);

        if (!is_valid(&r))
                return true;
        if (r.at / PAGE + new > REGION || (size_t)r.offset / PAGE + new > REGION)
                return false;
        if (p->mapped && p->locked &&
            ((r.flags & MREMAP_DONTUNMAP) || (new > old && !may_lock(l, new - old))))
                return false;
        return !(p->mapped && !p->shared && (r.flags & MREMAP_MAYMOVE) && has_mmu(l, "sigsegv"));
}

/* --- the engine's --- */

/* Where the system likes is no place to stay: from there to where the call would have it. */
static char *move_back(struct place *w, char *q, const struct op *r)
{
        struct fl_engine *e = w->side->engine;
        size_t len = (size_t)r->arg * PAGE;

        if (q == MAP_FAILED || (q >= w->base && q < w->base + REGION * PAGE))
                return q;
        return e ? fl_mremap(e, q, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, w->base + r->offset)
                 : mremap(q, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, w->base + r->offset);
}

/* --- the kernel's, page by page --- */

static bool move_each(char *from, char *to, size_t len, int flags)
{
        for (size_t at = 0; at < len; at += PAGE)
                if (mremap(from + at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to + at) ==
                    MAP_FAILED)
                        return false;
        return true;
}

/* The last page of [p, p+old) becomes as many as are lacking. */
static bool grow_last(char *p, size_t old, size_t new)
{
        return new <= old || mremap(p + old - PAGE, PAGE, new - old + PAGE, 0) != MAP_FAILED;
}

/* By way of a place that nobody has. */
static bool move_around(char *from, char *to, size_t old, size_t new, int flags)
{
        char *aside = mmap(NULL, old, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        return aside != MAP_FAILED && move_each(from, aside, old, flags & MREMAP_DONTUNMAP) &&
               munmap(to, new) == 0 && move_each(aside, to, old, 0) && grow_last(to, old, new);
}

static char *move_pages(struct place *w, const struct op *r)
{
        char *from = w->base + r->at, *to = w->base + r->offset;
        size_t old = r->len, new = (size_t)r->arg *PAGE;
        int keep = r->flags & MREMAP_DONTUNMAP;

        if (new < old) {
                munmap(from + new, old - new);
                old = new;
        }
        if (r->flags & MREMAP_FIXED)
                return munmap(to, new) == 0 && move_each(from, to, old, keep) &&
                                       grow_last(to, old, new)
                               ? to
                               : MAP_FAILED;
        if (!keep && grow_last(from, old, new))
                return from;
        if (!(r->flags & MREMAP_MAYMOVE))
                return MAP_FAILED;
        return move_around(from, to, old, new, keep) ? to : MAP_FAILED;
}

static long move_range(struct place *w, const struct op *r)
{
        struct fl_engine *e = w->side->engine;
        char *p = w->base + r->at, *to = w->base + r->offset, *q;
        size_t len = (size_t)r->arg * PAGE;

        if (e)
                q = move_back(w, fl_mremap(e, p, r->len, len, r->flags, to), r);
        else if (is_valid(r) && r->len > PAGE)
                q = move_pages(w, r);
        else
                q = move_back(w, mremap(p, r->len, len, r->flags, to), r);
        return q == MAP_FAILED ? -1 : q - w->base;
}

/* arg: pages; offset: where to. */
long run_mremap(struct place *w, const struct op *o, struct outcome *out)
{
        const struct op r = remap_of(w->lane, o);

        (void)out;
        return move_range(w, &r);
}

/* As many as there are, to a place in the region. */
struct op whole_of(const struct lane *l, const struct op *o)
{
        struct op r = remap_of(l, o);

        r.arg = (int)(r.len / PAGE);
        r.flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        return r;
}

long run_as_whole(struct place *w, const struct op *o, struct outcome *out)
{
        const struct op r = whole_of(w->lane, o);

        (void)out;
        return move_range(w, &r);
}

/* --- its second half goes away and comes back, stored to there; then all of it goes --- */

bool ready_to_rejoin(struct lane *l, const struct op *o)
{
        const struct op r = whole_of(l, o);
        unsigned half = (unsigned)(r.at / PAGE) + (unsigned)r.arg / 2;
        struct op store = { .at = half * PAGE };

        return r.arg > 1 && is_valid(&r) && l->page[r.at / PAGE].mapped && ready_to_remap(l, &r) &&
               ready_to_store(l, &store);
}

long run_rejoin(struct place *w, const struct op *o, struct outcome *out)
{
        const struct op all = whole_of(w->lane, o);
        struct op away = all, back = all;

        away.len = (size_t)(all.arg - all.arg / 2) * PAGE;
        away.arg = back.arg = (int)(away.len / PAGE);
        away.at = all.at + all.len - away.len;
        back.at = (size_t)all.offset;
        back.len = away.len;
        back.offset = (off_t)away.at;
        if (move_range(w, &away) < 0)
                return -1;
        out->caught = try_store(w->base + back.at, (unsigned char)away.len);
        if (out->caught.signo)
                out->at = (size_t)((char *)out->caught.addr - w->base);
        return move_range(w, &back) < 0 ? -1 : move_range(w, &all);
}

void note_rejoin(struct lane *l, const struct op *o, long result)
{
        const struct op r = whole_of(l, o);

        note_mremap(l, &r, result);
}
