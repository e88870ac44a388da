/* SPDX-License-Identifier: Apache-2.0
 *
 * driver_fixture.h - a device under test with what it lives on, and one I/O at a time to it.
 */
#ifndef TEST_DRIVER_FIXTURE_H
#define TEST_DRIVER_FIXTURE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/driver.h"
#include "util/lock.h"

#define SIZE (1u << 20)

struct subject {
        const char *driver; /* NULL: ram */
        const char *dir;
        const char *faults;
};

struct fixture {
        const struct subject *subject;
        struct trace trace;
        struct loop *loop;
        struct driver_env env;
        struct device *dev;
        char path[64];
        char what[96];
};

/* False: not on this machine. */
static inline bool fixture_open(struct fixture *f, const struct subject *s)
{
        int fd, err;

        memset(f, 0, sizeof *f);
        f->subject = s;
        snprintf(f->what, sizeof f->what, "%s %s %s", s->driver ? s->driver : "ram",
                 s->dir ? s->dir : "", s->faults ? s->faults : "");
        trace_init(&f->trace);
        cr_assert_eq(loop_create(&f->loop, 1, "test"), 0);
        f->env = (struct driver_env){ .loop = f->loop, .trace = &f->trace };
        f->env.driver = s->driver;
        f->env.faults = s->faults;
        if (!s->driver) {
                cr_assert_eq(device_open_ram(&f->env, SIZE, &f->dev), 0);
                return true;
        }
        snprintf(f->path, sizeof f->path, "%s/fl-driver-XXXXXX", s->dir);
        fd = mkstemp(f->path);
        cr_assert_geq(fd, 0, "%s: %s", f->path, strerror(errno));
        cr_assert_eq(ftruncate(fd, SIZE), 0);
        close(fd);
        err = device_open_file(&f->env, f->path, O_RDWR, &f->dev);
        if (!err)
                return true;
        cr_assert(!strcmp(s->driver, "uring"), "%s: %s", f->what, strerror(-err));
        unlink(f->path);
        driver_env_destroy(&f->env);
        loop_destroy(f->loop);
        return false;
}

static inline void fixture_close(struct fixture *f)
{
        if (f->dev)
                device_close(f->dev);
        driver_env_destroy(&f->env);
        loop_destroy(f->loop);
        if (f->path[0])
                unlink(f->path);
}

/* ---- one I/O, waited for ---- */

struct sync_io {
        struct driver_io io;
        _Atomic uint32_t done;
};

static inline void sync_done(struct driver_io *io)
{
        struct sync_io *s = container_of(io, struct sync_io, io);

        atomic_store(&s->done, 1);
        futex_wake(&s->done, 1);
}

static inline int64_t sync_wait(struct sync_io *s)
{
        while (!atomic_load(&s->done))
                cr_assert_eq(futex_wait(&s->done, 0, 10000000000ull), 0, "an I/O was lost");
        return s->io.result;
}

static inline int64_t do_iov(struct device *dev, enum io_op op, uint32_t flags, uint64_t offset,
                             struct iovec *iov, unsigned n)
{
        struct sync_io s = {
                .io = { .op = op, .flags = flags, .offset = offset, .iov = iov, .iovcnt = n },
        };

        for (unsigned i = 0; i < n; i++)
                s.io.len += iov[i].iov_len;
        s.io.done = sync_done;
        device_submit(dev, &s.io);
        device_commit(dev);
        return sync_wait(&s);
}

static inline int64_t do_io(struct device *dev, enum io_op op, uint32_t flags, uint64_t offset,
                            void *buf, uint64_t len)
{
        struct iovec iov = { .iov_base = buf, .iov_len = len };

        return do_iov(dev, op, flags, offset, &iov, len > 0);
}

static inline char *aligned_buffer(void)
{
        char *p = aligned_alloc(PAGE_SIZE, 2 * SIZE);

        cr_assert_not_null(p);
        return p;
}

static inline void fill(char *p, size_t n, unsigned seed)
{
        for (size_t i = 0; i < n; i++)
                p[i] = (char)((i >> 9) * 31 + i * 7 + seed);
}

#endif
