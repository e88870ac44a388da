/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_loads.c - the setups, runs and patterns that the rows of bench_rows.c name.
 *
 * Every side runs this same code: on a plain pointer, or through its read and write. They differ
 * only in who made the mapping and who serves the call. (io_uring's side is in bench_ring.c.)
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bench.h"
#include "guard.h"

#define PASS_BLOCK (256 * 1024UL)
#define MOST_PARTS 4096 /* far below max_map_count, twice */
#define STRIDE_PAGES 64 /* 256 KiB */
#define MOST_TIMED 65536u

/* ---- patterns ---- */

uint64_t random_step(uint64_t *state)
{
        uint64_t x = *state += 0x9e3779b97f4a7c15u;

        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return x ^ x >> 31;
}

uint64_t random_below(uint64_t *state, uint64_t n)
{
        return (uint64_t)((unsigned __int128)random_step(state) * n >> 64);
}

uint64_t next_random(struct stream *s)
{
        return random_below(&s->state, s->pages);
}

uint64_t next_forward(struct stream *s)
{
        return s->at++ % s->pages;
}

uint64_t next_backward(struct stream *s)
{
        return s->pages - 1 - s->at++ % s->pages;
}

/* A pass over the file; the next pass takes the pages after those. */
uint64_t next_stride(struct stream *s)
{
        uint64_t steps = s->pages / STRIDE_PAGES, i = s->at++;

        if (!steps)
                return i % s->pages;
        return i % steps * STRIDE_PAGES + i / steps % STRIDE_PAGES;
}

/* A quarter of the file each, taking turns. */
uint64_t next_of_four(struct stream *s)
{
        uint64_t quarter = s->pages / 4, i = s->at++;

        return quarter ? i % 4 * quarter + i / 4 % quarter : i % s->pages;
}

uint64_t next_zipf(struct stream *s)
{
        return zipf_next(s->work->zipf, &s->state);
}

void stream_begin(struct stream *s, const struct work *w, unsigned number)
{
        *s = (struct stream){
                .work = w,
                .state = w->job->seed * 1000003 + number,
                .pages = w->pages,
        };
}

/* ---- touching ---- */

uint64_t sum_bytes(const char *memory, uint64_t size)
{
        const uint64_t *word = (const uint64_t *)memory;
        uint64_t sum = 0;

        for (uint64_t i = 0; i < size / sizeof(*word); i++)
                sum += word[i];
        return sum;
}

void bench_keep(uint64_t sum)
{
        __asm__ volatile("" : : "r"(sum));
}

struct timespec bench_time(double seconds)
{
        struct timespec time = { .tv_sec = (time_t)seconds };

        time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
        return time;
}

/* False: a page could not be read, or stored to. */
static bool pass_memory(char *memory, uint64_t size, bool write)
{
        struct guard guard;

        guard_enter(&guard, memory, size);
        if (sigsetjmp(guard.env, 0)) {
                guard_leave();
                return false;
        }
        if (write)
                memset(memory, (int)(now_ns() & 0xff), size);
        else
                bench_keep(sum_bytes(memory, size));
        guard_leave();
        return true;
}

static bool pass_calls(struct work *w, uint64_t size, bool write)
{
        char *buf = aligned_alloc(PAGE_SIZE, PASS_BLOCK);
        bool ok = buf != NULL;

        if (buf)
                memset(buf, (int)(now_ns() & 0xff), PASS_BLOCK);
        for (uint64_t at = 0; ok && at < size; at += PASS_BLOCK) {
                size_t n = size - at < PASS_BLOCK ? size - at : PASS_BLOCK;

                ok = (write ? w->ops->write(w, buf, n, at) : w->ops->read(w, buf, n, at)) ==
                     (ssize_t)n;
                if (ok && !write)
                        bench_keep(sum_bytes(buf, n));
        }
        free(buf);
        return ok;
}

static bool by_calls(const struct work *w)
{
        return !w->ops->memory || w->load->calls;
}

static bool pass(struct work *w, uint64_t size, bool write)
{
        return by_calls(w) ? pass_calls(w, size, write) : pass_memory(w->memory, size, write);
}

/* ---- setups ---- */

int setup_nothing(struct work *w)
{
        (void)w;
        return 0;
}

int setup_map(struct work *w)
{
        char *memory;

        if (by_calls(w))
                return 0;
        w->mapped = w->load->scan ? w->size : w->pages * PAGE_SIZE;
        memory = w->ops->map(w, 0, w->mapped);
        if (memory == MAP_FAILED)
                return errno;
        w->memory = memory;
        if (w->ops->advised && w->ops->advise(w, memory, w->mapped, w->load->advice))
                return errno;
        return 0;
}

/* So that from the start a miss also has to evict, and what is hot is there. */
int setup_fill(struct work *w)
{
        uint64_t used = w->pages * PAGE_SIZE;
        int error = setup_map(w);

        if (!error && !w->ops->ring && !pass(w, w->job->cache < used ? w->job->cache : used, false))
                error = EIO;
        return error;
}

/* Every page has been stored to: what does not fit has gone to the swap area. */
int setup_stored(struct work *w)
{
        int error = setup_map(w);

        if (!error && !pass_memory(w->memory, w->mapped, true))
                error = EIO;
        return error;
}

/* As many mappings as there is room for, spread over the file. */
int setup_parts(struct work *w)
{
        uint64_t length = PART_PAGES * PAGE_SIZE, n = w->size / length, step;

        if (n > MOST_PARTS)
                n = MOST_PARTS;
        w->part = calloc(n ? n : 1, sizeof(*w->part));
        if (!n || !w->part)
                return n ? ENOMEM : EINVAL;
        step = w->size / n / PAGE_SIZE * PAGE_SIZE;
        w->part_pages = PART_PAGES;
        for (; w->parts < n; w->parts++) {
                char *part = w->ops->map(w, w->parts * step, length);

                if (part == MAP_FAILED)
                        return errno;
                w->part[w->parts] = part;
                if (w->ops->advised && w->ops->advise(w, part, length, w->load->advice))
                        return errno;
        }
        w->pages = n * PART_PAGES;
        return 0;
}

int setup_zipf(struct work *w)
{
        w->zipf = zipf_make(w->pages);
        return w->zipf ? setup_fill(w) : ENOMEM;
}

/* ---- runs: page after page, for a time ---- */

struct touch_thread {
        pthread_t thread;
        struct work *work;
        struct stream stream;
        uint64_t (*next)(struct stream *);
        char *buf;
        bool write;
        volatile uint64_t done, errors;
        uint32_t *took; /* ns of each load, the first MOST_TIMED; NULL: nobody asks */
};

static char *page_at(const struct work *w, uint64_t page)
{
        if (w->part)
                return w->part[page / PART_PAGES] + page % PART_PAGES * PAGE_SIZE;
        return w->memory + page * PAGE_SIZE;
}

static void touch_one(struct touch_thread *t, uint64_t page)
{
        struct work *w = t->work;

        if (!by_calls(w)) {
                volatile uint64_t *word = (volatile uint64_t *)page_at(w, page);

                if (t->write)
                        *word = page;
                else
                        (void)*word;
        } else if (t->write) {
                if (w->ops->write(w, t->buf, PAGE_SIZE, page * PAGE_SIZE) != PAGE_SIZE)
                        t->errors = t->errors + 1;
        } else if (w->ops->read(w, t->buf, PAGE_SIZE, page * PAGE_SIZE) != PAGE_SIZE) {
                t->errors = t->errors + 1;
        }
}

static void touch_timed(struct touch_thread *t)
{
        uint64_t begin = now_ns();

        touch_one(t, t->next(&t->stream));
        if (t->done < MOST_TIMED)
                t->took[t->done] = (uint32_t)(now_ns() - begin);
}

/* Reads are counted one by one, and stores to what is in no file; others when they are durable. */
static void *touch_pages(void *arg)
{
        struct touch_thread *t = arg;
        struct work *w = t->work;
        volatile unsigned unsynced = 0;
        struct guard guard;

        guard_enter(&guard, NULL, SIZE_MAX);
        if (sigsetjmp(guard.env, 0))
                t->errors = t->errors + 1;
        while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
                if (t->took)
                        touch_timed(t);
                else
                        touch_one(t, t->next(&t->stream));
                if (!t->write || w->load->anon || w->load->sync_last) {
                        t->done = t->done + 1;
                        continue;
                }
                unsynced = unsynced + 1;
                if (unsynced < SYNC_EVERY)
                        continue;
                if (w->ops->sync(w))
                        t->errors = t->errors + 1;
                t->done = t->done + unsynced;
                unsynced = 0;
        }
        guard_leave();
        return NULL;
}

