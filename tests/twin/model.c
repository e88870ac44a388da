/* SPDX-License-Identifier: Apache-2.0
 *
 * model.c - what is mapped where, and how: so that nothing is asked that has no one answer, and what
 * came of a call is known afterwards.
 *
 * Left out, since it has no one answer: a store through a shared mapping behind the end of the file
 * in its last page (the kernel clears it when it likes); and private copies dropped behind the
 * engine's back (the engine makes the next touch a copy, the kernel shows the file again).
 */
#include <string.h>
#include <sys/resource.h>

#include "../mman.h"
#include "twin.h"

/* The pages that a call rounds to, within the region. */
struct span pages_of(const struct op *o)
{
        struct span s = { (unsigned)(o->at / PAGE), REGION };

        if (o->len <= REGION * PAGE && (o->at + o->len + PAGE - 1) / PAGE < REGION)
                s.end = (unsigned)((o->at + o->len + PAGE - 1) / PAGE);
        return s;
}

bool has_mmu(const struct lane *l, const char *name)
{
        return strcmp(fl_engine_mmu(l->place[OURS].side->engine), name) == 0;
}

void unmap_all(struct lane *l)
{
        expect(fl_munmap(l->place[OURS].side->engine, l->place[OURS].base, REGION * PAGE) == 0,
               "%s", fl_strerror());
        munmap(l->place[KERNELS].base, REGION * PAGE);
        memset(l->page, 0, sizeof(l->page));
}

/* --- may it be asked? --- */

/* Not behind the end of a file, in its last page, through a shared mapping. */
static bool may_store_at(struct lane *l, size_t at)
{
        const struct mapped_page *p = &l->page[at / PAGE];
        uint64_t size = l->size[file_of(p->handle)];

        return !(p->mapped && p->shared && !p->anonymous && p->index == size / PAGE &&
                 size % PAGE && at % PAGE >= size % PAGE);
}

bool ready_to_store(struct lane *l, const struct op *o)
{
        return may_store_at(l, o->at);
}

bool ready_to_walk(struct lane *l, const struct op *o)
{
        struct span s = pages_of(o);

        for (unsigned i = s.first; (o->flags & WALK_STORES) && i < s.end; i++)
                if (!may_store_at(l, i * PAGE + o->at % PAGE))
                        return false;
        return true;
}

/* Is the advice the same in Solaris, and its range one that both take? */
static bool same_in_solaris(struct lane *l, const struct op *o)
{
        struct span s = pages_of(o);
        bool mapped = o->len && o->len <= REGION * PAGE && o->at % PAGE == 0;

        for (unsigned i = s.first; i < s.end; i++)
                mapped &= l->page[i].mapped;
        return o->arg > MADV_WILLNEED ? o->arg != MADV_DONTNEED && o->arg != MADV_FREE : mapped;
}

/* Not MADV_FREE of what it is for: whether the bytes stay is nobody's promise. */
bool ready_to_advise(struct lane *l, const struct op *o)
{
        struct span s = pages_of(o);

        if (test_solaris() && !same_in_solaris(l, o))
                return false;
        for (unsigned i = s.first; i < s.end; i++)
                if (o->arg == MADV_FREE && l->page[i].mapped && l->page[i].anonymous &&
                    !l->page[i].shared)
                        return false;
        return true;
}

/* Not what is private; nor what is locked, which the kernel refuses where it knows of it. And one MMU
 * cannot notice. */
bool ready_to_drop(struct lane *l, const struct op *o)
{
        struct span s = pages_of(o);

        for (unsigned i = s.first; i < s.end; i++)
                if (l->page[i].mapped && (!l->page[i].shared || l->page[i].locked))
                        return false;
        return !has_mmu(l, "sigsegv");
}

/* Of shared memory: mremap has made the mapping longer than it. */
static bool is_behind(const struct mapped_page *p)
{
        return p->index >= p->pages;
}

