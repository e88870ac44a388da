/* SPDX-License-Identifier: Apache-2.0
 *
 * stamped.c - the operations that carry bytes, when several threads work on the same files: what
 * they store are stamps, and what they find is judged on each side by itself, since the sides are
 * not in step. Only what every thread decides for itself (protection, holes, errno) is compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "threads.h"

static struct worker *worker_of(struct lane *l)
{
        return (struct worker *)l;
}

static unsigned side_of(const struct place *w)
{
        return w->side->engine ? OURS : KERNELS;
}

static uint64_t pages_in(uint64_t size)
{
        return (size + PAGE - 1) / PAGE;
}

/* --- loads --- */

/* Beyond the end, which may be on the move, a signal is right if the end was not there before, and
 * none if it is now. Then the sides need not agree. True: go on with what was read. */
static bool judge_signal(struct record *r, unsigned file, uint64_t index, uint64_t size,
                         struct outcome *out, bool copied)
{
        bool bus = out->caught.signo == SIGBUS;

        if (copied || index < pages_in(r->size_first[file]) || (out->caught.signo && !bus))
                return !out->caught.signo;
        if (bus)
                expect(pages_in(size) <= index, "SIGBUS at page %llu of file %u, of %llu bytes",
                       (unsigned long long)index, file, (unsigned long long)size);
        else
                expect(pages_in(atomic_load(&r->size_begun[file])) > index,
                       "no SIGBUS at page %llu of file %u", (unsigned long long)index, file);
        memset(&out->caught, 0, sizeof(out->caught));
        out->at = 0;
        return !bus;
}

long run_stamped_load(struct place *w, const struct op *o, struct outcome *out)
{
        struct worker *t = worker_of(w->lane);
        struct record *r = w->side->record;
        size_t i = o->at / PAGE;
        unsigned file = file_of(w->lane->page[i].handle);
        uint64_t index = w->lane->page[i].index, size = atomic_load(&r->size_done[file]);
        struct copy *c = &t->copy[side_of(w)][i];

        look_before(r, file, index * SLOTS, SLOTS, t->low);
        out->caught = try_words(t->bytes, (uint64_t *)(w->base + i * PAGE), SLOTS);
        if (out->caught.signo)
                out->at = (size_t)((char *)out->caught.addr - w->base);
        if (!w->lane->page[i].mapped || c->unsure ||
            !judge_signal(r, file, index, size, out, c->copied))
                return 0;
        if (c->copied)
                expect(!memcmp(c->bytes, t->bytes, PAGE), "%s: a private copy has changed",
                       w->side->name);
        else
                look_after(r, file, index * SLOTS, SLOTS, t->low, t->bytes, w->side->name);
        return 0;
}

/* --- stores --- */

/* A copy was made some time between what is in t->low and now, and has this one store in it. */
static void note_copy(struct place *w, struct copy *c, size_t i, unsigned slot, uint64_t value)
{
        struct worker *t = worker_of(w->lane);
        unsigned file = file_of(w->lane->page[i].handle);
        uint64_t first = w->lane->page[i].index * SLOTS;

        if (try_words(t->bytes, (uint64_t *)(w->base + i * PAGE), SLOTS).signo) {
                c->copied = c->unsure = true; /* may be stored to, not read */
                return;
        }
        expect(t->bytes[slot] == value, "%s: a private store is gone", w->side->name);
        if (c->copied) {
                c->bytes[slot] = value;
                expect(!memcmp(c->bytes, t->bytes, PAGE), "%s: a private copy has changed",
                       w->side->name);
                return;
        }
        look_after(w->side->record, file, first, slot, t->low, t->bytes, "copied");
        look_after(w->side->record, file, first + slot + 1, SLOTS - slot - 1, t->low + slot + 1,
                   t->bytes + slot + 1, "copied");
        memcpy(c->bytes, t->bytes, PAGE);
        c->copied = true;
}

static void store_private(struct place *w, const struct op *o, struct outcome *out)
{
        struct worker *t = worker_of(w->lane);
        struct record *r = w->side->record;
        size_t i = o->at / PAGE;
        unsigned slot = (unsigned)(o->at % PAGE / 8), file = file_of(w->lane->page[i].handle);
        uint64_t index = w->lane->page[i].index, size = atomic_load(&r->size_done[file]);
        uint64_t value = ~(uint64_t)t->copies++;
        struct copy *c = &t->copy[side_of(w)][i];

        look_before(r, file, index * SLOTS, SLOTS, t->low);
        out->caught = try_words((uint64_t *)(w->base + i * PAGE) + slot, &value, 1);
        if (out->caught.signo)
                out->at = (size_t)((char *)out->caught.addr - w->base);
        if (!c->unsure && judge_signal(r, file, index, size, out, c->copied))
                note_copy(w, c, i, slot, value);
}

