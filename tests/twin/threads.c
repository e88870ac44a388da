/* SPDX-License-Identifier: Apache-2.0
 *
 * threads.c - several threads at once, each with operations of its own in a region of its own, on
 * the same two files and one small budget: see threads.h for what they store. In rounds: the seed
 * of a round says what the files, the engine and the operations of each thread are; how the threads
 * meet is left to chance, and to --perturb.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "threads.h"

#define MAX_THREADS 16u
#define PARTS 3u      /* of a round: between them nothing moves, and the engine is checked */
#define PART_OPS 400u /* of each thread */

static struct {
        struct side side[SIDES];
        struct record record[SIDES];
        char *all[FILES]; /* the engine's files, mapped from begin to end */
        struct worker *worker;
        unsigned threads;
        pthread_barrier_t barrier;
        uint64_t seed;        /* of the round */
        uint64_t swapped_out; /* pages, in all rounds */
        _Atomic bool stop;
} group;

static void work_part(struct worker *t)
{
        static _Thread_local char where[300];

        for (unsigned i = 0; i < PART_OPS && !atomic_load(&group.stop); i++) {
                unsigned was = test_failures();
                struct op o;

                draw_op(&o, THREADS, &t->seed);
                snprintf(where, sizeof(where), "thread %u, operation %u: %s", t->lane.id, t->done,
                         op_text(&o));
                test_at(where);
                if (!step(&t->lane, &o))
                        expect(false, "%s", t->lane.told);
                t->done++;
                if (test_failures() == was)
                        continue;
                fprintf(stderr, "seed %llu, about %s\n", (unsigned long long)group.seed, where);
                atomic_store(&group.stop, true);
        }
        test_at("waiting for the others");
}

static void *work(void *arg)
{
        for (unsigned part = 0; part < PARTS; part++) {
                work_part(arg);
                pthread_barrier_wait(&group.barrier);
                pthread_barrier_wait(&group.barrier); /* nothing moves before that */
        }
        return NULL;
}

/* --- a round --- */

static void fill_files(uint64_t *s)
{
        uint64_t sizes[FILES];

        for (unsigned f = 0; f < FILES; f++) {
                sizes[f] = (SLOTS + random_below(s, SHARED_SLOTS - SLOTS)) * 8;
                if (random_below(s, 2))
                        sizes[f] &= ~(uint64_t)(PAGE - 1);
                for (unsigned k = 0; k < SIDES; k++) {
                        const char *path = group.side[k].path[f];
                        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
                        uint64_t page[SLOTS];

                        for (uint64_t at = 0; at < sizes[f]; at += PAGE) {
                                uint64_t n = sizes[f] - at < PAGE ? sizes[f] - at : PAGE;

                                for (unsigned i = 0; i < SLOTS; i++)
                                        page[i] = stamp_of_slot(f, at / 8 + i, 0);
                                require(pwrite(fd, page, n, (off_t)at) == (ssize_t)n, "%s: %s",
                                        path, strerror(errno));
                        }
                        close(fd);
                }
        }
        for (unsigned k = 0; k < SIDES; k++)
                record_begin(&group.record[k], sizes);
}

static void begin_round(uint64_t seed)
{
        struct side *s = &group.side[OURS];

        group.seed = seed;
        fill_files(&seed);
        s->engine =
                open_drawn_engine((group.threads * MAX_COPIES + 40) * PAGE, &seed, &s->inherits);
        open_side(&group.side[OURS]);
        open_side(&group.side[KERNELS]);
        map_ballast(s);
        for (unsigned f = 0; f < FILES; f++)
                group.all[f] = map_file(s->engine, s->file[f], SHARED_PAGES * PAGE, PROT_READ,
                                        MAP_SHARED, 0);
        for (unsigned i = 0; i < group.threads; i++) {
                struct worker *t = &group.worker[i];

                memset(t->lane.page, 0, sizeof(t->lane.page));
                memset(t->copy, 0, sizeof(t->copy));
                t->lane.id = i;
                t->done = 0;
                t->seed = random_next(&seed);
                require(!pthread_create(&t->thread, NULL, work, t), "pthread_create");
        }
}

