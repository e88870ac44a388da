/* SPDX-License-Identifier: Apache-2.0
 *
 * calls.c - the operations, on either side; what is known to have no one answer; and the model.
 *
 * Left out, since it has no one answer: a store through a shared mapping behind the end of the file
 * in its last page (the kernel clears it when it likes); and private copies dropped behind the
 * engine's back (the engine makes the next touch a copy, the kernel shows the file again).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "twin.h"

/* --- calls on mappings --- */

/* Where the system likes: the place differs, so the mapping is taken away again. */
static long mapped_at(struct place *w, const struct op *o, char *p)
{
        struct fl_engine *e = w->side->engine;

        if (p == MAP_FAILED)
                return -1;
        if (o->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
                return p - w->base;
        return e ? fl_munmap(e, p, o->len) : munmap(p, o->len);
}

long run_mmap(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;
        char *p = w->base + o->at;

        (void)out;
        p = s->engine
                    ? fl_mmap(s->engine, p, o->len, o->arg, o->flags, s->file[o->handle], o->offset)
                    : mmap(p, o->len, o->arg, o->flags, s->fd[o->handle], o->offset);
        return mapped_at(w, o, p);
}

long run_munmap(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        char *p = w->base + o->at;

        (void)out;
        return e ? fl_munmap(e, p, o->len) : munmap(p, o->len);
}

long run_mprotect(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        char *p = w->base + o->at;

        (void)out;
        return e ? fl_mprotect(e, p, o->len, o->arg) : mprotect(p, o->len, o->arg);
}

/* arg: pages; offset: where to. */
long run_mremap(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        char *p = w->base + o->at, *to = w->base + o->offset, *q;
        size_t len = (size_t)o->arg * PAGE;

        (void)out;
        q = e ? fl_mremap(e, p, o->len, len, o->flags, to) : mremap(p, o->len, len, o->flags, to);
        return q == MAP_FAILED ? -1 : q - w->base;
}

long run_madvise(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        char *p = w->base + o->at;

        (void)out;
        return e ? fl_madvise(e, p, o->len, o->arg) : madvise(p, o->len, o->arg);
}

long run_drop(struct place *w, const struct op *o, struct outcome *out)
{
        (void)out;
        return madvise(w->base + o->at, o->len, MADV_DONTNEED);
}

long run_msync(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        char *p = w->base + o->at;

        (void)out;
        return e ? fl_msync(e, p, o->len, o->arg) : msync(p, o->len, o->arg);
}

/* What is resident is another matter on each side. */
long run_mincore(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        unsigned char vec[REGION + 1] = { 0 };
        char *p = w->base + o->at;
        long r = e ? fl_mincore(e, p, o->len, vec) : mincore(p, o->len, vec);

        (void)out;
        for (unsigned i = 0; e && i <= REGION; i++)
                expect(vec[i] <= 1 && (vec[i] == 0 || i * PAGE < o->len),
                       "fl_mincore says %d for page %u", vec[i], i);
        return r;
}

/* --- accesses --- */

static long accessed(struct place *w, const struct op *o, struct outcome *out, bool load)
{
        if (out->caught.signo)
                out->at = (size_t)((char *)out->caught.addr - w->base);
        else if (load)
                out->len = PAGE;
        out->bytes = w->base + o->at / PAGE * PAGE;
        return 0;
}

long run_load(struct place *w, const struct op *o, struct outcome *out)
{
        out->caught = try_load(w->base + o->at, NULL);
        return accessed(w, o, out, true);
}

long run_store(struct place *w, const struct op *o, struct outcome *out)
{
        out->caught = try_store(w->base + o->at, (unsigned char)o->arg);
        return accessed(w, o, out, false);
}

/* --- calls on files --- */

long run_pread(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;
        long n = s->engine ? fl_pread(s->file[o->handle], w->buf, o->len, o->offset)
                           : pread(s->fd[o->handle], w->buf, o->len, o->offset);

        out->bytes = w->buf;
        out->len = n > 0 ? (size_t)n : 0;
        return n;
}

long run_pwrite(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;

        (void)out;
        memset(w->buf, o->arg, BUF);
        memcpy(w->buf, &o->offset, sizeof(o->offset));
        return s->engine ? fl_pwrite(s->file[o->handle], w->buf, o->len, o->offset)
                         : pwrite(s->fd[o->handle], w->buf, o->len, o->offset);
}

long run_ftruncate(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;

        (void)out;
        return s->engine ? fl_ftruncate(s->file[o->handle], o->offset)
                         : ftruncate(s->fd[o->handle], o->offset);
}

long run_fsync(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;

        (void)out;
        return s->engine ? fl_fsync(s->file[o->handle]) : fsync(s->fd[o->handle]);
}

long run_fstat(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;
        struct stat st;

        if (s->engine ? fl_fstat(s->file[o->handle], &st) : fstat(s->fd[o->handle], &st))
                return -1;
        memcpy(w->buf, &st.st_mode, sizeof(st.st_mode));
        memcpy(w->buf + sizeof(st.st_mode), &st.st_nlink, sizeof(st.st_nlink));
        out->bytes = w->buf;
        out->len = sizeof(st.st_mode) + sizeof(st.st_nlink);
        return (long)st.st_size;
}

/* The buffer is mapped memory. */
long run_pread_into(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;
        char *p = w->base + o->at;

        out->bytes = p;
        out->len = o->len;
        return s->engine ? fl_pread(s->file[o->handle], p, o->len, o->offset)
                         : pread(s->fd[o->handle], p, o->len, o->offset);
}

long run_pwrite_from(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;
        char *p = w->base + o->at;

        (void)out;
        return s->engine ? fl_pwrite(s->file[o->handle], p, o->len, o->offset)
                         : pwrite(s->fd[o->handle], p, o->len, o->offset);
}

/* A handle goes, what it has mapped stays, and another comes. */
long run_reopen(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;
        const char *path = s->path[file_of(o->handle)];
        int how = handle_flags(o->handle);

        (void)out;
        if (s->engine) {
                close_file(s->file[o->handle]);
                s->file[o->handle] = open_file(s->engine, path, how);
                return 0;
        }
        close(s->fd[o->handle]);
        s->fd[o->handle] = open(path, how | O_CLOEXEC);
        require(s->fd[o->handle] >= 0, "%s: %s", path, strerror(errno));
        return 0;
}

/* Now and then in a way that is refused. */
long run_open_again(struct place *w, const struct op *o, struct outcome *out)
{
        struct side *s = w->side;
        const char *path = s->path[file_of(o->handle)];
        int how = handle_flags(o->handle) | (o->arg == 0 ? O_CREAT | O_EXCL : 0), fd;
        struct fl_file *f;

        (void)out;
        if (s->engine) {
                f = fl_file_open(s->engine, path, how, NULL);
                return f ? fl_file_close(f) : -1;
        }
        fd = open(path, how | O_CLOEXEC, 0600);
        return fd < 0 ? -1 : close(fd);
}

long run_stats(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_stats s = { .size = sizeof(s) };

        (void)o;
        (void)out;
        if (w->side->engine && fl_stats(w->side->engine, &s))
                return -1;
        expect(s.cache_bytes <= s.cache_bytes_peak, "a peak of %llu bytes, but %llu now",
               (unsigned long long)s.cache_bytes_peak, (unsigned long long)s.cache_bytes);
        return 0;
}

/* Of an engine only. What does not fit now is refused, rightly. */
long run_set_cache(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;

        (void)out;
        return e && fl_engine_set_cache(e, o->len) && errno != EBUSY ? -1 : 0;
}

/* --- the model --- */

void unmap_all(struct lane *l)
{
        expect(fl_munmap(l->place[OURS].side->engine, l->place[OURS].base, REGION * PAGE) == 0,
               "%s", fl_strerror());
        munmap(l->place[KERNELS].base, REGION * PAGE);
        memset(l->page, 0, sizeof(l->page));
}

/* Not behind the end of a file, in its last page, through a shared mapping. */
bool ready_to_store(struct lane *l, const struct op *o)
{
        unsigned i = (unsigned)(o->at / PAGE);
        uint64_t size = l->size[file_of(l->page[i].handle)];

        return !(l->page[i].mapped && l->page[i].shared && l->page[i].index == size / PAGE &&
                 o->at % PAGE >= size % PAGE);
}

/* Not MADV_FREE of what it is for: whether the bytes stay is nobody's promise. */
bool ready_to_advise(struct lane *l, const struct op *o)
{
        for (size_t i = o->at / PAGE; i < REGION && i * PAGE < o->at + o->len; i++)
                if (o->arg == MADV_FREE && l->page[i].mapped && l->page[i].anonymous)
                        return false;
        return true;
}

/* Not what is private. */
bool ready_to_drop(struct lane *l, const struct op *o)
{
        for (size_t i = o->at / PAGE; i < REGION && i * PAGE < o->at + o->len; i++)
                if (l->page[i].mapped && !l->page[i].shared)
                        return false;
        return true;
}

/* May o's buffer, in the region, be touched whole for that? And is it no part of what the call is
 * on: the order in which bytes move then is nobody's promise. */
static bool is_buffer(struct lane *l, const struct op *o, int prot)
{
        if (o->len == 0)
                return false;
        for (size_t i = o->at / PAGE; i <= (o->at + o->len - 1) / PAGE; i++) {
                unsigned file = file_of(l->page[i].handle);

                if (!l->page[i].mapped || l->page[i].prot < 0 || !(l->page[i].prot & prot) ||
                    file == file_of(o->handle) || (l->page[i].index + 1) * PAGE > l->size[file])
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

static void note_prot(struct lane *l, const struct op *o, int prot)
{
        for (size_t i = o->at / PAGE; i < REGION && i * PAGE < o->at + o->len; i++)
                l->page[i].prot = prot;
}

/* Where there is a hole, an error is returned and some of it was done. */
void note_mprotect(struct lane *l, const struct op *o, long result)
{
        note_prot(l, o, result ? -1 : o->arg);
}

static void note_range(struct lane *l, const struct op *o, bool mapped)
{
        unsigned first = (unsigned)(o->at / PAGE), nr = (unsigned)((o->len + PAGE - 1) / PAGE);

        for (unsigned i = 0; i < nr; i++) {
                l->page[first + i].mapped = mapped;
                l->page[first + i].shared = o->flags & MAP_SHARED;
                l->page[first + i].anonymous = o->flags & MAP_ANONYMOUS;
                l->page[first + i].handle = o->handle;
                l->page[first + i].index = (uint64_t)o->offset / PAGE + i;
                l->page[first + i].prot = o->arg;
        }
}

/* Not out of the region. */
bool ready_to_remap(struct lane *l, const struct op *o)
{
        (void)l;
        return o->flags & MREMAP_FIXED || o->at / PAGE + (size_t)o->arg <= REGION;
}

void note_mremap(struct lane *l, const struct op *o, long result)
{
        size_t from = o->at / PAGE, to = (size_t)result / PAGE;

        if (result < 0)
                return;
        for (size_t i = o->len ? 1 : 0; i < (size_t)o->arg; i++) {
                l->page[to + i] = l->page[from];
                l->page[to + i].index = l->page[from].index + i;
        }
        if (o->len) {
                l->page[to] = l->page[from];
                if (to != from)
                        l->page[from].mapped = false;
        }
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

/* --- both sides --- */

static bool differs(struct lane *l, const struct op *o, const struct outcome *a,
                    const struct outcome *k)
{
        const char *x = a->bytes, *y = k->bytes;
        size_t i = 0;

        l->told[0] = 0;
        if (a->caught.signo != k->caught.signo || a->caught.code != k->caught.code)
                snprintf(l->told, sizeof(l->told), "%s: the engine %s, the kernel %s", op_text(o),
                         caught_name(a->caught), caught_name(k->caught));
        else if (a->at != k->at)
                snprintf(l->told, sizeof(l->told), "%s: %s at %#zx, the kernel's at %#zx",
                         op_text(o), caught_name(a->caught), a->at, k->at);
        else if (a->result != k->result || a->error != k->error)
                snprintf(l->told, sizeof(l->told), "%s: the engine %ld (%s), the kernel %ld (%s)",
                         op_text(o), a->result, strerror(a->error), k->result, strerror(k->error));
        else if (a->len && memcmp(x, y, a->len)) {
                while (x[i] == y[i])
                        i++;
                snprintf(l->told, sizeof(l->told), "%s: byte %zu is %02x, the kernel's %02x",
                         op_text(o), i, (unsigned char)x[i], (unsigned char)y[i]);
        }
        return l->told[0];
}

static struct outcome run_on(struct place *w, const struct op *o)
{
        struct outcome out = { 0 };

        errno = 0;
        out.result = o->kind->run(w, o, &out);
        out.error = out.result == -1 ? errno : 0;
        return out;
}

bool step(struct lane *l, const struct op *o)
{
        struct outcome a, k;

        if (o->kind->ready && !o->kind->ready(l, o))
                return true;
        a = run_on(&l->place[OURS], o);
        expect(!a.error || fl_strerror()[0], "an error without a sentence");
        k = run_on(&l->place[KERNELS], o);
        if (o->kind->note && a.result == k.result)
                o->kind->note(l, o, k.result);
        return !differs(l, o, &a, &k);
}
