/* SPDX-License-Identifier: Apache-2.0
 *
 * test_driver.c - what every driver must do, run on each; then what is the host files' own.
 *
 * A new driver: add a line to `subjects`. Host files are tried on the disk and on tmpfs, which
 * differ in what they allow O_DIRECT.
 */
#include "driver_fixture.h"

static const struct subject subjects[] = {
        { NULL, NULL, NULL },
        { NULL, NULL, "delay=10us" },
        { "posix", "/var/tmp", NULL },
        { "posix", "/dev/shm", NULL },
        { "uring", "/var/tmp", NULL },
        { "uring", "/dev/shm", NULL },
        { "uring", "/var/tmp", "seed=1" },
        { "auto", "/var/tmp", NULL },
        { NULL, NULL, "powercut=1000000" },
        { "uring", "/var/tmp", "powercut=1000000" },
        { "posix", "/var/tmp", "powercut=1000000,delay=10us" },
};

/* ---- the suite ---- */

struct shape {
        uint64_t offset, len;
        unsigned skew; /* of the buffer's address */
};

static const struct shape shapes[] = {
        { 0, PAGE_SIZE, 0 },  { PAGE_SIZE, 64 * PAGE_SIZE, 0 },
        { 512, 512, 0 },      { 0, PAGE_SIZE, 1 },
        { 7, 1, 0 },          { 4095, 2, 3 },
        { 100, 100000, 0 },   { 8192, 3 * PAGE_SIZE + 100, 0 },
        { 0, SIZE, 0 },       { SIZE - 100, 100, 0 },
        { 0, 300000 + 7, 0 }, { 3 * PAGE_SIZE, 5000, 64 },
};

static void reads_what_was_written(struct fixture *f)
{
        char *out = aligned_buffer(), *in = aligned_buffer();

        for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
                const struct shape *s = &shapes[i];
                int64_t len = (int64_t)s->len;

                fill(out + s->skew, s->len, i);
                memset(in, 0, 2 * SIZE);
                cr_assert_eq(do_io(f->dev, IO_WRITE, 0, s->offset, out + s->skew, s->len), len,
                             "%s: shape %u", f->what, i);
                cr_assert_eq(do_io(f->dev, IO_READ, 0, s->offset, in + s->skew, s->len), len,
                             "%s: shape %u", f->what, i);
                cr_assert_arr_eq(in + s->skew, out + s->skew, s->len, "%s: shape %u", f->what, i);
        }
        free(out);
        free(in);
}

static void gathers_and_scatters(struct fixture *f)
{
        char *out = aligned_buffer(), *in = aligned_buffer();
        struct iovec to[3] = {
                { out + 8192, 8192 },
                { out, 4096 },
                { out + 65536 + 1, 1000 },
        };
        struct iovec from[4] = {
                { in, 100 }, { in + 100, 3996 }, { in + 4096, 8192 }, { in + 12288, 1000 }
        };

        fill(out, SIZE, 5);
        cr_assert_eq(do_iov(f->dev, IO_WRITE, 0, 4096, to, 3), 13288, "%s", f->what);
        cr_assert_eq(do_iov(f->dev, IO_READ, 0, 4096, from, 4), 13288, "%s", f->what);
        cr_assert_arr_eq(in, out + 8192, 8192, "%s", f->what);
        cr_assert_arr_eq(in + 8192, out, 4096, "%s", f->what);
        cr_assert_arr_eq(in + 12288, out + 65537, 1000, "%s", f->what);
        free(out);
        free(in);
}

static void reads_end_with_the_device(struct fixture *f)
{
        char *buf = aligned_buffer();

        cr_expect_eq(do_io(f->dev, IO_READ, 0, SIZE - 4096, buf, 16384), 4096, "%s", f->what);
        cr_expect_eq(do_io(f->dev, IO_READ, 0, SIZE - 10, buf, 100), 10, "%s", f->what);
        cr_expect_eq(do_io(f->dev, IO_READ, 0, SIZE, buf, 4096), 0, "%s", f->what);
        cr_expect_eq(do_io(f->dev, IO_READ, 0, SIZE + 8192, buf, 4096), 0, "%s", f->what);
        free(buf);
}