/* May o's buffer, in the region, be touched whole for that? And is it no part of what the call is
 * on: the order in which bytes move then is nobody's promise. */
static bool is_buffer(struct lane *l, const struct op *o, int prot)
{
        if (o->len == 0)
                return false;
        for (size_t i = o->at / PAGE; i <= (o->at + o->len - 1) / PAGE; i++) {
                unsigned file = file_of(l->page[i].handle);

                if (!l->page[i].mapped || l->page[i].prot < 0 || !(l->page[i].prot & prot))
                        return false;
                if (l->page[i].anonymous && l->page[i].shared && is_behind(&l->page[i]))
                        return false;
                if (!l->page[i].anonymous &&
                    (file == file_of(o->handle) || (l->page[i].index + 1) * PAGE > l->size[file]))
                        return false;
        }
        return true;
}

bool ready_to_read_into(struct lane *l, const struct op *o)
{
        return is_buffer(l, o, PROT_WRITE);
}

bool ready_to_write_from(struct lane *l, const struct op *o)
{
        return is_buffer(l, o, PROT_READ | PROT_WRITE); /* PROT_EXEC alone need not mean reading */
}

/* Where loads are by a key forbidden a page can still be touched on behalf of one. */
bool ready_to_touch(struct lane *l, const struct op *o)
{
        struct span s = pages_of(o);

        for (unsigned i = s.first; i < s.end; i++)
                if (l->page[i].mapped && (l->page[i].prot < 0 || l->page[i].prot == PROT_EXEC ||
                                          !may_store_at(l, i * PAGE)))
                        return false;
        return o->len <= REGION * PAGE && o->at + o->len <= REGION * PAGE;
}

/* Pages of all shared memory, mapped or not. */
static unsigned count_memory(const struct lane *l)
{
        unsigned n = 0;

        for (unsigned i = 0; i < REGION; i++) {
                const struct mapped_page *p = &l->page[i];
                unsigned k = 0;

                if (!p->mapped || !p->shared || !p->anonymous)
                        continue;
                while (!l->page[k].mapped || !l->page[k].shared || !l->page[k].anonymous ||
                       l->page[k].opened != p->opened)
                        k++;
                n += k == i ? p->pages : 0; /* each once */
        }
        return n;
}

static bool is_shared_memory(int flags)
{
        return (flags & MAP_ANONYMOUS) && (flags & MAP_TYPE) == MAP_SHARED;
}

/* There is to be room for each private page once more, whatever is locked. */
bool ready_to_fork(struct lane *l, const struct op *o)
{
        unsigned private = 0;

        for (unsigned i = 0; i < REGION; i++)
        private += l->page[i].mapped && (!l->page[i].shared || l->page[i].locked);
        return l->place[OURS].side->inherits && private <= 10 &&
               2 * private + count_memory(l) <= REGION && ready_to_store(l, o);
}

/* --- locked memory: both sides have room for so much --- */

static unsigned count_locked(const struct lane *l)
{
        unsigned n = 0;

        for (unsigned i = 0; i < REGION; i++)
                n += l->page[i].mapped && l->page[i].locked;
        return n;
}

/* Of all threads. Soft limits are there to be raised. */
static bool kernel_may_lock(void)
{
        struct rlimit r;

        if (getrlimit(RLIMIT_MEMLOCK, &r))
                return false;
        if (r.rlim_cur < r.rlim_max) {
                r.rlim_cur = r.rlim_max;
                setrlimit(RLIMIT_MEMLOCK, &r);
        }
        return r.rlim_cur >= 4 * REGION * PAGE;
}

bool may_lock(struct lane *l, unsigned more)
{
        uint64_t limit = get_stats(l->place[OURS].side->engine).budget_bytes / PAGE - STAGING;
        uint64_t rest = limit / 8 > 32 ? limit / 8 : 32;

        return count_locked(l) + more <= limit - rest && kernel_may_lock();
}

