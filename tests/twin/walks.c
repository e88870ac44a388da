/* SPDX-License-Identifier: Apache-2.0
 *
 * walks.c - what single accesses reach too seldom: loads and stores page after page, over all seams;
 * a mapping that goes on where its neighbour ends; and one that is split, stored to in between, and
 * joined again, where the kernel may not join its own.
 */
#include <errno.h>
#include <sys/mman.h>

#include "twin.h"

/* Page by page, up or down, at the same place in each; up to the first signal. */
long run_walk(struct place *w, const struct op *o, struct outcome *out)
{
        struct span s = pages_of(o);
        bool down = o->flags & WALK_DOWN;
        unsigned nr = s.end - s.first, done = 0;

        for (; done < nr; done++) {
                unsigned i = down ? s.end - 1 - done : s.first + done;
                char *p = w->base + i * PAGE + o->at % PAGE;

                out->caught = o->flags & WALK_STORES ? try_store(p, (unsigned char)(o->arg + done))
                                                     : try_load(p, NULL);
                if (out->caught.signo) {
                        out->at = (size_t)((char *)out->caught.addr - w->base);
                        break;
                }
        }
        out->bytes = w->base + (down ? s.end - done : s.first) * PAGE;
        out->len = done * PAGE;
        return (long)done;
}

/* --- a mapping that goes on --- */

static struct op extension_of(const struct lane *l, const struct op *o)
{
        const struct mapped_page *p = &l->page[o->at / PAGE - 1];
        struct op e = *o;

        e.arg = p->prot;
        e.flags = MAP_FIXED | (p->shared ? MAP_SHARED : MAP_PRIVATE);
        if (p->anonymous)
                e.flags |= MAP_ANONYMOUS;
        e.handle = p->handle;
        e.offset = (off_t)((p->index + 1) * PAGE);
        return e;
}

bool ready_to_extend(struct lane *l, const struct op *o)
{
        const struct mapped_page *p;
        struct op e;

        if (o->at < PAGE || o->at % PAGE || o->len > REGION * PAGE)
                return false;
        p = &l->page[o->at / PAGE - 1];
        if (!p->mapped || p->prot < 0)
                return false;
        e = extension_of(l, o);
        return ready_to_map(l, &e);
}

long run_extend(struct place *w, const struct op *o, struct outcome *out)
{
        const struct op e = extension_of(w->lane, o);

        return run_mmap(w, &e, out);
}

void note_extend(struct lane *l, const struct op *o, long result)
{
        const struct op e = extension_of(l, o);

        note_mmap(l, &e, result);
}

/* --- split and joined --- */

enum { SPLIT_BY_PROT, SPLIT_BY_ADVICE, SPLIT_BY_LOCK, SPLIT_BY_FORK, SPLIT_WAYS };

/* All of it is one mapping, which can be as it was before. */
bool ready_to_split(struct lane *l, const struct op *o)
{
        struct span s = pages_of(o);
        const struct mapped_page *p = &l->page[s.first];

        if (o->at % PAGE || o->len == 0 || o->len > REGION * PAGE || !p->mapped ||
            run_at(l, s.first, s.end - s.first) < s.end - s.first)
                return false;
        if (p->prot < 0 || p->advice != MADV_NORMAL || p->fork || p->locked)
                return false;
        if (o->flags % SPLIT_WAYS == SPLIT_BY_LOCK && !may_lock(l, s.end - s.first))
                return false;
        for (unsigned i = s.first; i < s.end; i++) {
                struct op store = { .at = i * PAGE };

                if (!ready_to_store(l, &store))
                        return false;
        }
        return true;
}

static long split(struct place *w, const struct op *o, bool back)
{
        static const int advice[2] = { MADV_RANDOM, MADV_NORMAL };
        static const int fork[2] = { MADV_DONTFORK, MADV_DOFORK };
        struct op change = { .at = o->at, .len = o->len };
        struct outcome none;

        switch (o->flags % SPLIT_WAYS) {
        case SPLIT_BY_PROT:
                change.arg = back ? w->lane->page[o->at / PAGE].prot : o->arg % 8;
                return run_mprotect(w, &change, &none);
        case SPLIT_BY_LOCK:
                change.arg = MLOCK_ONFAULT;
                return back ? run_munlock(w, &change, &none) : run_mlock(w, &change, &none);
        default:
                change.arg = o->flags % SPLIT_WAYS == SPLIT_BY_FORK ? fork[back] : advice[back];
                return run_madvise(w, &change, &none);
        }
}

/* Of the mapping's pages one is stored to while it is a mapping of its own. */
long run_split(struct place *w, const struct op *o, struct outcome *out)
{
        struct span s = pages_of(o);
        size_t at = (s.first + (size_t)o->offset % (s.end - s.first)) * PAGE;
        long there = split(w, o, false), back;
        int error = errno;

        out->caught = try_store(w->base + at, (unsigned char)o->arg);
        if (out->caught.signo)
                out->at = (size_t)((char *)out->caught.addr - w->base);
        back = split(w, o, true);
        if (there)
                errno = error;
        return there ? there : back;
}