static void an_odd_size_is_kept(struct fixture *f)
{
        char *buf = aligned_buffer(), *in = aligned_buffer();
        uint64_t seen;

        cr_assert_eq(f->dev->ops->resize(f->dev, 10000), 0, "%s", f->what);
        cr_expect_eq(f->dev->size, 10000, "%s", f->what);
        fill(buf, 10000, 9);
        cr_expect_eq(do_io(f->dev, IO_WRITE, 0, 0, buf, 10000), 10000, "%s", f->what);
        cr_expect_eq(do_io(f->dev, IO_READ, 0, 0, in, 12288), 10000, "%s", f->what);
        cr_expect_arr_eq(in, buf, 10000, "%s", f->what);
        if (f->dev->ops->refresh)
                cr_expect_eq(f->dev->ops->refresh(f->dev, &seen), 0, "%s", f->what);
        cr_expect_eq(f->dev->size, 10000, "%s: never padded", f->what);
        free(buf);
        free(in);
}

static void what_is_cut_off_comes_back_as_zeros(struct fixture *f)
{
        char *buf = aligned_buffer();

        memset(buf, 'x', SIZE);
        cr_assert_eq(do_io(f->dev, IO_WRITE, 0, 0, buf, 16384), 16384, "%s", f->what);
        cr_assert_eq(f->dev->ops->resize(f->dev, 5000), 0, "%s", f->what);
        cr_assert_eq(f->dev->ops->resize(f->dev, 16384), 0, "%s", f->what);
        cr_assert_eq(do_io(f->dev, IO_READ, 0, 0, buf, 16384), 16384, "%s", f->what);
        for (unsigned i = 0; i < 16384; i++)
                cr_assert_eq(buf[i], i < 5000 ? 'x' : 0, "%s: byte %u", f->what, i);
        free(buf);
}

static void durable_writes(struct fixture *f)
{
        char *buf = aligned_buffer();

        cr_expect(f->dev->fua);
        fill(buf, 8192, 1);
        cr_expect_eq(do_io(f->dev, IO_WRITE, DRIVER_FUA, 0, buf, 8192), 8192, "%s", f->what);
        cr_expect_eq(do_io(f->dev, IO_WRITE, DRIVER_FUA, 50, buf, 333), 333, "%s", f->what);
        cr_expect_eq(do_io(f->dev, IO_FLUSH, 0, 0, NULL, 0), 0, "%s", f->what);
        free(buf);
}

static int64_t do_range(struct device *dev, enum io_op op, uint32_t flags, uint64_t offset,
                        uint64_t len)
{
        struct sync_io s = {
                .io = { .op = op, .flags = flags, .offset = offset, .len = len, .done = sync_done },
        };

        device_submit(dev, &s.io);
        device_commit(dev);
        return sync_wait(&s);
}

/* A host may be without the second kind; then nothing has changed. */
static void zeroes_ranges(struct fixture *f)
{
        static const struct {
                uint32_t flags;
                uint64_t offset, len;
        } range[] = {
                { 0, 4096, 8192 },        { 0, 20000, 100 },
                { 0, 28000, 20000 },      { DRIVER_NOUNMAP, 65536, 4096 },
                { 0, SIZE - 4096, 4096 },
        };
        char *want = aligned_buffer(), *got = aligned_buffer();
        uint64_t seen;

        cr_assert_gt(f->dev->max_write_zeroes, 0, "%s", f->what);
        memset(want, 'x', SIZE);
        cr_assert_eq(do_io(f->dev, IO_WRITE, 0, 0, want, SIZE), SIZE, "%s", f->what);
        for (unsigned i = 0; i < ARRAY_SIZE(range); i++) {
                int64_t n = do_range(f->dev, IO_WRITE_ZEROES, range[i].flags, range[i].offset,
                                     range[i].len);

                if (n == -EOPNOTSUPP && range[i].flags)
                        continue;
                cr_assert_eq(n, (int64_t)range[i].len, "%s: range %u: %ld", f->what, i, n);
                memset(want + range[i].offset, 0, range[i].len);
        }
        cr_assert_eq(do_io(f->dev, IO_READ, 0, 0, got, SIZE), SIZE, "%s", f->what);
        cr_assert_arr_eq(got, want, SIZE, "%s", f->what);
        if (f->dev->ops->refresh)
                cr_assert_eq(f->dev->ops->refresh(f->dev, &seen), 0);
        cr_assert_eq(f->dev->size, SIZE, "%s", f->what);
        free(want);
        free(got);
}

