/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_block.c - the block layer by itself: what it costs a request, and what it leaves of a disk.
 *
 * Its queues are made here, not by an engine: of the rows' engine nothing is used but its options.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "block/block.h"
#include "util/lock.h"

#define PAGE_SECTORS (PAGE_SIZE / SECTOR_SIZE)

struct stack {
        struct trace trace;
        struct driver_env env;
        struct block_pool *pool;
        struct device *dev;
        struct request_queue *q; /* owns dev, once there is one */
};

static void stack_close(struct stack *s)
{
        if (s->q)
                blk_queue_destroy(s->q);
        else if (s->dev)
                device_close(s->dev);
        driver_env_destroy(&s->env);
        if (s->pool)
                block_pool_destroy(s->pool);
        if (s->env.loop)
                loop_destroy(s->env.loop);
}

/* `path`: a host file, or NULL: `bytes` of ram. 0 or an errno value. */
static int stack_open(struct stack *s, const struct options *o, const char *path, uint64_t bytes,
                      unsigned depth)
{
        int error;

        memset(s, 0, sizeof(*s));
        trace_init(&s->trace);
        s->env.trace = &s->trace;
        s->env.depth = depth;
        s->env.driver = o->driver;
        error = block_pool_create(&s->pool, 2 * depth); /* a bio ends before it is freed */
        if (!error)
                error = block_pool_set_elevator(s->pool, o->elevator);
        if (!error)
                error = loop_create(&s->env.loop, 1, "fl-bench");
        if (!error) {
                loop_set_spin(s->env.loop, o->spin);
                error = path ? device_open_file(&s->env, path, O_RDONLY, &s->dev)
                             : device_open_ram(&s->env, bytes, &s->dev);
        }
        if (!error)
                error = blk_queue_create(&s->q, s->dev, s->pool, &s->trace);
        if (error)
                stack_close(s);
        return -error;
}

/* ---- writes to ram: requests of two pages that merge, or the driver alone ---- */

#define RAM_PAGES 256  /* the processor's cache holds them: copying is not what is measured */
#define BATCH_PAGES 16 /* of a plug */
#define ROUNDS 1024    /* between two looks at the clock */

static void count_error(struct bio *bio)
{
        if (bio->bi_status)
                ++*(uint64_t *)bio->bi_private;
}

static bool write_batch(struct stack *s, char *buf, uint64_t round, uint64_t *errors)
{
        struct blk_plug plug;

        blk_start_plug(&plug);
        for (unsigned i = 0; i < BATCH_PAGES; i++) {
                /* Pairs of neighbours, the pairs apart. */
                uint64_t page = (round * 37 + i / 2 * 5) % (RAM_PAGES / 2) * 2 + i % 2;
                struct bio *bio = bio_alloc(s->q, IO_WRITE, page * PAGE_SECTORS,
                                            buf + i * PAGE_SIZE, PAGE_SIZE);

                if (!bio)
                        return false;
                bio->bi_end_io = count_error;
                bio->bi_private = errors;
                submit_bio(bio, &plug);
        }
        blk_finish_plug(&plug);
        return true;
}

static void driver_done(struct driver_io *io)
{
        (void)io;
}

static void write_to_driver(struct stack *s, char *buf, uint64_t round, uint64_t *errors)
{
        for (unsigned i = 0; i < BATCH_PAGES; i += 2) {
                struct iovec iov = { .iov_base = buf + i * PAGE_SIZE, .iov_len = 2 * PAGE_SIZE };
                struct driver_io io = {
                        .op = IO_WRITE,
                        .offset = (round * 37 + i / 2 * 5) % (RAM_PAGES / 2) * 2 * PAGE_SIZE,
                        .len = 2 * PAGE_SIZE,
                        .iov = &iov,
                        .iovcnt = 1,
                        .done = driver_done,
                };

                device_submit(s->dev, &io);
                *errors += io.result != 2 * (int64_t)PAGE_SIZE;
        }
}

