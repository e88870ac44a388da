/* SPDX-License-Identifier: Apache-2.0
 *
 * rules.c - calls that the kernel does not have: they change no byte, and none of their errors comes
 * of anything but what is mapped there. What stands in for them on the kernel's side is a call that
 * says the same of that.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "twin.h"

/* Where there is nothing, or inside a page: as these calls of ours. */
static long look(struct place *w, const struct op *o)
{
        unsigned char vec[REGION + 1];

        return mincore(w->base + o->at, o->len, vec);
}

/* --- fl_mapping_set --- */

/* Neighbours have the same now and then. Number 0 is none. */
static struct fl_mapping_config config_of(int rules)
{
        static const char *const on_error[] = { NULL, "sigbus", "zero", "retry" };
        struct fl_mapping_config c = { .size = sizeof(c) };

        c.on_error = on_error[rules % 4];
        c.retry_then = rules & 8 ? "zero" : NULL;
        c.retry_time = 1000000;
        c.readahead = rules & 4 ? 4 * PAGE : 0;
        c.share = rules & 16 ? 4 * PAGE : 0;
        if (rules & 32)
                c.policy = test.policy ? test.policy : "adaptive";
        return c;
}

/* A share is a file's, and there must be room for it beside all private pages. */
bool ready_to_rule(struct lane *l, const struct op *o)
{
        struct span s = pages_of(o);

        if (!(o->arg & 16))
                return true;
        for (unsigned i = s.first; i < s.end; i++)
                if (l->page[i].mapped && l->page[i].anonymous)
                        return false;
        return !l->threads && !l->place[OURS].side->ballast &&
               get_stats(l->place[OURS].side->engine).budget_bytes >= CACHE * PAGE;
}

long run_mapping_set(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_mapping_config c = config_of(o->arg);
        struct fl_engine *e = w->side->engine;

        (void)out;
        return e ? fl_mapping_set(e, w->base + o->at, o->len, o->arg ? &c : NULL) : look(w, o);
}

/* --- fl_mapping_info: of what is known --- */

long run_mapping_info(struct place *w, const struct op *o, struct outcome *out)
{
        const struct mapped_page *p = &w->lane->page[o->at / PAGE];
        struct fl_mapping_info info = { .size = sizeof(info) };
        struct fl_engine *e = w->side->engine;
        char *at = w->base + o->at;

        (void)out;
        if (!e || fl_mapping_info(e, at, &info)) {
                errno = ENOMEM;
                return e ? -1 : p->mapped ? 0 : -1;
        }
        expect((char *)info.addr <= at && at < (char *)info.addr + info.len, "%p + %#zx, not at %p",
               info.addr, info.len, (void *)at);
        expect(p->prot < 0 || info.prot == p->prot, "protection %d, not %d", info.prot, p->prot);
        expect(info.flags == (p->shared ? MAP_SHARED : MAP_PRIVATE), "flags %#x",
               (unsigned)info.flags);
        expect(p->anonymous || info.offset / (off_t)PAGE + (at - (char *)info.addr) / (off_t)PAGE ==
                                       (off_t)p->index,
               "offset %lld of %p", (long long)info.offset, info.addr);
        return 0;
}

/* --- fl_error, fl_error_clear: nothing has gone wrong --- */

long run_error(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_error_info info = { .size = sizeof(info) };
        struct fl_engine *e = w->side->engine;
        long r = e ? fl_error(e, w->base + o->at, o->len, &info) : look(w, o);

        (void)out;
        expect(r <= 0, "fl_error: %s at %p, offset %lld", strerror(info.error), info.addr,
               (long long)info.offset);
        return r;
}

long run_error_clear(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;

        (void)out;
        return e ? fl_error_clear(e, w->base + o->at, o->len) : look(w, o);
}

/* --- fl_memcntl: pages are written, read and destroyed --- */

