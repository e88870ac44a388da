/* SPDX-License-Identifier: Apache-2.0
 *
 * fake_device.h - a device under a queue that writes down what reaches it, and completes when told.
 *
 * Every I/O is kept in `log` as it was submitted, and in `pending` until fake_complete(). With
 * `immediate` it completes within submit, as ram does. fake_queue_open() puts a queue on one; time is
 * what the test says it is, in fake_clock.
 */
#ifndef TEST_FAKE_DEVICE_H
#define TEST_FAKE_DEVICE_H

#include <criterion/criterion.h>
#include <string.h>

#include "block/request.h"

#define FAKE_MAX 512
#define FAKE_BIOS 1024

struct fake_io {
        enum io_op op;
        uint32_t flags, opf;
        uint64_t offset, len;
        unsigned iovcnt, bios;
        char letter;      /* of the first bio; see fake_bio(). '0': a flush */
        char picture[64]; /* a letter per page */
};

struct fake_device {
        struct device dev;
        struct fake_io log[FAKE_MAX];
        unsigned logged;
        struct driver_io *pending[FAKE_MAX];
        unsigned nr_pending;
        unsigned commits;
        bool immediate;
        int64_t (*result)(struct fake_device *, struct driver_io *); /* NULL: all of it */
        bool closed;
        /* what the bios of fake_bio() ended with, by letter */
        int status[256];
        uint32_t done[256];
        unsigned ended;
        char end_order[FAKE_BIOS];
};

struct fake_queue {
        struct fake_device fake;
        struct trace trace;
        struct driver_env env;
        struct block_pool *pool;
        struct request_queue *q;
};

static inline void fake_draw(struct fake_io *entry, const struct request *rq)
{
        unsigned from = (unsigned)(rq->sector >> (PAGE_SHIFT - SECTOR_SHIFT));

        memset(entry->picture, '.', sizeof entry->picture - 1);
        entry->letter = rq->bio ? (char)(uintptr_t)rq->bio->bi_private : '0';
        for (const struct bio *bio = rq->bio; bio; bio = bio->bi_next)
                for (uint32_t i = 0; i < pages_of(bio->bi_size); i++, from++)
                        if (from < sizeof entry->picture - 1)
                                entry->picture[from] = (char)(uintptr_t)bio->bi_private;
}

static inline int64_t fake_result(struct fake_device *f, struct driver_io *io)
{
        return f->result ? f->result(f, io) : (int64_t)io->len;
}

static inline struct fake_io *fake_log(struct fake_device *f, struct driver_io *io)
{
        const struct request *rq = container_of(io, struct request, io);
        struct fake_io *entry = &f->log[f->logged++];

        cr_assert_lt(f->logged, FAKE_MAX);
        *entry = (struct fake_io){
                .op = io->op,
                .flags = io->flags,
                .opf = rq->opf,
                .offset = io->offset,
                .len = io->len,
                .iovcnt = io->iovcnt,
                .bios = rq->nr_bios,
        };
        fake_draw(entry, rq);
        return entry;
}

static inline void fake_submit(struct device *dev, struct driver_io *io)
{
        struct fake_device *f = container_of(dev, struct fake_device, dev);

        fake_log(f, io);
        if (f->immediate) {
                io->result = fake_result(f, io);
                io->done(io);
                return;
        }
        f->pending[f->nr_pending++] = io;
}

static inline void fake_commit(struct device *dev)
{
        container_of(dev, struct fake_device, dev)->commits++;
}

static inline void fake_close(struct device *dev)
{
        container_of(dev, struct fake_device, dev)->closed = true;
}

/* The oldest I/O at the device ends. */
static inline void fake_complete(struct fake_device *f)
{
        struct driver_io *io = f->pending[0];

        cr_assert_gt(f->nr_pending, 0);
        f->nr_pending--;
        memmove(f->pending, f->pending + 1, f->nr_pending * sizeof f->pending[0]);
        io->result = fake_result(f, io);
        io->done(io);
}

static inline void fake_complete_all(struct fake_device *f)
{
        while (f->nr_pending)
                fake_complete(f);
}

static const struct driver_ops fake_ops = {
        .name = "fake",
        .signal_safe = true,
        .submit = fake_submit,
        .commit = fake_commit,
        .close = fake_close,
};

static uint64_t fake_clock;

static inline uint64_t fake_now(void)
{
        return fake_clock;
}

/* elevator: NULL for the default */
static inline void fake_queue_open_with(struct fake_queue *t, const char *elevator)
{
        fake_clock = 1;
        memset(t, 0, sizeof *t);
        trace_init(&t->trace);
        t->env.trace = &t->trace;
        t->fake.dev = (struct device){ .ops = &fake_ops, .env = &t->env, .size = 1ull << 40 };
        t->fake.dev.fua = true;
        cr_assert_eq(block_pool_create(&t->pool, FAKE_BIOS), 0);
        cr_assert_eq(block_pool_set_elevator(t->pool, elevator), 0);
        cr_assert_eq(blk_queue_create(&t->q, &t->fake.dev, t->pool, &t->trace), 0);
        t->q->now = fake_now;
}

static inline void fake_queue_open(struct fake_queue *t)
{
        fake_queue_open_with(t, NULL);
}

static inline void fake_queue_close(struct fake_queue *t)
{
        cr_assert_eq(t->fake.nr_pending, 0);
        blk_queue_destroy(t->q);
        cr_assert(t->fake.closed);
        block_pool_destroy(t->pool);
}

static inline void fake_end_io(struct bio *bio)
{
        struct fake_device *f = container_of(bio->bi_queue->dev, struct fake_device, dev);
        unsigned char letter = (unsigned char)(uintptr_t)bio->bi_private;

        f->status[letter] = bio->bi_status;
        f->done[letter] = bio->bi_done;
        f->end_order[f->ended++] = (char)letter;
}

/* A bio of whole pages that is drawn as `letter`. Neighbours on the device are neighbours in memory,
 * unless the test moves bi_buf. */
static inline struct bio *fake_bio(struct fake_queue *t, char letter, uint32_t opf, uint64_t page,
                                   uint32_t pages)
{
        static char memory[4 << 20];
        struct bio *bio = bio_alloc(t->q, opf, page << (PAGE_SHIFT - SECTOR_SHIFT),
                                    memory + page % 512 * PAGE_SIZE, pages * (uint32_t)PAGE_SIZE);

        cr_assert_not_null(bio);
        bio->bi_private = (void *)(uintptr_t)(unsigned char)letter;
        bio->bi_end_io = fake_end_io;
        return bio;
}

/* The letters of what reached the device from the `from`th I/O on. */
static inline const char *fake_letters(struct fake_queue *t, unsigned from)
{
        static char letters[FAKE_MAX];
        unsigned n = 0;

        for (; from + n < t->fake.logged; n++)
                letters[n] = t->fake.log[from + n].letter;
        letters[n] = 0;
        return letters;
}

static inline uint64_t fake_stat(struct fake_queue *t, enum counter which)
{
        return stat_get(&t->trace.stats, which);
}

#endif
