/* SPDX-License-Identifier: Apache-2.0
 *
 * block_stress.c - several threads on one queue, over every driver, reading back what they wrote.
 *
 * Each thread owns a region of pages and writes stamps of its own there, in plugged batches that
 * merge, now and then with FUA or a flush. Faults are injected; a page whose write failed may hold
 * either stamp. At the end the counters must add up.
 * Usage: block_stress [MILLISECONDS per device]
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/block.h"
#include "util/lock.h"

#define THREADS 4
#define REGION 64 /* pages a thread owns */
#define BATCH 24
#define LEAST_ROUNDS 64 /* so many meet every fault and merge, however slow the machine */
#define PAGE_SECTORS (PAGE_SIZE / SECTOR_SIZE)

struct subject {
        const char *name, *driver, *faults;
};

static const struct subject subjects[] = {
        { "ram", NULL, NULL },
        { "ram, delayed", NULL, "delay=50us" },
        { "ram, failing", NULL, "eio@100K+4K,eio@700K+8K*100,enospc@300K+4K" },
        { "posix", "posix", NULL },
        { "posix, failing", "posix", "eio@100K+4K,eio@700K+8K*100" },
        { "uring", "uring", NULL },
        { "uring, failing and delayed", "uring", "eio@100K+4K,delay=20us@0+200K" },
};

struct worker {
        struct request_queue *q;
        pthread_t thread;
        uint64_t first_page, seed, deadline;
        char *buf;              /* BATCH pages */
        uint64_t stamp[REGION]; /* what the page holds, or the newer of two possible */
        uint64_t older[REGION];
        _Atomic uint32_t pending; /* bios of the batch, and one for the submitter */
        uint64_t rounds, failed;
        const char *broken;
};

static uint64_t random_next(uint64_t *seed)
{
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        return *seed >> 33;
}

static void stamp_page(char *p, uint64_t stamp)
{
        for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
                ((uint64_t *)p)[i] = stamp + i;
}

static bool has_stamp(const char *p, uint64_t stamp)
{
        if (!stamp) /* never written: zeros */
                return !*p && !memcmp(p, p + 1, PAGE_SIZE - 1);
        for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
                if (((const uint64_t *)p)[i] != stamp + i)
                        return false;
        return true;
}

static void put_batch(struct worker *w)
{
        if (atomic_fetch_sub(&w->pending, 1) == 1)
                futex_wake(&w->pending, 1);
}

static void end_page(struct bio *bio)
{
        struct worker *w = bio->bi_private;
        unsigned page = (unsigned)(bio->bi_sector / PAGE_SECTORS - w->first_page);

        if (bio->bi_status) {
                __atomic_fetch_add(&w->failed, 1, __ATOMIC_RELAXED);
        } else if ((bio->bi_opf & REQ_OP_MASK) == IO_WRITE) {
                w->older[page] = w->stamp[page];
        } else if (bio->bi_done != bio->bi_size) {
                w->broken = "a short read within the device";
        } else if (!has_stamp(bio->bi_buf, w->stamp[page]) &&
                   !has_stamp(bio->bi_buf, w->older[page])) {
                w->broken = "a page holds what was not written there";
        }
        put_batch(w);
}

static uint32_t random_write(struct worker *w)
{
        static const uint32_t flags[] = {
                0, 0, 0, 0, 0, REQ_SYNC, REQ_SYNC, REQ_FUA, REQ_PREFLUSH
        };

        return IO_WRITE | flags[random_next(&w->seed) % ARRAY_SIZE(flags)];
}

static void submit_page(struct worker *w, unsigned page, unsigned slot, uint32_t opf,
                        struct blk_plug *plug)
{
        char *buf = w->buf + slot * PAGE_SIZE;
        struct bio *bio =
                bio_alloc(w->q, opf, (w->first_page + page) * PAGE_SECTORS, buf, PAGE_SIZE);

        if (!bio) {
                w->broken = "the pool is empty";
                return;
        }
        if ((opf & REQ_OP_MASK) == IO_WRITE) {
                w->stamp[page] = (w->first_page + page) << 40 | w->rounds << 12 | 1;
                stamp_page(buf, w->stamp[page]);
        }
        bio->bi_private = w;
        bio->bi_end_io = end_page;
        atomic_fetch_add(&w->pending, 1);
        submit_bio(bio, plug);
}

static void run_batch(struct worker *w)
{
        bool write = random_next(&w->seed) & 1;
        unsigned n = 1 + (unsigned)(random_next(&w->seed) % BATCH);
        unsigned page = (unsigned)random_next(&w->seed) % REGION;
        unsigned step = random_next(&w->seed) & 1 ? 1 : REGION - 1; /* up or down */
        struct blk_plug plug;
        uint32_t left;

        atomic_store(&w->pending, 1);
        blk_start_plug(&plug);
        for (unsigned i = 0; i < n; i++, page = (page + step) % REGION) {
                uint32_t opf = random_next(&w->seed) & 1 ? IO_READ : IO_READ | REQ_RAHEAD;

                submit_page(w, page, i, write ? random_write(w) : opf, &plug);
        }
        blk_finish_plug(&plug);
        put_batch(w);
        while ((left = atomic_load(&w->pending)))
                if (futex_wait(&w->pending, left, 20000000000ull))
                        break;
        if (left)
                w->broken = "a bio was lost";
        w->rounds++;
}