static void discards_ranges(struct fixture *f)
{
        char *buf = aligned_buffer();

        cr_assert_gt(f->dev->max_discard, 0, "%s", f->what);
        memset(buf, 'x', SIZE);
        cr_assert_eq(do_io(f->dev, IO_WRITE, 0, 0, buf, SIZE), SIZE, "%s", f->what);
        cr_assert_eq(do_range(f->dev, IO_DISCARD, 0, 65536, 131072), 131072, "%s", f->what);
        cr_assert_eq(do_io(f->dev, IO_READ, 0, 0, buf, SIZE), SIZE, "%s", f->what);
        for (unsigned i = 0; i < SIZE; i++)
                cr_assert(buf[i] == 'x' || (i >= 65536 && i < 65536 + 131072), "%s: byte %u",
                          f->what, i);
        free(buf);
}

static void refuses_what_it_cannot(struct fixture *f)
{
        char *buf = aligned_buffer();

        cr_expect_eq(do_io(f->dev, (enum io_op)5, 0, 0, buf, 4096), -EOPNOTSUPP, "%s", f->what);
        cr_expect_eq(do_io(f->dev, IO_READ, 0, 0, NULL, 0), 0, "%s", f->what);
        free(buf);
}

/* Every I/O has a page of its own; each is written and read back while all the others are, too. */
static void many_in_flight(struct fixture *f, unsigned n)
{
        struct sync_io *ios = calloc(n, sizeof *ios);
        struct iovec *iov = calloc(n, sizeof *iov);
        char *out = aligned_alloc(PAGE_SIZE, n * PAGE_SIZE);
        char *in = aligned_alloc(PAGE_SIZE, n * PAGE_SIZE);
        enum io_op op = IO_WRITE;

        fill(out, n * PAGE_SIZE, n);
        for (;;) {
                for (unsigned i = 0; i < n; i++) {
                        iov[i].iov_base = (op == IO_WRITE ? out : in) + i * PAGE_SIZE;
                        iov[i].iov_len = PAGE_SIZE;
                        ios[i] = (struct sync_io){ .io = { .op = op, .len = PAGE_SIZE } };
                        ios[i].io.offset = (n - 1 - i) * PAGE_SIZE;
                        ios[i].io.iov = &iov[i];
                        ios[i].io.iovcnt = 1;
                        ios[i].io.done = sync_done;
                        device_submit(f->dev, &ios[i].io);
                }
                device_commit(f->dev);
                for (unsigned i = 0; i < n; i++)
                        cr_assert_eq(sync_wait(&ios[i]), PAGE_SIZE, "%s: %u", f->what, i);
                if (op == IO_READ)
                        break;
                op = IO_READ;
        }
        cr_assert_arr_eq(in, out, n * PAGE_SIZE, "%s", f->what);
        free(ios);
        free(iov);
        free(out);
        free(in);
}

static void sixty_four_in_flight(struct fixture *f)
{
        many_in_flight(f, 64);
}

/* More than any ring holds at once. */
static void three_thousand_in_flight(struct fixture *f)
{
        cr_assert_eq(f->dev->ops->resize(f->dev, 3000 * PAGE_SIZE), 0);
        many_in_flight(f, 3000);
}

