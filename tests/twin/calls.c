/* SPDX-License-Identifier: Apache-2.0
 *
 * calls.c - the operations, on either side: calls that both have, and accesses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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
        /* Solaris's does not pass a file by, and promises swap for what is private. */
        bool anonymous = test_solaris() && (o->flags & MAP_ANONYMOUS);
        int more = test_solaris() && (o->flags & MAP_TYPE) == MAP_PRIVATE ? MAP_NORESERVE : 0;

        (void)out;
        p = s->engine ? fl_mmap(s->engine, p, o->len, o->arg, o->flags | more,
                                anonymous ? NULL : s->file[o->handle], o->offset)
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

/* arg: MLOCK_ONFAULT or nothing. The kernel's is the call itself: a sanitizer makes mlock(3) do nothing. */
long run_mlock(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        char *p = w->base + o->at;

        (void)out;
        if (e)
                return o->arg ? fl_mlock2(e, p, o->len, (unsigned)o->arg) : fl_mlock(e, p, o->len);
        return o->arg ? syscall(SYS_mlock2, p, o->len, o->arg) : syscall(SYS_mlock, p, o->len);
}

long run_munlock(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        char *p = w->base + o->at;

        (void)out;
        return e ? fl_munlock(e, p, o->len) : syscall(SYS_munlock, p, o->len);
}

long run_msync(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        char *p = w->base + o->at;

        (void)out;
        return e ? fl_msync(e, p, o->len, o->arg) : msync(p, o->len, o->arg);
}

/* The file's bytes of a page that has been synced, around every cache, where that is possible. */
long run_msync_and_look(struct place *w, const struct op *o, struct outcome *out)
{
        bool looks = (o->arg & MS_SYNC) && o->len <= REGION * PAGE; /* one that wraps is none */
        long r = run_msync(w, o, out);
        struct span s = pages_of(o);

        for (unsigned i = s.first; r == 0 && looks && i < s.end; i++) {
                const struct mapped_page *p = &w->lane->page[i];
                int fd = w->side->direct[file_of(p->handle)];
                ssize_t n;

                if (!p->mapped || !p->shared || p->anonymous || fd < 0 ||
                    p->index >= FILE_PAGES + 4)
                        continue;
                n = pread(fd, w->buf, PAGE, (off_t)(p->index * PAGE));
                out->bytes = w->buf;
                out->len = n > 0 ? (size_t)n : 0;
                return n;
        }
        return r;
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

/* --- fork --- */

static uint64_t mix(uint64_t h, uint64_t v)
{
        return (h ^ v) * 0x9e3779b97f4a7c15u + (h >> 29);
}

/* What a load of each page of the region gives. */
static uint64_t look_around(struct place *w, uint64_t h)
{
        for (unsigned i = 0; i < REGION; i++) {
                const uint64_t *p = (const uint64_t *)(const void *)(w->base + i * PAGE);
                struct caught c = try_load(p, NULL);

                h = mix(h, (uint64_t)c.signo << 8 | (uint64_t)(unsigned)c.code);
                for (unsigned k = 0; !c.signo && k < PAGE / sizeof(*p); k++)
                        h = mix(h, p[k]);
        }
        return h;
}

long run_fork(struct place *w, const struct op *o, struct outcome *out)
{
        uint64_t h = 0;
        int status = -1, fd[2];
        unsigned fds = count_fds();
        pid_t pid;

        (void)out;
        require(pipe(fd) == 0, "pipe");
        pid = fork();
        require(pid >= 0, "fork");
        if (pid == 0) {
                struct caught c;

                alarm(60);
                h = look_around(w, 1);
                c = try_store(w->base + o->at, (unsigned char)o->arg);
                h = look_around(w, mix(h, (uint64_t)c.signo << 8 | (uint64_t)(unsigned)c.code));
                _exit(write(fd[1], &h, sizeof(h)) != (ssize_t)sizeof(h));
        }
        close(fd[1]);
        if (read(fd[0], &h, sizeof(h)) != (ssize_t)sizeof(h))
                h = 0;
        close(fd[0]);
        require(waitpid(pid, &status, 0) == pid, "waitpid");
        expect(status == 0, "a forked child ended with status %#x", (unsigned)status);
        /* What follows finds the room that the child has had. */
        for (int i = 0; i < 5000 && w->side->engine && count_fds() > fds; i++)
                usleep(1000);
        return (long)(h >> 1);
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

/* Of an engine only. What does not fit now is refused, rightly; what is to fit later has room. */
long run_set_cache(struct place *w, const struct op *o, struct outcome *out)
{
        struct fl_engine *e = w->side->engine;
        size_t least = (w->side->ballast ? SMALLEST : CACHE - 8) * PAGE;

        (void)out;
        return e && fl_engine_set_cache(e, o->len > least ? o->len : least) && errno != EBUSY ? -1
                                                                                              : 0;
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
