/* SPDX-License-Identifier: Apache-2.0
 *
 * orphan.c - a child that has inherited mappings, and whose parent is killed, or closes the engine:
 * what must be served from then on raises SIGBUS, what it is shown stays, and nothing is ever zeros;
 * a thread that waits for its page at that moment is not left waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "family.h"

#define PAGE TEST_PAGE
#define PAGES 64ul
#define SWAPPED 50ul /* a page of shared memory that is in the swap area */
#define BOTH (PROT_READ | PROT_WRITE)

struct scene {
        const char *path, *faults;
        char *shared, *private, *anon, *memory; /* memory: shared, without a file */
        int ready[2];                           /* the child has begun */
        int over[2];    /* ends with the parent, or is told that the engine is closed */
        int verdict[2]; /* what the child found */
        bool waits;     /* it is in a fault at that moment */
        bool bare;      /* it has closed all descriptors that it knows of */
        bool closes;    /* the parent goes on, without the engine */
};

/* A signal at an access that has to be served: promised within a second. An access that is still
 * waiting after ten is ended by SIGALRM, and the tester learns nothing. */
static bool is_refused(struct caught c)
{
        return c.signo == SIGBUS;
}

static int look_after_the_end(struct scene *s)
{
        int bad = 0;

        /* Never seen: a hole in what is mapped, of a file, of private memory. */
        bad |= !is_refused(try_load(s->shared + 40 * PAGE, NULL)) << 0;
        bad |= !is_refused(try_load(s->memory + 40 * PAGE, NULL)) << 0;
        bad |= !is_refused(try_store(s->shared + 41 * PAGE, 1)) << 1;
        bad |= !is_refused(try_load(s->private + 42 * PAGE, NULL)) << 2;
        bad |= !is_refused(try_store(s->anon + 43 * PAGE, 1)) << 3;
        /* Seen, and clean: a store would be lost. */
        bad |= !is_refused(try_store(s->shared + 2 * PAGE, 1)) << 4;
        bad |= !is_refused(try_store(s->memory + 2 * PAGE, 1)) << 4;
        /* In the swap area, which nobody reads for it. */
        bad |= !is_refused(try_load(s->memory + SWAPPED * PAGE, NULL)) << 4;
        bad |= (s->anon[0] != 1) << 5; /* its own */
        /* What it has stored to and is shown; with the engine the memory has gone. */
        bad |= (s->closes ? !is_refused(try_load(s->memory, NULL))
                          : stamp_wrong(s->memory, 0, 2) != NULL)
               << 5;
        return bad;
}

static void child(struct scene *s)
{
        unsigned char v = 0;
        char c = 'x';
        int bad = 0;

        alarm(10);
        for (uint64_t i = 0; !s->waits && i < 4; i++)
                bad |= (stamp_wrong(s->shared + i * PAGE, i, 0) != NULL) << 6;
        if (!s->waits) {
                bad |= (stamp_wrong(s->memory, 0, 1) || s->memory[2 * PAGE]) << 6;
                stamp_write(s->memory, 0, 2);
        }
        if (s->bare) {
                int keep[] = { s->ready[1], s->over[0], s->verdict[1] };

                for (int fd = 3; fd < 4096; fd++)
                        if (fd != keep[0] && fd != keep[1] && fd != keep[2])
                                close(fd);
                /* And is served all the same. */
                bad |= (stamp_wrong(s->shared + 5 * PAGE, 5, 0) != NULL) << 6;
        }
        if (write(s->ready[1], &c, 1) != 1)
                _exit(1);
        if (s->waits) /* the parent ends meanwhile */
                bad |= !is_refused(try_load(s->shared + 30 * PAGE, &v)) << 6;
        else
                close(s->over[1]);
        while (!s->waits && read(s->over[0], &c, 1) < 0 && errno == EINTR)
                ;
        alarm(10);
        /* The pipe may end before the process has. */
        if (!s->waits && !s->closes) {
                struct timespec pause = { .tv_nsec = 200000000 };

                while (nanosleep(&pause, &pause) && errno == EINTR)
                        ;
        }
        if (!s->waits)
                bad |= look_after_the_end(s);
        c = (char)bad;
        if (write(s->verdict[1], &c, 1) != 1)
                _exit(1);
        _exit(0);
}