/* Nothing moves: every page, in memory. */
static void look_at_all(void)
{
        struct record *r = &group.record[OURS];

        for (unsigned f = 0; f < FILES; f++)
                for (uint64_t i = 0; (i + 1) * PAGE <= atomic_load(&r->size_done[f]); i++)
                        if (!look_at_rest(r, f, i * SLOTS, SLOTS,
                                          (uint64_t *)(group.all[f] + i * PAGE), "at rest"))
                                return;
}

/* Each file as another program reads it. */
static void look_at_files(unsigned k)
{
        struct side *s = &group.side[k];
        uint64_t page[SLOTS];

        for (unsigned f = 0; f < FILES; f++) {
                uint64_t size = atomic_load(&s->record->size_done[f]);

                expect_eq(file_size(s->path[f]), size, s->name);
                for (uint64_t at = 0; at < size; at += PAGE) {
                        uint64_t n = size - at < PAGE ? size - at : PAGE;

                        if (!file_read(s->path[f], page, n, at) ||
                            !look_at_rest(s->record, f, at / 8, (unsigned)n / 8, page,
                                          k == OURS ? "in the file" : "in the kernel's file"))
                                return;
                }
        }
}

static void end_round(void)
{
        struct side *s = &group.side[OURS];

        for (unsigned i = 0; i < group.threads; i++) {
                pthread_join(group.worker[i].thread, NULL);
                unmap_all(&group.worker[i].lane);
        }
        for (unsigned f = 0; f < FILES; f++)
                expect(fl_munmap(s->engine, group.all[f], SHARED_PAGES * PAGE) == 0, "%s",
                       fl_strerror());
        group.swapped_out += get_stats(s->engine).swap_outs;
        unmap_ballast(s);
        check_engine(s->engine);
        close_side(&group.side[OURS]);
        close_side(&group.side[KERNELS]);
        expect_eq(get_stats(s->engine).cache_bytes, 0, "after the last close");
        close_engine(s->engine);
        look_at_files(OURS);
        look_at_files(KERNELS);
}

static uint64_t play_round(uint64_t seed)
{
        uint64_t done = 0;

        begin_round(seed);
        for (unsigned part = 0; part < PARTS; part++) {
                pthread_barrier_wait(&group.barrier);
                test_at("at rest");
                check_engine(group.side[OURS].engine);
                look_at_all();
                test_at("running");
                pthread_barrier_wait(&group.barrier);
        }
        test_at("the end of a round");
        end_round();
        for (unsigned i = 0; i < group.threads; i++)
                done += group.worker[i].done;
        if (test_failures())
                fprintf(stderr, "in the round of seed %llu\n", (unsigned long long)seed);
        return done;
}

void threads_begin(unsigned threads)
{
        char *place = find_place();

        group.threads = threads < MAX_THREADS ? threads : MAX_THREADS;
        group.worker =
                aligned_alloc(_Alignof(struct worker), group.threads * sizeof(*group.worker));
        require(group.worker, "no memory");
        memset(group.worker, 0, group.threads * sizeof(*group.worker));
        pthread_barrier_init(&group.barrier, NULL, group.threads + 1);
        name_sides(&group.side[OURS], &group.side[KERNELS]);
        for (unsigned k = 0; k < SIDES; k++)
                group.side[k].record = &group.record[k];
        for (unsigned i = 0; i < group.threads; i++) {
                struct lane *l = &group.worker[i].lane;

                l->threads = group.threads;
                for (unsigned k = 0; k < SIDES; k++) {
                        l->place[k].lane = l;
                        l->place[k].side = &group.side[k];
                        l->place[k].base = place + (2 * i + k) * 64 * REGION * PAGE;
                }
        }
}

uint64_t threads_run(uint64_t most)
{
        uint64_t done = 0;

        for (; done < most; test.seed++) {
                done += play_round(test.seed);
                if (test_failures() || (most == UINT64_MAX && test_left() < 0))
                        break;
        }
        printf("%llu pages swapped out\n", (unsigned long long)group.swapped_out);
        return done;
}