/* Not of what may only be executed: whether it can be read in is the machine's. */
bool ready_to_lock(struct lane *l, const struct op *o)
{
        struct span s = pages_of(o);
        unsigned more = 0;

        for (unsigned i = s.first; i < s.end; i++) {
                if (l->page[i].mapped && (l->page[i].prot < 0 || l->page[i].prot == PROT_EXEC))
                        return false;
                more += !l->page[i].mapped || !l->page[i].locked;
        }
        return o->len <= REGION * PAGE && may_lock(l, more);
}

/* What is replaced is counted too. */
bool ready_to_map(struct lane *l, const struct op *o)
{
        unsigned most = l->place[OURS].side->ballast ? MEMORY_WITH_SWAP : MEMORY;
        int type = o->flags & MAP_TYPE;

        /* Solaris has other errors, and another order of them: tests/solaris.c. */
        if (test_solaris() &&
            ((type != MAP_SHARED && type != MAP_PRIVATE) || (o->flags & MAP_FIXED_NOREPLACE) ||
             o->len == 0 || o->len > REGION * PAGE || o->at % PAGE || o->offset < 0 ||
             o->offset % PAGE || o->offset > INT64_MAX - (int64_t)(REGION * PAGE)))
                return false;
        if (is_shared_memory(o->flags) && o->len <= REGION * PAGE &&
            count_memory(l) + (o->len + PAGE - 1) / PAGE > most)
                return false;
        return !(o->flags & MAP_LOCKED) || may_lock(l, (unsigned)((o->len + PAGE - 1) / PAGE));
}

/* --- what is alike --- */

/* b can follow a in one mapping. */
static bool continues(const struct mapped_page *a, const struct mapped_page *b)
{
        return a->mapped && b->mapped && a->shared == b->shared && a->anonymous == b->anonymous &&
               a->prot == b->prot && a->prot >= 0 && a->locked == b->locked &&
               a->advice == b->advice && a->advice >= 0 && a->fork == b->fork && a->fork >= 0 &&
               a->rules == b->rules && a->rules >= 0 &&
               ((a->anonymous && !a->shared) ||
                (a->handle == b->handle && a->opened == b->opened && a->index + 1 == b->index));
}

unsigned run_at(const struct lane *l, unsigned first, unsigned most)
{
        unsigned n = 1;

        while (n < most && first + n < REGION &&
               continues(&l->page[first + n - 1], &l->page[first + n]))
                n++;
        return n;
}

/* --- what came of it --- */

static void note_prot(struct lane *l, const struct op *o, int prot)
{
        struct span s = pages_of(o);

        for (unsigned i = s.first; i < s.end; i++)
                l->page[i].prot = prot;
}

/* Where there is a hole, an error is returned and some of it was done. */
void note_mprotect(struct lane *l, const struct op *o, long result)
{
        note_prot(l, o, result ? -1 : o->arg);
}

void note_madvise(struct lane *l, const struct op *o, long result)
{
        struct span s = pages_of(o);

        for (unsigned i = s.first; i < s.end; i++) {
                struct mapped_page *p = &l->page[i];

                if (o->arg == MADV_NORMAL || o->arg == MADV_RANDOM || o->arg == MADV_SEQUENTIAL)
                        p->advice = result ? -1 : o->arg;
                if (o->arg == MADV_DONTFORK || o->arg == MADV_DOFORK || o->arg == MADV_WIPEONFORK ||
                    o->arg == MADV_KEEPONFORK)
                        p->fork = result || p->fork < 0       ? -1
                                  : o->arg == MADV_DONTFORK   ? p->fork | 1
                                  : o->arg == MADV_DOFORK     ? p->fork & ~1
                                  : o->arg == MADV_WIPEONFORK ? p->fork | 2
                                                              : p->fork & ~2;
        }
}

/* Up to the first hole, whatever comes of reading it in. */
static void note_locked(struct lane *l, const struct op *o, int locked)
{
        struct span s = pages_of(o);

        if (o->len > REGION * PAGE)
                return;
        if (o->len == 0 && o->at % PAGE)
                s.end = s.first + 1; /* it is in that page */
        for (unsigned i = s.first; i < s.end && l->page[i].mapped; i++)
                l->page[i].locked = locked;
}

