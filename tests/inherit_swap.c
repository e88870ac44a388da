/* SPDX-License-Identifier: Apache-2.0
 *
 * inherit_swap.c - with --fork inherit, memory that is partly in the swap area: shared anonymous memory,
 * where parent and child see each other's stores wherever the page has been meanwhile, and a private
 * page that the parent could not read back from its slot.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "family.h"

#define PAGE TEST_PAGE
#define PAGES 768ul /* three times the budget */
#define CACHE (1ul << 20)
#define BOTH (PROT_READ | PROT_WRITE)

struct scene {
        struct fl_engine *e;
        char *p;
        uint64_t bad; /* the page that the parent cannot read */
        _Atomic int *stop;
        int go[2]; /* pipes: the one waits for the word of the other */
        int told[2];
};

static struct scene begin(const char *faults, int kind)
{
        struct scene s = { 0 };

        s.e = open_family((struct fl_engine_config){
                .cache = CACHE, .swap = "ram:16M", .faults = faults, .flags = FL_ENGINE_QUIET });
        s.p = map_file(s.e, NULL, PAGES * PAGE, BOTH, kind | MAP_ANONYMOUS, 0);
        require(!pipe(s.go) && !pipe(s.told), "pipe");
        return s;
}

static void end(struct scene *s)
{
        check_engine(s->e);
        expect(fl_munmap(s->e, s->p, PAGES * PAGE) == 0, "%s", fl_strerror());
        check_engine(s->e);
        close_engine(s->e);
        for (int i = 0; i < 2; i++) {
                close(s->go[i]);
                close(s->told[i]);
        }
}

/* --- shared memory ------------------------------------------------------------------------ */

/* In round r the child stores to page n if n + r is odd, the parent to the others; and both look at all of
 * it in between. What was never stored to is the last quarter. */
#define ROUNDS 3u
#define STORED (PAGES * 3 / 4)

static bool is_childs(uint64_t n, unsigned round)
{
        return (n + round) & 1;
}

static void store_part(struct scene *s, unsigned round, bool child)
{
        for (uint64_t n = 0; n < STORED; n++)
                if (is_childs(n, round) == child)
                        stamp_write(s->p + n * PAGE, n, round);
}

/* 0, or what is wrong. */
static int look_at_all(struct scene *s, unsigned round)
{
        static const char zeros[PAGE];

        for (uint64_t n = 0; n < STORED; n++)
                if (stamp_wrong(s->p + n * PAGE, n, round)) {
                        fprintf(stderr, "round %u: %s\n", round,
                                stamp_wrong(s->p + n * PAGE, n, round));
                        return 1;
                }
        for (uint64_t n = STORED; n < PAGES; n++)
                if (memcmp(s->p + n * PAGE, zeros, PAGE))
                        return 2;
        return 0;
}

static int share(void *arg)
{
        struct scene *s = arg;
        int bad = look_at_all(s, 0);

        give_word(s->told);
        for (unsigned round = 1; !bad && round <= ROUNDS; round++) {
                store_part(s, round, true);
                give_word(s->told);
                wait_for_word(s->go);
                bad = look_at_all(s, round);
                give_word(s->told);
                wait_for_word(s->go);
        }
        return bad;
}

static void both_ways(void)
{
        struct scene s = begin(NULL, MAP_SHARED);
        struct fl_stats st;
        pid_t pid;

        test_at("shared memory, both ways");
        for (uint64_t n = 0; n < STORED; n++)
                stamp_write(s.p + n * PAGE, n, 0);
        pid = start_child(share, &s);
        wait_for_word(s.told);
        for (unsigned round = 1; round <= ROUNDS; round++) {
                store_part(&s, round, false);
                wait_for_word(s.told);
                give_word(s.go);
                expect_eq(look_at_all(&s, round), 0, "what the parent sees");
                wait_for_word(s.told);
                give_word(s.go);
        }
        expect_child(pid, 0, "what the child sees");
        /* What the child stored last is there without it. */
        expect_eq(look_at_all(&s, ROUNDS), 0, "when the child has ended");
        st = get_stats(s.e);
        expect(st.swap_outs > 0 && st.swap_ins > 0, "%llu out, %llu in",
               (unsigned long long)st.swap_outs, (unsigned long long)st.swap_ins);
        expect(st.cache_bytes_peak <= CACHE, "the budget");
        end(&s);
}

/* --- pages that a child stores to without a pause ------------------------------------------- */

#define HOT 8u

static int store_all_the_time(void *arg)
{
        struct scene *s = arg;

        for (uint64_t version = 1; !atomic_load(s->stop); version++)
                for (uint64_t n = 0; n < HOT; n++) {
                        if (stamp_wrong(s->p + n * PAGE, n, version - 1)) {
                                fprintf(stderr, "%s\n",
                                        stamp_wrong(s->p + n * PAGE, n, version - 1));
                                return 1;
                        }
                        stamp_write(s->p + n * PAGE, n, version);
                }
        return 0;
}

/* While the parent needs all the room: they go and come, and no store is lost on the way out. The parent
 * cannot see that a child uses them. */