long run_memcntl(struct place *w, const struct op *o, struct outcome *out)
{
        static const struct {
                int cmd;
                uintptr_t arg;
        } how[] = {
                { FL_MC_SYNC, MS_SYNC },
                { FL_MC_SYNC, MS_ASYNC },
                { FL_MC_SYNC, MS_SYNC | MS_INVALIDATE },
                { FL_MC_SYNC, MS_ASYNC | MS_INVALIDATE },
                { FL_MC_ADVISE, MADV_WILLNEED },
                { FL_MC_ADVISE, MADV_DONTNEED },
        };
        struct fl_engine *e = w->side->engine;

        (void)out;
        /* Up to the first hole, or to what is locked; a length that wraps, or inside a page. */
        if (e &&
            fl_memcntl(e, w->base + o->at, o->len, how[o->arg].cmd, (void *)how[o->arg].arg, 0, 0))
                expect(errno == ENOMEM || errno == EBUSY || errno == EINVAL, "fl_memcntl: %s",
                       fl_strerror());
        errno = 0;
        return 0;
}

/* --- fl_evict, fl_touch_range --- */

/* What is not mapped is passed by. */
long run_evict(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        long r;

        (void)out;
        if (!e) {
                r = o->at % PAGE || o->len > REGION * PAGE ? -1 : 0;
                errno = EINVAL;
                return r;
        }
        r = fl_evict(e, w->base + o->at, o->len);
        /* A private copy goes to swap, and the page it was made from goes too. */
        expect(r < 0 || (r % (long)PAGE == 0 && (size_t)r <= 2 * (o->len + PAGE)),
               "%ld bytes dropped", r);
        return r < 0 ? -1 : 0;
}

/* Alone: with the byte that is there. */
static struct caught touch(char *p, bool store)
{
        unsigned char byte;
        struct caught c = try_load(p, &byte);

        return c.signo || !store ? c : try_store(p, byte);
}

/* arg: to store. As the accesses themselves would fare. */
long run_touch(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        struct span s = pages_of(o);

        (void)out;
        if (e)
                return fl_touch_range(e, w->base + o->at, o->len, o->arg);
        for (unsigned i = s.first; o->len && i < s.end; i++) {
                bool refused = o->arg && !(w->lane->page[i].prot & PROT_WRITE);
                struct caught c = touch(w->base + i * PAGE, o->arg);

                if (c.signo) {
                        errno = c.signo == SIGBUS && !refused ? ENXIO : EFAULT;
                        return -1;
                }
        }
        return 0;
}

/* --- swapping: the kernel's side has all the memory it wants --- */

/* Refused, it would not fit: there is no swap area. */
void map_ballast(struct side *s)
{
        void *p = fl_mmap(s->engine, NULL, BALLAST * PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);

        s->ballast = p == MAP_FAILED ? NULL : p;
        if (s->ballast) /* children do not need it, and it would need room */
                expect(!fl_madvise(s->engine, p, BALLAST * PAGE, MADV_DONTFORK), "%s",
                       fl_strerror());
        memset(s->pressed, 0, sizeof(s->pressed));
}

void unmap_ballast(struct side *s)
{
        if (s->ballast)
                expect(fl_munmap(s->engine, s->ballast, BALLAST * PAGE) == 0, "%s", fl_strerror());
        s->ballast = NULL;
}

/* arg: with stores. Every page has what it was last given; of several threads each has its own. */
long run_press(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;

        (void)out;
        for (size_t i = o->at / PAGE; s->ballast && i < (o->at + o->len) / PAGE; i++) {
                unsigned char *p = s->ballast + i * PAGE + i;

                if (w->lane->threads && i % w->lane->threads != w->lane->id)
                        continue;
                expect(*p == s->pressed[i], "page %zu of the ballast: %d, not %d", i, *p,
                       s->pressed[i]);
                if (o->arg)
                        *p = ++s->pressed[i];
        }
        return 0;
}