/* In a process of its own. */
static void parent(struct scene *s)
{
        struct fl_engine *e = open_family((struct fl_engine_config){
                .cache = 1 << 20, .swap = "ram:1M", .readahead = PAGE, .faults = s->faults });
        struct fl_file *f = open_file(e, s->path, O_RDWR);
        char c = 'x';

        s->memory = map_file(e, NULL, PAGES * PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS, 0);
        stamp_write(s->memory, 0, 1);
        stamp_write(s->memory + SWAPPED * PAGE, SWAPPED, 1);
        expect_eq(fl_evict(e, s->memory + SWAPPED * PAGE, PAGE), PAGE, "what has gone to swap");
        s->shared = map_file(e, f, PAGES * PAGE, BOTH, MAP_SHARED, 0);
        s->private = map_file(e, f, PAGES * PAGE, BOTH, MAP_PRIVATE, 0);
        s->anon = map_file(e, NULL, PAGES * PAGE, BOTH, MAP_PRIVATE | MAP_ANONYMOUS, 0);
        s->anon[0] = 1;
        if (fork() == 0)
                child(s);
        /* A brother, who outlives the parent too: what he has inherited must keep nobody waiting. */
        if (fork() == 0) {
                close(s->verdict[1]);
                close(s->over[1]);
                alarm(20);
                while (read(s->over[0], &c, 1) < 0)
                        ;
                sleep(2);
                _exit(0);
        }
        close(s->verdict[1]);
        if (s->closes) {
                while (read(s->ready[0], &c, 1) < 0)
                        ;
                expect(fl_munmap(e, s->shared, PAGES * PAGE) == 0, "%s", fl_strerror());
                expect(fl_munmap(e, s->memory, PAGES * PAGE) == 0, "%s", fl_strerror());
                expect(fl_munmap(e, s->private, PAGES * PAGE) == 0, "%s", fl_strerror());
                close_file(f);
                close_engine(e);
                if (write(s->over[1], "xx", 2) != 2)
                        _exit(1);
        }
        for (;;)
                pause();
}

static void end_of(const char *what, struct scene s)
{
        char c = 0;
        pid_t pid;

        test_at(what);
        s.path = test_stamped_file("file", PAGES);
        require(!pipe(s.ready) && !pipe(s.over) && !pipe(s.verdict), "pipe");
        pid = fork();
        require(pid >= 0, "fork: %s", strerror(errno));
        if (pid == 0)
                parent(&s);
        close(s.verdict[1]);
        close(s.over[1]);
        if (!s.closes) {
                close(s.ready[1]);
                require(read(s.ready[0], &c, 1) == 1, "%s: no child", what);
                if (s.waits)
                        usleep(200000);
                kill(pid, SIGKILL);
        }
        c = 127;
        expect(read(s.verdict[0], &c, 1) == 1 && c == 0, "%s: what the child found: %#x", what,
               (unsigned)c);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(s.verdict[0]);
        close(s.over[0]);
        close(s.ready[0]);
        if (s.closes)
                close(s.ready[1]);
}

int main(int argc, char **argv)
{
        struct fl_engine *e;

        test_begin(argc, argv, 1, 1, 100);
        if (CHILDREN_MAY_HANG)
                test_skip("this sanitizer's allocator may stay locked in a forked child");
        /* Where no child can be served there is nothing to see. */
        e = open_family((struct fl_engine_config){ .cache = 1 << 20 });
        close_engine(e);
        end_of("the parent is killed", (struct scene){ 0 });
        end_of("the parent is killed, the child has closed what it could",
               (struct scene){ .bare = true });
        end_of("the parent is killed while the child waits for a page",
               (struct scene){ .waits = true, .faults = "delay=60s@122880+4096" });
        end_of("the parent closes the engine", (struct scene){ .closes = true });
        return test_end();
}