static unsigned my_slot(struct lane *l, const struct op *o)
{
        unsigned first = 0, nr;

        nr = slots_of(l->page[o->at / PAGE].index, l->id, l->threads, &first);
        return nr ? first + (unsigned)(o->at % PAGE / 8) % nr : SLOTS;
}

static void store_shared(struct place *w, const struct op *o, struct outcome *out)
{
        struct record *r = w->side->record;
        size_t i = o->at / PAGE;
        unsigned slot = my_slot(w->lane, o), file = file_of(w->lane->page[i].handle);
        uint64_t at = w->lane->page[i].index * SLOTS + slot, value = ~0ull;
        uint64_t *p = (uint64_t *)(w->base + i * PAGE) + slot;

        if (at < SHARED_SLOTS)
                store_begin(r, file, at, 1, &value);
        out->caught = try_words(p, &value, 1);
        if (out->caught.signo)
                out->at = (size_t)((char *)out->caught.addr - w->base);
        else if (at < SHARED_SLOTS)
                store_done(r, file, at, 1);
}

long run_stamped_store(struct place *w, const struct op *o, struct outcome *out)
{
        size_t i = o->at / PAGE;

        if (w->lane->page[i].mapped && !w->lane->page[i].shared) {
                store_private(w, o, out);
        } else if (w->lane->page[i].mapped) {
                store_shared(w, o, out);
        } else {
                out->caught = try_store(w->base + o->at, 1);
                out->at = (size_t)((char *)out->caught.addr - w->base);
        }
        return 0;
}

static unsigned copies_of(const struct worker *t)
{
        unsigned nr = 0;

        for (unsigned i = 0; i < REGION; i++)
                nr += t->copy[OURS][i].copied || t->copy[OURS][i].unsure;
        return nr;
}

/* Shared: in a slot of the thread's own, and not where the end of the file may be on the move.
 * Private: not more copies than the budget has room for. */
bool ready_to_stamp(struct lane *l, const struct op *o)
{
        size_t i = o->at / PAGE;
        struct worker *t = worker_of(l);
        uint64_t end = (l->page[i].index * SLOTS + my_slot(l, o) + 1) * 8;

        if (!l->page[i].mapped)
                return true;
        if (!l->page[i].shared)
                return t->copy[OURS][i].copied || t->copy[OURS][i].unsure ||
                       copies_of(t) < MAX_COPIES;
        if (my_slot(l, o) == SLOTS)
                return false;
        for (unsigned k = 0; k < SIDES; k++)
                if (end >
                    atomic_load(&l->place[k].side->record->size_done[file_of(l->page[i].handle)]))
                        return l->page[i].index >= SHARED_PAGES; /* where no end ever comes */
        return true;
}

/* --- calls on files --- */

long run_stamped_pread(struct place *w, const struct op *o, struct outcome *out)
{
        struct worker *t = worker_of(w->lane);
        struct side *s = w->side;
        struct record *r = s->record;
        unsigned file = file_of(o->handle), nr = (unsigned)(o->len / 8);
        uint64_t before = atomic_load(&r->size_done[file]), after, at = (uint64_t)o->offset;
        long n;

        (void)out;
        look_before(r, file, at / 8, nr, t->low);
        n = s->engine ? fl_pread(s->file[o->handle], t->bytes, o->len, o->offset)
                      : pread(s->fd[o->handle], t->bytes, o->len, o->offset);
        if (n < 0)
                return n;
        after = atomic_load(&r->size_begun[file]);
        expect((uint64_t)n == o->len || at + (uint64_t)n >= before, "%s: pread: %ld of %zu bytes",
               s->name, n, o->len);
        expect(n == 0 || at + (uint64_t)n <= after, "%s: pread: %ld bytes from behind the end",
               s->name, n);
        look_after(r, file, at / 8, (unsigned)n / 8, t->low, t->bytes, "pread");
        return 0;
}

/* Where this thread may write, near where it was drawn. 0: nowhere. */
static unsigned my_run(struct lane *l, const struct op *o, uint64_t *slot)
{
        uint64_t page = (uint64_t)o->offset / PAGE;
        unsigned id = l->id, first = 0, nr = slots_of(page, id, l->threads, &first);
        unsigned want = (unsigned)(o->len / 8), skip;

        if (!nr)
                return 0;
        skip = o->arg % 4 ? 0 : (unsigned)o->arg % nr;
        *slot = page * SLOTS + first + skip;
        for (nr = 0; nr < want && *slot + nr < SHARED_SLOTS; nr++)
                if (slot_owner(*slot + nr, l->threads) != id)
                        break;
        return nr;
}

bool ready_to_write(struct lane *l, const struct op *o)
{
        uint64_t slot;

        return my_run(l, o, &slot) > 0;
}