static int start_thread(struct touch_thread *t, struct work *w, unsigned number)
{
        t->work = w;
        stream_begin(&t->stream, w, number);
        t->next = w->load->next;
        t->write = w->load->write && !w->load->tail;
        if (number == w->load->threads && w->load->tail) { /* one more: what is written beside */
                t->write = true;
        } else if (number == w->load->threads) { /* or the scan beside */
                t->next = next_forward;
                t->stream.pages = w->size / PAGE_SIZE;
        } else if (w->load->tail) {
                t->took = calloc(MOST_TIMED, sizeof(*t->took));
                if (!t->took)
                        return ENOMEM;
        }
        t->buf = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
        if (!t->buf)
                return ENOMEM;
        memset(t->buf, 0x5a, PAGE_SIZE);
        return pthread_create(&t->thread, NULL, touch_pages, t);
}

static int by_time(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return (x > y) - (x < y);
}

/* The threads have ended. One unit, in the time that 99 of 100 loads stayed below. */
static int find_tail(struct touch_thread *thread, unsigned counted, struct bench_result *result)
{
        uint32_t *all = calloc((size_t)counted * MOST_TIMED, sizeof(*all));
        size_t n = 0;

        if (!all)
                return ENOMEM;
        for (unsigned i = 0; i < counted; i++) {
                size_t done = thread[i].done < MOST_TIMED ? thread[i].done : MOST_TIMED;

                memcpy(all + n, thread[i].took, done * sizeof(*all));
                n += done;
        }
        qsort(all, n, sizeof(*all), by_time);
        result->passes = result->units;
        result->units = 1;
        if (n) /* else there was no time for any */
                result->ns = all[n - 1 - n / 100];
        free(all);
        return 0;
}