void note_mlock(struct lane *l, const struct op *o, long result)
{
        (void)result;
        note_locked(l, o, o->arg ? 2 : 1);
}

void note_munlock(struct lane *l, const struct op *o, long result)
{
        (void)result;
        note_locked(l, o, 0);
}

void note_rules(struct lane *l, const struct op *o, long result)
{
        struct span s = pages_of(o);

        if (o->at % PAGE || o->len > REGION * PAGE)
                return;
        for (unsigned i = s.first; i < s.end && l->page[i].mapped; i++)
                l->page[i].rules = o->arg;
        (void)result;
}

static void note_range(struct lane *l, const struct op *o, bool mapped)
{
        unsigned first = (unsigned)(o->at / PAGE), nr = (unsigned)((o->len + PAGE - 1) / PAGE);
        bool memory = mapped && is_shared_memory(o->flags);

        l->memories += memory;
        for (unsigned i = 0; i < nr; i++)
                l->page[first + i] = (struct mapped_page){
                        .mapped = mapped,
                        .shared = o->flags & MAP_SHARED,
                        .anonymous = o->flags & MAP_ANONYMOUS,
                        .locked = o->flags & MAP_LOCKED ? 1 : 0,
                        .handle = o->handle,
                        .opened = memory ? l->memories : l->opened[o->handle],
                        .index = (memory ? 0 : (uint64_t)o->offset / PAGE) + i,
                        .pages = memory ? nr : 0,
                        .prot = o->arg,
                };
}

void note_mmap(struct lane *l, const struct op *o, long result)
{
        if (result >= 0 && (o->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
                note_range(l, o, true);
}

void note_munmap(struct lane *l, const struct op *o, long result)
{
        if (result == 0)
                note_range(l, o, false);
}

/* Page i of what begins with *first. */
static struct mapped_page follow(const struct mapped_page *first, unsigned i)
{
        struct mapped_page p = *first;

        p.index += i;
        return p;
}

/* A second view, of a shared page and in its place: the page goes before it is looked at. */
static bool is_own_view(const struct lane *l, const struct op *r)
{
        const struct mapped_page *p = &l->page[r->at / PAGE];

        return r->flags == (MREMAP_MAYMOVE | MREMAP_FIXED) && r->len == 0 && r->arg &&
               r->at == (size_t)r->offset && p->mapped && p->shared;
}

void note_mremap(struct lane *l, const struct op *o, long result)
{
        const struct op r = remap_of(l, o);
        unsigned from = (unsigned)(r.at / PAGE), old = (unsigned)(r.len / PAGE);
        unsigned to = (unsigned)((size_t)result / PAGE), new = (unsigned)r.arg;
        struct mapped_page first = l->page[from];

        if (result < 0 && is_own_view(l, &r))
                for (unsigned i = 0; i < new; i++)
                        l->page[from + i].mapped = false;
        if (result < 0)
                return;
        for (unsigned i = 0; i < old; i++)
                if (i >= new || (to != from && !(r.flags & MREMAP_DONTUNMAP)))
                        l->page[from + i].mapped = false;
        for (unsigned i = 0; i < new; i++)
                l->page[to + i] = follow(&first, i);
}

void note_pwrite(struct lane *l, const struct op *o, long result)
{
        uint64_t *size = &l->size[file_of(o->handle)];

        if (result > 0 && (uint64_t)(o->offset + result) > *size)
                *size = (uint64_t)(o->offset + result);
}

void note_ftruncate(struct lane *l, const struct op *o, long result)
{
        if (result == 0)
                l->size[file_of(o->handle)] = (uint64_t)o->offset;
}

void note_reopen(struct lane *l, const struct op *o, long result)
{
        (void)result;
        l->opened[o->handle]++;
}