static void hot_pages(void)
{
        struct scene s = begin(NULL, MAP_SHARED);
        pid_t pid;

        test_at("pages that a child stores to all the time");
        s.stop = mmap(NULL, PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        require(s.stop != MAP_FAILED, "%s", strerror(errno));
        for (uint64_t n = 0; n < PAGES; n++)
                stamp_write(s.p + n * PAGE, n, 0);
        pid = start_child(store_all_the_time, &s);
        for (uint64_t version = 1; version < 20 || test_left() > 0; version++)
                for (uint64_t n = HOT; n < PAGES; n++)
                        stamp_write(s.p + n * PAGE, n, version);
        atomic_store(s.stop, 1);
        expect_child(pid, 0, "a child that stores all the time");
        munmap((void *)s.stop, PAGE);
        end(&s);
}

/* --- a private page that could not be read ------------------------------------------------- */

static int try_again(void *arg)
{
        struct scene *s = arg;
        unsigned char byte;

        if (try_load(s->p + s->bad * PAGE, &byte).signo)
                return 1;
        return stamp_wrong(s->p + s->bad * PAGE, s->bad, 1) ? 2 : 0;
}

/* The area has failed once, and the parent has its SIGBUS until it clears it: the child tries for itself,
 * and what it has, it has when the parent has dropped the page. */
static void unreadable(void)
{
        struct scene s = begin("eio-read@64K+4K*1", MAP_PRIVATE);
        unsigned char byte;

        test_at("a page that could not be read");
        /* Each alone. */
        expect(fl_madvise(s.e, s.p, PAGES * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        for (uint64_t n = 0; n < PAGES / 2; n++)
                stamp_write(s.p + n * PAGE, n, 1);
        while (s.bad < PAGES / 2 && try_load(s.p + s.bad * PAGE, &byte).signo != SIGBUS)
                s.bad++;
        require(s.bad < PAGES / 2, "every page could be read");
        expect_child(start_child(try_again, &s), 0, "the child's page");
        expect(try_load(s.p + s.bad * PAGE, &byte).signo == SIGBUS, "the parent's");
        check_engine(s.e);
        expect(fl_error_clear(s.e, s.p + s.bad * PAGE, PAGE) == 0, "%s", fl_strerror());
        expect_eq(try_again(&s), 0, "the parent's page, cleared");
        end(&s);
}

/* --- room for the copies ---------------------------------------------------------------------- */

#define COPIES 200ul /* most of the budget, which cannot hold them twice */

#define OWN 64ul
#define NOTHING 77 /* a child's status: it has no mapping */

static int look_at(struct scene *s, uint64_t nr)
{
        unsigned char byte;

        if (try_load(s->p, &byte).signo == SIGSEGV)
                return NOTHING;
        return wrong_page(s->p, nr, 1) != 0;
}

static int look_at_copies(void *arg)
{
        return look_at(arg, COPIES);
}

static int look_at_own(void *arg)
{
        return look_at(arg, OWN);
}

/* Writing to the area takes its time. What is on its way is not called back while the fork waits for the
 * room that it will leave. */
static void slow_way_out(void)
{
        struct scene s = begin("delay=8ms", MAP_PRIVATE);

        test_at("room for the copies, slowly");
        for (int round = 0; round < 2; round++) {
                for (uint64_t n = 0; n < COPIES; n++)
                        stamp_write(s.p + n * PAGE, n, 1);
                expect_child(start_child(look_at_copies, &s), 0, "a child whose pages fit");
        }
        end(&s);
}

static int look_at_two(void *arg)
{
        struct scene *two = arg;
        int bad = look_at(&two[0], COPIES);

        return bad ? bad : look_at(&two[1], COPIES);
}

/* Either waits for room, with nothing of the other's held. */
static void two_engines(void)
{
        struct scene two[2] = { begin("delay=8ms", MAP_PRIVATE), begin("delay=8ms", MAP_PRIVATE) };

        test_at("room for the copies of two engines");
        for (uint64_t n = 0; n < COPIES; n++) {
                stamp_write(two[0].p + n * PAGE, n, 1);
                stamp_write(two[1].p + n * PAGE, n, 1);
        }
        expect_child(start_child(look_at_two, two), 0, "a child of two engines");
        end(&two[0]);
        end(&two[1]);
}

/* Memory that is shared takes of what may exist at all, too: a child is not promised the room that it
 * has. */
static void shared_memory_counts(void)
{
        enum { MUCH = 1024 };
        struct fl_engine *e = open_family((struct fl_engine_config){
                .cache = CACHE, .swap = "ram:1M", .flags = FL_ENGINE_QUIET });
        struct scene s = { .e = e };
        uint64_t n = 0;
        char *q;

        test_at("shared memory counts");
        s.p = map_file(e, NULL, OWN * PAGE, BOTH, MAP_PRIVATE | MAP_ANONYMOUS, 0);
        q = fl_mmap(e, NULL, MUCH * PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, NULL,
                    0);
        require(q != MAP_FAILED, "%s", fl_strerror());
        for (uint64_t i = 0; i < OWN; i++)
                stamp_write(s.p + i * PAGE, i, 1);
        /* Away they go: a child would need no memory, only the room to be two. */
        while (fl_evict(e, s.p, OWN * PAGE) > 0)
                ;
        while (n < MUCH && !try_store(q + n * PAGE, 1).signo)
                n++;
        require(n > OWN && n < MUCH, "%llu pages fit", (unsigned long long)n);
        expect(fl_madvise(e, q, OWN / 2 * PAGE, MADV_REMOVE) == 0, "%s", fl_strerror());
        expect_child(start_child(look_at_own, &s), NOTHING, "a child that does not fit");
        expect(fl_madvise(e, q, 2 * OWN * PAGE, MADV_REMOVE) == 0, "%s", fl_strerror());
        expect_child(start_child(look_at_own, &s), 0, "a child that fits");
        check_engine(e);
        expect(fl_munmap(e, s.p, OWN * PAGE) == 0 && fl_munmap(e, q, MUCH * PAGE) == 0, "%s",
               fl_strerror());
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 1, 1, 100);
        if (CHILDREN_MAY_HANG)
                test_skip("this sanitizer's allocator may stay locked in a forked child");
        both_ways();
        hot_pages();
        unreadable();
        slow_way_out();
        two_engines();
        shared_memory_counts();
        return test_end();
}