/* All stores are made; the time until they are durable counts. */
static void sync_all(struct work *w, struct touch_thread *thread, unsigned counted,
                     struct bench_result *result)
{
        uint64_t started = now_ns();

        result->units = 0;
        for (unsigned i = 0; i < counted; i++)
                result->units += thread[i].done;
        if (w->ops->sync(w))
                result->errors++;
        result->ns += now_ns() - started;
}

static void wait_measured(struct work *w, struct touch_thread *thread, unsigned counted,
                          struct bench_result *result)
{
        struct timespec time = bench_time(w->job->seconds);
        uint64_t started = now_ns();

        nanosleep(&time, NULL);
        for (unsigned i = 0; i < counted; i++) /* what counts is what was done by now */
                result->units += thread[i].done;
        result->ns = now_ns() - started;
}

int run_touches(struct work *w, struct bench_result *result)
{
        unsigned all = w->load->threads + (w->load->scan || w->load->tail), running = 0;
        struct touch_thread *thread;
        int error = 0;

        if (w->ops->ring)
                return run_touches_ring(w, result);
        thread = calloc(all, sizeof(*thread));
        if (!thread)
                return ENOMEM;
        for (; running < all && !error; running += !error)
                error = start_thread(&thread[running], w, running);
        if (!error)
                wait_measured(w, thread, w->load->threads, result);
        atomic_store(&w->stop, true);
        for (unsigned i = 0; i < running; i++) {
                pthread_join(thread[i].thread, NULL);
                result->errors += thread[i].errors;
        }
        if (!error && w->load->sync_last)
                sync_all(w, thread, w->load->threads, result);
        if (!error && w->load->tail)
                error = find_tail(thread, w->load->threads, result);
        for (unsigned i = 0; i < all; i++) {
                free(thread[i].buf);
                free(thread[i].took);
        }
        free(thread);
        return error;
}