/* A completion that submits the next: on a loop thread that is the other way into the ring. */
struct chain {
        struct sync_io s;
        struct iovec iov;
        struct device *dev;
        unsigned left;
        char *buf;
};

static void chain_done(struct driver_io *io)
{
        struct chain *c = container_of(io, struct chain, s.io);
        struct device *dev = c->dev;

        if (io->result != PAGE_SIZE || !c->left--) {
                sync_done(io);
                return;
        }
        c->iov = (struct iovec){ .iov_base = c->buf, .iov_len = PAGE_SIZE };
        io->iov = &c->iov;
        io->iovcnt = 1;
        device_submit(dev, io);
        device_commit(dev);
}

static void completions_may_submit(struct fixture *f)
{
        struct chain c = { .dev = f->dev, .left = 200, .buf = aligned_buffer() };

        c.iov = (struct iovec){ .iov_base = c.buf, .iov_len = PAGE_SIZE };
        c.s.io = (struct driver_io){ .op = IO_READ, .len = PAGE_SIZE, .iov = &c.iov, .iovcnt = 1 };
        c.s.io.done = chain_done;
        device_submit(f->dev, &c.s.io);
        device_commit(f->dev);
        cr_expect_eq(sync_wait(&c.s), PAGE_SIZE, "%s", f->what);
        free(c.buf);
}

static void run_on_all(void (*test)(struct fixture *))
{
        for (unsigned i = 0; i < ARRAY_SIZE(subjects); i++) {
                struct fixture f;

                if (!fixture_open(&f, &subjects[i]))
                        continue;
                test(&f);
                fixture_close(&f);
        }
}

#define ON_ALL(name)                                                                               \
        Test(driver, name)                                                                         \
        {                                                                                          \
                run_on_all(name);                                                                  \
        }
ON_ALL(reads_what_was_written)
ON_ALL(gathers_and_scatters)
ON_ALL(reads_end_with_the_device)
ON_ALL(an_odd_size_is_kept)
ON_ALL(what_is_cut_off_comes_back_as_zeros)
ON_ALL(durable_writes)
ON_ALL(zeroes_ranges)
ON_ALL(discards_ranges)
ON_ALL(refuses_what_it_cannot)
ON_ALL(sixty_four_in_flight)
ON_ALL(three_thousand_in_flight)
ON_ALL(completions_may_submit)

/* ---- ram's own ---- */

Test(driver, ram_refuses_writes_beyond_its_end)
{
        struct fixture f;
        char *buf = aligned_buffer();

        fixture_open(&f, &subjects[0]);
        cr_expect_eq(do_io(f.dev, IO_WRITE, 0, SIZE - 100, buf, 101), -ENOSPC);
        cr_expect_eq(do_io(f.dev, IO_WRITE, 0, UINT64_MAX - 100, buf, 101), -ENOSPC);
        cr_expect_eq(do_range(f.dev, IO_DISCARD, 0, SIZE - 100, 101), -ENOSPC);
        cr_expect_eq(do_range(f.dev, IO_WRITE_ZEROES, 0, UINT64_MAX - 100, 101), -ENOSPC);
        cr_expect_eq(device_fd(f.dev), -1);
        cr_expect_eq(f.dev->ops->resize(f.dev, UINT64_MAX), -EFBIG);
        fixture_close(&f);
        free(buf);
}

/* ---- the host files' own ---- */

static void run_on_files(void (*test)(struct fixture *))
{
        for (unsigned i = 0; i < ARRAY_SIZE(subjects); i++) {
                struct fixture f;

                if (!subjects[i].driver || !fixture_open(&f, &subjects[i]))
                        continue;
                test(&f);
                fixture_close(&f);
        }
}