long run_stamped_pwrite(struct place *w, const struct op *o, struct outcome *out)
{
        struct worker *t = worker_of(w->lane);
        struct side *s = w->side;
        unsigned file = file_of(o->handle), nr;
        uint64_t slot;
        long n;

        (void)out;
        nr = my_run(w->lane, o, &slot);
        store_begin(s->record, file, slot, nr, t->bytes);
        if (may_write(o->handle))
                grow_begin(s->record, file, (slot + nr) * 8);
        n = s->engine ? fl_pwrite(s->file[o->handle], t->bytes, nr * 8, (off_t)slot * 8)
                      : pwrite(s->fd[o->handle], t->bytes, nr * 8, (off_t)slot * 8);
        if (n <= 0)
                return n;
        store_done(s->record, file, slot, (unsigned)n / 8);
        grow_done(s->record, file, slot * 8 + (uint64_t)n);
        return n;
}

long run_stamped_fstat(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;
        unsigned file = file_of(o->handle);
        uint64_t before = atomic_load(&s->record->size_done[file]);
        struct stat st;

        (void)out;
        if (s->engine ? fl_fstat(s->file[o->handle], &st) : fstat(s->fd[o->handle], &st))
                return -1;
        expect((uint64_t)st.st_size >= before &&
                       (uint64_t)st.st_size <= atomic_load(&s->record->size_begun[file]),
               "%s: fstat: %lld bytes, of %llu", s->name, (long long)st.st_size,
               (unsigned long long)before);
        return 0;
}

/* What was stored before msync was called is in the file when it returns. */
long run_sync_and_look(struct place *w, const struct op *o, struct outcome *out)
{
        struct worker *t = worker_of(w->lane);
        struct side *s = w->side;
        size_t i = o->at / PAGE;
        unsigned file = file_of(w->lane->page[i].handle);
        uint64_t index = w->lane->page[i].index;
        _Alignas(4096) uint64_t bytes[SLOTS];
        char *p = w->base + i * PAGE;
        long r;

        (void)out;
        look_before(s->record, file, index * SLOTS, SLOTS, t->low);
        r = s->engine ? fl_msync(s->engine, p, PAGE, MS_SYNC) : msync(p, PAGE, MS_SYNC);
        if (r == 0 && s->direct[file] >= 0) {
                expect(pread(s->direct[file], bytes, PAGE, (off_t)(index * PAGE)) == (ssize_t)PAGE,
                       "%s: %s", s->path[file], strerror(errno));
                look_after(s->record, file, index * SLOTS, SLOTS, t->low, bytes, "on the disk");
        }
        return r;
}

bool ready_to_sync(struct lane *l, const struct op *o)
{
        size_t i = o->at / PAGE;

        return l->page[i].mapped && l->page[i].shared &&
               (l->page[i].index + 1) * PAGE <=
                       l->place[OURS].side->record->size_first[file_of(l->page[i].handle)];
}

/* --- the model of the private copies --- */

static void forget_copies(struct lane *l, const struct op *o, bool unsure)
{
        struct worker *t = worker_of(l);

        for (size_t i = o->at / PAGE; i < REGION && i * PAGE < o->at + o->len; i++)
                for (unsigned k = 0; k < SIDES; k++) {
                        struct copy *c = &t->copy[k][i];

                        c->unsure = unsure && (c->copied || c->unsure);
                        c->copied = c->copied && unsure;
                }
}

void note_stamped_mmap(struct lane *l, const struct op *o, long result)
{
        note_mmap(l, o, result);
        if (result >= 0 && (o->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
                forget_copies(l, o, false);
}

void note_stamped_munmap(struct lane *l, const struct op *o, long result)
{
        note_munmap(l, o, result);
        if (result == 0)
                forget_copies(l, o, false);
}

/* Where there is a hole, an error is returned and some of it was done. */
void note_stamped_madvise(struct lane *l, const struct op *o, long result)
{
        note_madvise(l, o, result);
        if (o->arg == MADV_DONTNEED)
                forget_copies(l, o, result < 0);
}

/* Only what is shared: of copies it would have to be known where they are. */
bool ready_to_remap_shared(struct lane *l, const struct op *o)
{
        const struct op r = whole_of(l, o);
        const struct mapped_page *p = &l->page[r.at / PAGE];

        return r.at % PAGE == 0 && p->mapped && p->shared && ready_to_remap(l, &r);
}

void note_shared_remap(struct lane *l, const struct op *o, long result)
{
        const struct op r = whole_of(l, o);
        struct op there = { .at = (size_t)r.offset, .len = r.len };

        note_mremap(l, &r, result);
        if (result >= 0)
                forget_copies(l, &there, false);
}
