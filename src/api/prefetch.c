/* SPDX-License-Identifier: Apache-2.0
 *
 * prefetch.c - fl_prefetch and the calls on what it returns.
 */
#include "cache/prefetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/engine.h"

#define SLICE_NS 20000000ull /* so often a wait lets signals in */

struct fl_prefetch {
        struct fl_engine *engine;
        struct file *file; /* held: the caller's may be closed meanwhile */
        struct prefetch *prefetch;
};

/* A descriptor of our own for the same; -1: there is none, or -errno. */
static int take_eventfd(int fd)
{
        char path[40], target[40];
        int own;
        ssize_t n;

        if (fd == -1)
                return -1;
        own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (own < 0)
                return -errno;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", own);
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                return own; /* no /proc: it is believed */
        target[n] = 0;
        if (strcmp(target, "anon_inode:[eventfd]") == 0)
                return own;
        close(own);
        return -EINVAL;
}

/* 0 or -EINVAL */
static int span_of(const struct fl_file *f, const struct fl_range *r, struct prefetch_span *s)
{
        struct address_space *m = f->file->mapping;
        uint64_t unit = m->cache->page_pages, pages = mapping_pages(m);

        if (r->offset < 0 || r->len > (uint64_t)INT64_MAX - (uint64_t)r->offset)
                return -EINVAL;
        s->first = round_down_u64((uint64_t)r->offset >> PAGE_SHIFT, unit);
        s->end = min_u64(round_up_u64(pages_of((uint64_t)r->offset + r->len), unit), pages);
        if (r->len == 0)
                s->end = s->first;
        return 0;
}

/* The ranges may lie in mapped memory: nothing is held. NULL and *error. */
static struct prefetch_span *spans_of(const struct fl_file *f, const struct fl_range *ranges,
                                      size_t nr, int *error)
{
        struct prefetch_span *spans = NULL;

        if (nr <= PTRDIFF_MAX / sizeof(*spans))
                spans = calloc(nr ? nr : 1, sizeof(*spans));
        *error = spans ? 0 : -ENOMEM;
        for (size_t i = 0; i < nr && !*error; i++)
                *error = span_of(f, &ranges[i], &spans[i]);
        if (!*error)
                return spans;
        free(spans);
        return NULL;
}

static int begin(struct fl_prefetch *p, const struct fl_file *f, const struct fl_range *ranges,
                 size_t nr, int eventfd)
{
        struct prefetch_span *spans;
        int error, fd;

        spans = spans_of(f, ranges, nr, &error);
        if (!spans)
                return error;
        fd = take_eventfd(eventfd);
        if (fd < -1) {
                free(spans);
                return fd;
        }
        file_get(f->file);
        error = prefetch_start(f->file, spans, nr, fd, &p->prefetch);
        if (!error)
                return 0;
        file_put(f->file); /* not the last */
        if (fd >= 0)
                close(fd);
        return error;
}

struct fl_prefetch *fl_prefetch(struct fl_file *f, const struct fl_range *ranges, size_t nr,
                                int eventfd)
{
        struct fl_prefetch *p;
        int error;

        begin_call();
        if (fl_refuse(f->engine, "prefetching"))
                return NULL;
        if ((f->oflags & O_ACCMODE) == O_WRONLY) {
                fl_fail(EBADF, f->file->inode->name, "prefetching",
                        "the file is not open for that");
                return NULL;
        }
        if (nr && !ranges) {
                fl_fail(EFAULT, f->file->inode->name, "prefetching", NULL);
                return NULL;
        }
        p = calloc(1, sizeof(*p));
        error = p ? begin(p, f, ranges, nr, eventfd) : -ENOMEM;
        if (error) {
                free(p);
                fl_result(error, f->file->inode->name, "prefetching");
                return NULL;
        }
        p->engine = f->engine;
        p->file = f->file;
        atomic_fetch_add(&p->engine->nr_prefetches, 1);
        return p;
}

static void report(const struct prefetch *p, struct fl_prefetch_result *out)
{
        struct fl_prefetch_result now = {
                .size = out->size,
                .wanted = p->wanted << PAGE_SHIFT,
                .read = atomic_load(&p->read) << PAGE_SHIFT,
                .failed = atomic_load(&p->failed) << PAGE_SHIFT,
                .left = (p->wanted - atomic_load(&p->passed)) << PAGE_SHIFT,
                .error = -atomic_load(&p->error),
        };

        memcpy(out, &now, out->size < sizeof(now) ? out->size : sizeof(now));
}

int fl_prefetch_wait(struct fl_prefetch *p, uint64_t timeout, struct fl_prefetch_result *result)
{
        uint64_t now, until;
        bool over;

        begin_call();
        if (fl_refuse(p->engine, "waiting for what is prefetched"))
                return -1;
        if (result && result->size < sizeof(result->size))
                return fl_fail(EINVAL, NULL, "waiting for what is prefetched", "no size");
        now = now_ns();
        until = timeout > UINT64_MAX - now ? UINT64_MAX : now + timeout;
        while (!(over = prefetch_wait(p->prefetch, min_u64(until - now, SLICE_NS)))) {
                signals_let_in();
                now = now_ns();
                if (now >= until)
                        break;
        }
        if (result)
                report(p->prefetch, result);
        if (over)
                return 0;
        errno = EAGAIN;
        return -1;
}

int fl_prefetch_cancel(struct fl_prefetch *p)
{
        begin_call();
        if (fl_refuse(p->engine, "cancelling"))
                return -1;
        prefetch_cancel(p->prefetch);
        return 0;
}

int fl_prefetch_end(struct fl_prefetch *p)
{
        struct fl_engine *e;
        char name[256];
        int error;

        begin_call();
        if (!p)
                return 0;
        e = p->engine;
        if (fl_refuse(e, "ending what is prefetched"))
                return -1;
        snprintf(name, sizeof(name), "%s", p->file->inode->name);
        prefetch_cancel(p->prefetch);
        while (!prefetch_wait(p->prefetch, SLICE_NS))
                signals_let_in();
        prefetch_end(p->prefetch);
        error = file_put(p->file);
        free(p);
        atomic_fetch_sub(&e->nr_prefetches, 1);
        return fl_result(error, name, "closing");
}