/* ---- the other runs ---- */

int run_pass(struct work *w, struct bench_result *result)
{
        uint64_t size = w->pages * PAGE_SIZE, started;
        bool syncs = w->load->write && !w->load->anon;

        if (w->ops->ring)
                return run_pass_ring(w, result);
        started = now_ns();
        if (pass(w, size, w->load->write) && (!syncs || !w->ops->sync(w)))
                result->units = size;
        else
                result->errors = 1;
        result->ns = now_ns() - started;
        return 0;
}

int run_steps(struct work *w, struct bench_result *result,
              int (*step)(struct work *, struct stream *, struct bench_result *))
{
        uint64_t started = now_ns(), until = started + (uint64_t)(w->job->seconds * 1e9);
        struct stream stream;
        struct guard guard;
        int error = 0;

        stream_begin(&stream, w, 0);
        guard_enter(&guard, NULL, SIZE_MAX);
        if (sigsetjmp(guard.env, 0)) {
                guard_leave();
                return EIO;
        }
        while (!error && now_ns() < until)
                error = step(w, &stream, result);
        guard_leave();
        result->ns = now_ns() - started;
        return error;
}

/* Only the loads count. */
static int unmap_and_touch(struct work *w, struct stream *stream, struct bench_result *result)
{
        uint64_t started;

        if (w->ops->advise(w, w->memory, w->mapped, MADV_DONTNEED))
                return errno;
        started = now_ns();
        for (uint64_t i = 0; i < w->pages; i++)
                (void)*(const volatile uint64_t *)page_at(w, next_forward(stream));
        w->timed += now_ns() - started;
        result->units += w->pages;
        return 0;
}

/* As many stores as rand-write has between two of its own, to pages far apart; only the sync counts. */
static int store_and_sync(struct work *w, struct stream *stream, struct bench_result *result)
{
        uint64_t started;

        for (unsigned i = 0; i < SYNC_EVERY; i++)
                *(volatile uint64_t *)page_at(w, next_random(stream)) = i;
        started = now_ns();
        if (w->ops->sync(w))
                return errno;
        w->timed += now_ns() - started;
        result->units++;
        return 0;
}

int run_msync(struct work *w, struct bench_result *result)
{
        int error = run_steps(w, result, store_and_sync);

        result->ns = w->timed;
        return error;
}

int run_refault(struct work *w, struct bench_result *result)
{
        int error = run_steps(w, result, unmap_and_touch);

        result->ns = w->timed;
        return error;
}

static int map_and_unmap(struct work *w, struct stream *stream, struct bench_result *result)
{
        uint64_t length = PART_PAGES * PAGE_SIZE, parts = w->pages / PART_PAGES;
        uint64_t part = random_below(&stream->state, parts);
        uint64_t page = random_below(&stream->state, PART_PAGES);
        char *memory = w->ops->map(w, part * length, length);

        if (memory == MAP_FAILED)
                return errno;
        (void)*(const volatile uint64_t *)(memory + page * PAGE_SIZE);
        if (w->ops->unmap(w, memory, length))
                return errno;
        result->units++;
        return 0;
}

int run_map_unmap(struct work *w, struct bench_result *result)
{
        return w->pages < PART_PAGES ? EINVAL : run_steps(w, result, map_and_unmap);
}

/* The fastest pass: what slows down the others is not the mapping. */
int run_mapped(struct work *w, struct bench_result *result)
{
        uint64_t size = w->pages * PAGE_SIZE, now = now_ns();
        uint64_t until = now + (uint64_t)(w->job->seconds * 1e9);

        result->units = size;
        result->ns = UINT64_MAX;
        do {
                uint64_t started = now;

                bench_keep(sum_bytes(w->memory, size));
                now = now_ns();
                if (now - started < result->ns)
                        result->ns = now - started;
                result->passes++;
        } while (now < until);
        return 0;
}