static void another_program_sees_it(struct fixture *f)
{
        char *buf = aligned_buffer(), seen[300] = "";
        int fd = open(f->path, O_RDONLY);

        fill(buf, 8192 + 300, 3);
        cr_assert_eq(do_io(f->dev, IO_WRITE, 0, SIZE - 4096, buf, 8192 + 300), 8192 + 300);
        cr_expect_eq(pread(fd, seen, 300, SIZE + 4096), 300, "%s", f->what);
        cr_expect_arr_eq(seen, buf + 8192, 300, "%s", f->what);
        cr_assert_geq(device_fd(f->dev), 0);
        cr_expect(!(fcntl(device_fd(f->dev), F_GETFL) & O_NONBLOCK), "%s", f->what);
        close(fd);
        free(buf);
}

static void refresh_sees_another_size(struct fixture *f)
{
        uint64_t seen = 0;
        char buf[100];

        cr_assert_eq(truncate(f->path, 12345), 0);
        cr_expect_eq(f->dev->size, SIZE);
        cr_expect_eq(f->dev->ops->refresh(f->dev, &seen), 0);
        cr_expect_eq(seen, 12345);
        cr_expect_eq(f->dev->size, 12345, "%s", f->what);
        cr_expect_eq(do_io(f->dev, IO_READ, 0, 12300, buf, 100), 45, "%s", f->what);
}

static void read_only_refuses_writes(struct fixture *f)
{
        char *buf = aligned_buffer();

        device_close(f->dev);
        f->dev = NULL;
        cr_assert_eq(chmod(f->path, 0400), 0);
        cr_assert_eq(device_open_file(&f->env, f->path, O_RDONLY, &f->dev), 0);
        cr_expect(f->dev->read_only);
        cr_expect_eq(do_io(f->dev, IO_WRITE, 0, 0, buf, 4096), -EROFS, "%s", f->what);
        cr_expect_eq(do_io(f->dev, IO_READ, 0, 0, buf, 4096), 4096, "%s", f->what);
        cr_expect_eq(f->dev->ops->resize(f->dev, 1), -EROFS, "%s", f->what);
        free(buf);
}

Test(driver, another_program_sees_it)
{
        run_on_files(another_program_sees_it);
}

Test(driver, refresh_sees_another_size)
{
        run_on_files(refresh_sees_another_size);
}

Test(driver, read_only_refuses_writes)
{
        run_on_files(read_only_refuses_writes);
}

Test(driver, open_errors, .timeout = 20)
{
        struct fixture f;
        struct device *dev;
        char fifo[96];

        fixture_open(&f, &subjects[2]);
        cr_expect_eq(device_open_file(&f.env, "/var/tmp/fl-no-such-file", O_RDONLY, &dev), -ENOENT);
        cr_expect_eq(device_open_file(&f.env, "/var/tmp", O_RDONLY, &dev), -EISDIR);
        cr_expect_eq(device_open_file(&f.env, "/dev/null", O_RDONLY, &dev), -ENODEV);
        cr_expect_eq(device_open_file(&f.env, f.path, O_WRONLY, &dev), -EINVAL);
        snprintf(fifo, sizeof fifo, "%s.fifo", f.path);
        cr_assert_eq(mkfifo(fifo, 0600), 0);
        cr_expect_eq(device_open_file(&f.env, fifo, O_RDONLY, &dev), -ENODEV);
        unlink(fifo);
        f.env.driver = "tape";
        cr_expect_eq(device_open_file(&f.env, f.path, O_RDONLY, &dev), -EINVAL);
        fixture_close(&f);
}

Test(driver, uring_needs_a_loop_and_auto_does_not)
{
        struct trace trace;
        struct driver_env env = { .trace = &trace, .driver = "uring" };
        struct device *dev;

        trace_init(&trace);
        cr_expect_eq(device_open_file(&env, "/proc/self/exe", O_RDONLY, &dev), -ENOSYS);
        env.driver = NULL;
        cr_assert_eq(device_open_file(&env, "/proc/self/exe", O_RDONLY, &dev), 0);
        cr_expect_str_eq(dev->ops->name, "posix");
        device_close(dev);
        driver_env_destroy(&env);
}