static void *work(void *arg)
{
        struct worker *w = arg;

        while ((now_ns() < w->deadline || w->rounds < LEAST_ROUNDS) && !w->broken) {
                run_batch(w);
                if (w->rounds % 16 == 0 &&
                    submit_bio_wait(w->q, IO_WRITE | REQ_PREFLUSH, 0, NULL, 0, 0))
                        w->broken = "a flush failed";
                if (w->rounds % 8 == 0)
                        blk_queue_check(w->q);
        }
        return NULL;
}

static const char *check_counters(struct trace *t, bool faults)
{
        struct stats *s = &t->stats;

        if (stat_get(s, STAT_bios) != stat_get(s, STAT_requests) + stat_get(s, STAT_merges_back) +
                                              stat_get(s, STAT_merges_front))
                return "bios are not requests and merges";
        if (!stat_get(s, STAT_merges_back) || !stat_get(s, STAT_merges_front))
                return "nothing was merged";
        if (faults != (stat_get(s, STAT_io_errors) != 0))
                return "errors where none were asked for, or none where they were";
        return NULL;
}

static const char *run_workers(struct request_queue *q, uint64_t ms)
{
        struct worker *w = calloc(THREADS, sizeof *w);
        const char *broken = NULL;

        for (unsigned i = 0; i < THREADS; i++) {
                w[i].q = q;
                w[i].first_page = i * REGION;
                w[i].seed = i + 1;
                w[i].deadline = now_ns() + ms * 1000000;
                w[i].buf = aligned_alloc(PAGE_SIZE, BATCH * PAGE_SIZE);
                pthread_create(&w[i].thread, NULL, work, &w[i]);
        }
        for (unsigned i = 0; i < THREADS; i++) {
                pthread_join(w[i].thread, NULL);
                broken = broken ? broken : w[i].broken;
                free(w[i].buf);
        }
        free(w);
        return broken;
}

static int open_device(struct driver_env *env, struct device **dev)
{
        char path[] = "/var/tmp/fl-block-stress-XXXXXX";
        int fd, err;

        if (!env->driver)
                return device_open_ram(env, THREADS * REGION * PAGE_SIZE, dev);
        fd = mkstemp(path);
        if (fd < 0 || ftruncate(fd, THREADS * REGION * PAGE_SIZE))
                return -errno;
        close(fd);
        err = device_open_file(env, path, O_RDWR, dev);
        unlink(path);
        return err;
}

/* What is wrong, or NULL. */
static const char *run(const struct subject *s, uint64_t ms)
{
        static struct trace trace;
        struct driver_env env = {
                .trace = &trace,
                .depth = 8,
                .driver = s->driver,
                .faults = s->faults,
        };
        bool eio = s->faults && strstr(s->faults, "eio");
        struct block_pool *pool;
        struct request_queue *q;
        struct device *dev;
        const char *broken;

        memset(&trace, 0, sizeof trace);
        trace_init(&trace);
        if (loop_create(&env.loop, 1, "stress"))
                return "loop_create";
        if (open_device(&env, &dev)) {
                loop_destroy(env.loop);
                return s->driver && !strcmp(s->driver, "uring") ? NULL : "the device does not open";
        }
        if (block_pool_create(&pool, THREADS * (BATCH + 1)) ||
            blk_queue_create(&q, dev, pool, &trace))
                return "out of memory";
        broken = run_workers(q, ms);
        blk_queue_destroy(q);
        block_pool_destroy(pool);
        driver_env_destroy(&env);
        loop_destroy(env.loop);
        printf("%s: %lu bios, %lu requests, %lu flushes, %lu errors\n", s->name,
               stat_get(&trace.stats, STAT_bios), stat_get(&trace.stats, STAT_requests),
               stat_get(&trace.stats, STAT_flushes), stat_get(&trace.stats, STAT_io_errors));
        return broken ? broken : check_counters(&trace, eio);
}

int main(int argc, char **argv)
{
        uint64_t ms = argc > 1 ? strtoull(argv[1], NULL, 10) : 400;
        int failed = 0;

        for (unsigned i = 0; i < ARRAY_SIZE(subjects); i++) {
                const char *broken = run(&subjects[i], ms);

                if (broken) {
                        fprintf(stderr, "%s: %s\n", subjects[i].name, broken);
                        failed = 1;
                }
        }
        return failed;
}