int run_block_ram(struct work *w, struct bench_result *result)
{
        char *buf = aligned_alloc(PAGE_SIZE, BATCH_PAGES * PAGE_SIZE);
        uint64_t started, until, round = 0;
        struct stack s;
        int error = buf ? stack_open(&s, w->options, NULL, RAM_PAGES * PAGE_SIZE, 64) : ENOMEM;

        if (error) {
                free(buf);
                return error;
        }
        memset(buf, 0x5a, BATCH_PAGES * PAGE_SIZE);
        started = now_ns();
        until = started + (uint64_t)(w->job->seconds * 1e9);
        do {
                for (unsigned i = 0; i < ROUNDS && !error; i++, round++)
                        if (w->ops->small)
                                write_to_driver(&s, buf, round, &result->errors);
                        else if (!write_batch(&s, buf, round, &result->errors))
                                error = ENOMEM;
        } while (!error && now_ns() < until);
        result->units = round * BATCH_PAGES;
        result->ns = now_ns() - started;
        stack_close(&s);
        free(buf);
        return error;
}

/* ---- random reads of a file, always `depth` in flight ---- */

struct reads {
        struct stack stack;
        struct work *work;
        uint64_t until;
        _Atomic uint64_t done, errors;
        _Atomic uint32_t flying; /* readers that have not stopped; futex word */
};

struct reader {
        struct reads *reads;
        struct stream stream;
        char *buf;
};

/* False: there is no bio for it. */
static bool ask_next(struct reader *r);

static void read_done(struct bio *bio)
{
        struct reader *r = bio->bi_private;
        struct reads *all = r->reads;

        if (bio->bi_status || bio->bi_done != PAGE_SIZE)
                atomic_fetch_add(&all->errors, 1);
        else
                atomic_fetch_add(&all->done, 1);
        bench_keep(sum_bytes(r->buf, sizeof(uint64_t)));
        if (now_ns() < all->until && ask_next(r))
                return;
        if (atomic_fetch_sub(&all->flying, 1) == 1)
                futex_wake(&all->flying, 1);
}

static bool ask_next(struct reader *r)
{
        struct reads *all = r->reads;
        uint64_t page = all->work->load->next(&r->stream);
        struct bio *bio =
                bio_alloc(all->stack.q, IO_READ | REQ_SYNC, page * PAGE_SECTORS, r->buf, PAGE_SIZE);

        if (!bio)
                return false;
        bio->bi_end_io = read_done;
        bio->bi_private = r;
        submit_bio(bio, NULL);
        return true;
}

static struct reader *make_readers(struct reads *all, unsigned depth)
{
        struct reader *r = calloc(depth, sizeof(*r));
        char *buf = aligned_alloc(PAGE_SIZE, depth * PAGE_SIZE);

        if (!r || !buf) {
                free(r);
                free(buf);
                return NULL;
        }
        memset(buf, 0x5a, depth * PAGE_SIZE);
        for (unsigned i = 0; i < depth; i++) {
                r[i].reads = all;
                r[i].buf = buf + i * PAGE_SIZE;
                stream_begin(&r[i].stream, all->work, i);
        }
        return r;
}

/* The first of each are submitted here, the next by the thread that completions come to. */
static int read_for_a_time(struct reads *all, struct bench_result *result)
{
        unsigned depth = all->work->load->depth;
        struct reader *r = make_readers(all, depth);
        uint64_t started = now_ns();
        uint32_t flying;

        if (!r)
                return ENOMEM;
        all->until = started + (uint64_t)(all->work->job->seconds * 1e9);
        atomic_store(&all->flying, depth);
        for (unsigned i = 0; i < depth; i++)
                if (!ask_next(&r[i]))
                        atomic_fetch_sub(&all->flying, 1);
        while ((flying = atomic_load(&all->flying)))
                futex_wait(&all->flying, flying, 0);
        result->units = atomic_load(&all->done);
        result->errors = atomic_load(&all->errors);
        result->ns = now_ns() - started;
        free(r->buf);
        free(r);
        return 0;
}

int run_block_reads(struct work *w, struct bench_result *result)
{
        struct reads all = { .work = w };
        int error = stack_open(&all.stack, w->options, w->path, 0, w->load->depth);

        if (error)
                return error;
        error = read_for_a_time(&all, result);
        stack_close(&all.stack);
        return error;
}
