/* SPDX-License-Identifier: Apache-2.0
 *
 * inherit.c - with --fork inherit a child sees what the kernel would show it: the file's pages, cold
 * and warm, private pages as they were at the fork, advice about forks; and does the parent no harm
 * when it ends in the middle of something.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "family.h"

#define PAGE TEST_PAGE
#define PAGES 256ul
#define CACHE (1ul << 20)
#define BOTH (PROT_READ | PROT_WRITE)

struct scene {
        struct fl_engine *e;
        struct fl_file *f;
        const char *path;
        char *shared, *private, *anon;
        int go[2]; /* a pipe: the child waits for the parent's word */
        int told[2];
};

/* --- a shared mapping --------------------------------------------------------------------- */

static int see_and_store(void *arg)
{
        struct scene *s = arg;
        int wrong = wrong_page(s->shared, PAGES, 0);

        if (wrong)
                return wrong;
        for (uint64_t i = 1; i < PAGES; i += 2)
                stamp_write(s->shared + i * PAGE, i, 7);
        /* What only reading has mapped, evicted and read again. */
        for (uint64_t i = 0; i < PAGES; i++)
                if (stamp_wrong(s->shared + i * PAGE, i, i % 2 ? 7 : 0))
                        return 101;
        return 0;
}

static void shared_pages(struct scene *s)
{
        char buf[PAGE];

        test_at("shared pages");
        for (uint64_t i = 0; i < PAGES / 2; i++) /* half of it warm, some of it dirty */
                expect(!stamp_wrong(s->shared + i * PAGE, i, 0), "before the fork");
        stamp_write(s->shared, 0, 0);
        expect_child(start_child(see_and_store, s), 0, "shared pages");
        expect(get_stats(s->e).faults_write > 1, "the child's stores were no faults of ours");
        for (uint64_t i = 0; i < PAGES; i++)
                expect(!stamp_wrong(s->shared + i * PAGE, i, i % 2 ? 7 : 0), "in the parent: %s",
                       stamp_wrong(s->shared + i * PAGE, i, i % 2 ? 7 : 0));
        expect(fl_msync(s->e, s->shared, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < PAGES && file_read(s->path, buf, PAGE, i * PAGE); i++)
                expect(!stamp_wrong(buf, i, i % 2 ? 7 : 0), "in the file: %s",
                       stamp_wrong(buf, i, i % 2 ? 7 : 0));
        /* Everything back to version 0 for the others. */
        for (uint64_t i = 0; i < PAGES; i++)
                stamp_write(s->shared + i * PAGE, i, 0);
}

/* --- stores on both sides of a write-back -------------------------------------------------- */

static int store_store(void *arg)
{
        struct scene *s = arg;

        stamp_write(s->shared + 3 * PAGE, 3, 1);
        give_word(s->told);
        wait_for_word(s->go); /* it has been written back: the next store is an event again */
        stamp_write(s->shared + 3 * PAGE, 3, 2);
        return 0;
}

static void written_back(struct scene *s)
{
        char buf[PAGE];
        pid_t pid;

        test_at("a write-back between two stores of a child");
        pid = start_child(store_store, s);
        wait_for_word(s->told);
        expect(fl_msync(s->e, s->shared, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        give_word(s->go);
        expect_child(pid, 0, "stores");
        expect(fl_msync(s->e, s->shared, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        if (file_read(s->path, buf, PAGE, 3 * PAGE))
                expect(!stamp_wrong(buf, 3, 2), "in the file: %s", stamp_wrong(buf, 3, 2));
        stamp_write(s->shared + 3 * PAGE, 3, 0);
}

/* --- private pages ------------------------------------------------------------------------ */

#define COPIES 16ul

static int private_child(void *arg)
{
        struct scene *s = arg;
        static const char zeros[PAGE];

        wait_for_word(s->go); /* the parent has stored since */
        for (uint64_t i = 0; i < COPIES; i++) {
                if (stamp_wrong(s->private + i * PAGE, i, i % 2 ? 0 : 5))
                        return 1;
                if (i % 2 ? memcmp(s->anon + i * PAGE, zeros, PAGE) != 0
                          : stamp_wrong(s->anon + i * PAGE, i, 5) != NULL)
                        return 2;
        }
        for (uint64_t i = 0; i < COPIES; i++) {
                stamp_write(s->private + i * PAGE, i, 9);
                stamp_write(s->anon + i * PAGE, i, 9);
        }
        return wrong_page(s->private, COPIES, 9) || wrong_page(s->anon, COPIES, 9) ? 3 : 0;
}

static void private_pages(struct scene *s)
{
        pid_t pid;

        test_at("private pages");
        for (uint64_t i = 0; i < COPIES; i += 2) {
                stamp_write(s->private + i * PAGE, i, 5);
                stamp_write(s->anon + i * PAGE, i, 5);
        }
        (void)*(volatile char *)(s->anon + PAGE); /* zeros that are shown, a page that is shown */
        (void)*(volatile char *)(s->private + PAGE);
        pid = start_child(private_child, s);
        check_engine(s->e); /* the child's private pages are charged */
        for (uint64_t i = 0; i < COPIES; i++) {
                stamp_write(s->private + i * PAGE, i, 6);
                stamp_write(s->anon + i * PAGE, i, 6);
        }
        give_word(s->go);
        expect_child(pid, 0, "private pages");
        expect_eq(wrong_page(s->private, COPIES, 6), 0, "copies of the parent");
        expect_eq(wrong_page(s->anon, COPIES, 6), 0, "anonymous pages of the parent");
        expect(fl_madvise(s->e, s->private, PAGES * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect(fl_madvise(s->e, s->anon, 2 * COPIES * PAGE, MADV_DONTNEED) == 0, "%s",
               fl_strerror());
}

/* --- advice ------------------------------------------------------------------------------- */

static int advised_child(void *arg)
{
        struct scene *s = arg;
        struct caught c = try_load(s->shared + 5 * PAGE, NULL);
        unsigned char v = 1;
        int bad = 0;

        bad |= (c.signo != SIGSEGV || c.code != SEGV_MAPERR) << 0;     /* DONTFORK */
        bad |= (stamp_wrong(s->shared + 6 * PAGE, 6, 0) != NULL) << 1; /* DONTFORK, DOFORK */
        bad |= (stamp_wrong(s->shared + 4 * PAGE, 4, 0) != NULL) << 2;
        bad |= (try_load(s->anon, &v).signo != 0 || v != 0) << 3; /* WIPEONFORK */
        bad |= (try_store(s->anon, 3).signo != 0 || s->anon[0] != 3) << 4;
        bad |= (s->anon[PAGE] != 2) << 5; /* WIPEONFORK, KEEPONFORK */
        return bad;
}

static void advice(struct scene *s)
{
        struct fl_engine *e = s->e;

        test_at("advice");
        s->anon[0] = 1;
        s->anon[PAGE] = 2;
        expect(!fl_madvise(e, s->shared + 5 * PAGE, 2 * PAGE, MADV_DONTFORK), "%s", fl_strerror());
        expect(!fl_madvise(e, s->shared + 6 * PAGE, PAGE, MADV_DOFORK), "%s", fl_strerror());
        expect(!fl_madvise(e, s->anon, 2 * PAGE, MADV_WIPEONFORK), "%s", fl_strerror());
        expect(!fl_madvise(e, s->anon + PAGE, PAGE, MADV_KEEPONFORK), "%s", fl_strerror());
        expect_child(start_child(advised_child, s), 0, "advice");
        expect(s->anon[0] == 1, "the parent's page was wiped");
        expect(!fl_madvise(e, s->shared, PAGES * PAGE, MADV_DOFORK), "%s", fl_strerror());
        expect(!fl_madvise(e, s->anon, 2 * COPIES * PAGE, MADV_KEEPONFORK), "%s", fl_strerror());
}

/* --- calls, grandchildren, other programs -------------------------------------------------- */

/* One that the child itself has opened serves it as any. */
static int own_engine(struct scene *s)
{
        struct fl_engine *e = open_family((struct fl_engine_config){ .cache = CACHE });
        struct fl_file *f = open_file(e, s->path, O_RDONLY);
        char *p = map_file(e, f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        int bad = wrong_page(p, PAGES, 0);

        bad |= wrong_page(s->shared, PAGES, 0);
        bad |= fl_munmap(e, p, PAGES * PAGE) || fl_file_close(f) || fl_engine_close(e);
        return bad;
}

static int calling_child(void *arg)
{
        struct scene *s = arg;
        struct fl_stats st = { .size = sizeof(st) };
        char buf[8];
        int bad = 0;

        bad |= (fl_stats(s->e, &st) != -1 || errno != EPERM) << 0;
        bad |= (fl_pread(s->f, buf, 8, 0) != -1 || errno != EPERM) << 1;
        bad |= (fl_mmap(s->e, NULL, PAGE, PROT_READ, MAP_SHARED, s->f, 0) != MAP_FAILED ||
                errno != EPERM)
               << 2;
        bad |= (fl_munmap(s->e, s->shared, PAGE) != -1 || errno != EPERM) << 3;
        bad |= (fl_engine_close(s->e) != -1 || errno != EPERM) << 4;
        bad |= (fl_file_open(s->e, s->path, O_RDONLY, NULL) != NULL || errno != EPERM) << 5;
        return bad ? bad : own_engine(s);
}

static int grandchild(void *arg)
{
        struct scene *s = arg;
        struct caught a = try_load(s->shared, NULL), b = try_store(s->anon, 1);

        return (a.signo != SIGSEGV) | (b.signo != SIGSEGV) << 1;
}

static int forking_child(void *arg)
{
        struct scene *s = arg;
        int status = -1;
        pid_t pid;

        s->anon[0] = 1;
        pid = start_child(grandchild, s);
        if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
                return 100;
        /* And it is served as before. */
        return WEXITSTATUS(status) | wrong_page(s->shared, PAGES, 0);
}

static int becoming_another(void *arg)
{
        struct scene *s = arg;

        s->shared[100] = s->shared[100];
        execl("/bin/true", "true", (char *)NULL);
        return 99;
}

static int unmapping_child(void *arg)
{
        struct scene *s = arg;

        if (munmap(s->shared + 8 * PAGE, 8 * PAGE))
                return 1;
        return try_load(s->shared + 9 * PAGE, NULL).signo != SIGSEGV ||
               wrong_page(s->shared, 8, 0) != 0;
}

/* --- the end of a child ------------------------------------------------------------------- */

static void *touch_all(void *arg)
{
        struct scene *s = arg;

        for (uint64_t i = 0; i < PAGES; i++)
                (void)*(volatile char *)(s->shared + i * PAGE);
        return NULL;
}

/* While faults of its threads wait for their pages. */
static int ending_child(void *arg)
{
        pthread_t t[4];

        for (int i = 0; i < 4; i++)
                if (pthread_create(&t[i], NULL, touch_all, arg))
                        return 1;
        usleep(2000);
        return 0;
}

static void ends_while_it_waits(void)
{
        struct scene s = { .path = test_stamped_file("slow", PAGES) };

        test_at("a child ends while its faults wait");
        s.e = open_family((struct fl_engine_config){
                .cache = CACHE, .readahead = PAGE, .faults = "delay=20ms" });
        s.f = open_file(s.e, s.path, O_RDWR);
        s.shared = map_file(s.e, s.f, PAGES * PAGE, BOTH, MAP_SHARED, 0);
        for (int i = 0; i < 4; i++)
                expect_child(start_child(ending_child, &s), 0, "one that ends early");
        expect(!stamp_wrong(s.shared, 0, 0), "the parent is served no more");
        check_engine(s.e);
        expect(fl_munmap(s.e, s.shared, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(s.f);
        close_engine(s.e);
}

/* --- what cannot be had ------------------------------------------------------------------- */

static int erring_child(void *arg)
{
        struct scene *s = arg;
        int bad = 0;

        bad |= (try_load(s->shared + 4 * PAGE, NULL).signo != SIGBUS) << 0; /* cannot be read */
        bad |= (try_load(s->shared + 4 * PAGE, NULL).signo != SIGBUS) << 1;
        bad |= (stamp_wrong(s->shared + 5 * PAGE, 5, 0) != NULL) << 2;
        give_word(s->told);
        wait_for_word(s->go); /* the file has been cut to two pages */
        bad |= (try_load(s->shared + 5 * PAGE, NULL).signo != SIGBUS) << 3;
        bad |= (stamp_wrong(s->shared + PAGE, 1, 0) != NULL) << 4;
        bad |= (try_store(s->shared + 6 * PAGE, 1).signo != SIGBUS) << 5;
        return bad;
}

static void errors(struct scene *pipes)
{
        struct scene s = *pipes;
        pid_t pid;

        test_at("errors");
        s.path = test_stamped_file("bad", 16);
        s.e = open_family((struct fl_engine_config){ .cache = CACHE,
                                                     .readahead = PAGE,
                                                     .flags = FL_ENGINE_QUIET,
                                                     .faults = "eio@16384+4096" });
        s.f = open_file(s.e, s.path, O_RDWR);
        s.shared = map_file(s.e, s.f, 16 * PAGE, BOTH, MAP_SHARED, 0);
        pid = start_child(erring_child, &s);
        wait_for_word(s.told);
        expect(fl_ftruncate(s.f, 2 * PAGE) == 0, "%s", fl_strerror());
        give_word(s.go);
        expect_child(pid, 0, "errors");
        check_engine(s.e);
        expect(fl_munmap(s.e, s.shared, 16 * PAGE) == 0, "%s", fl_strerror());
        close_file(s.f);
        close_engine(s.e);
}

/* The store to a page that the child is shown already: to take it away the parent needs the child. */
static int storing_child(void *arg)
{
        struct scene *s = arg;
        unsigned char v;

        if (try_load(s->shared, &v).signo || v != 0)
                return 1;
        return try_store(s->shared, 1).signo == SIGBUS ? 0 : 2;
}

static void no_room_on_the_disk(void)
{
        struct scene s = { .path = test_file("hole", 16 * PAGE) };

        test_at("no room on the disk");
        s.e = open_family((struct fl_engine_config){
                .cache = CACHE, .flags = FL_ENGINE_QUIET, .faults = "enospc@0+4096" });
        s.f = open_file(s.e, s.path, O_RDWR);
        s.shared = map_file(s.e, s.f, 16 * PAGE, BOTH, MAP_SHARED, 0);
        expect_child(start_child(storing_child, &s), 0, "a store to a hole");
        expect_eq(storing_child(&s), 0, "the same in the parent");
        expect(fl_munmap(s.e, s.shared, 16 * PAGE) == 0, "%s", fl_strerror());
        close_file(s.f);
        close_engine(s.e);
}

int main(int argc, char **argv)
{
        unsigned fds, threads;
        struct scene s = { 0 };

        test_begin(argc, argv, 1, 1, 100);
        if (CHILDREN_MAY_HANG)
                test_skip("this sanitizer's allocator may stay locked in a forked child");
        test_unvisited();
        s.path = test_stamped_file("file", PAGES);
        require(!pipe(s.go) && !pipe(s.told), "pipe");
        s.e = open_family((struct fl_engine_config){ .cache = CACHE / 2 });
        s.f = open_file(s.e, s.path, O_RDWR);
        s.shared = map_file(s.e, s.f, PAGES * PAGE, BOTH, MAP_SHARED, 0);
        s.private = map_file(s.e, s.f, PAGES * PAGE, BOTH, MAP_PRIVATE, 0);
        s.anon = map_file(s.e, NULL, 2 * COPIES * PAGE, BOTH, MAP_PRIVATE | MAP_ANONYMOUS, 0);
        shared_pages(&s);
        written_back(&s);
        private_pages(&s);
        /* With what the engine opens and starts when it is needed, without the children. */
        for (int i = 0; i < 20; i++) {
                fds = count_fds();
                threads = count_threads();
                usleep(5000);
                i = count_fds() == fds && count_threads() == threads ? i : 0;
        }
        advice(&s);
        expect(fl_fsync(s.f) == 0, "%s", fl_strerror()); /* so that another engine reads the same */
        expect_child(start_child(calling_child, &s), 0, "calls");
        expect_child(start_child(forking_child, &s), 0, "a child of the child");
        expect_child(start_child(unmapping_child, &s), 0, "munmap");
        for (int i = 0; i < 8; i++)
                expect_child(start_child(becoming_another, &s), 0, "exec");
        expect_nothing_left(fds, threads);
        check_engine(s.e);
        expect(fl_munmap(s.e, s.shared, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(s.e, s.private, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(s.e, s.anon, 2 * COPIES * PAGE) == 0, "%s", fl_strerror());
        expect_eq(get_stats(s.e).cache_bytes_peak <= CACHE / 2, 1, "the budget");
        close_file(s.f);
        close_engine(s.e);
        ends_while_it_waits();
        errors(&s);
        no_room_on_the_disk();
        return test_end();
}
