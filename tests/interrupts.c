/* SPDX-License-Identifier: Apache-2.0
 *
 * interrupts.c - a handler of the program's own that touches mapped memory, while the thread it
 * interrupts is in a call of the library: the handler's fault may need what the call has locked, so
 * it has to wait for the end of the call. Signals come one after the other, from another thread, as
 * fast as they are taken; the test ends when enough of them have come in the middle of a call.
 *
 * And a handler that interrupts malloc, while another thread is in a call: what the call has locked it
 * must not hold while it waits for memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define PAGES 512ul /* of each kind: together far more than the cache holds */
#define CACHE (256 * PAGE)

static struct {
        struct fl_engine *engine;
        struct fl_file *file;
        char *shared, *private, *anon; /* what the handler touches */
        pthread_t victim;
        _Atomic bool stop, in_call;
        _Atomic uint64_t sent, taken, sent_in_call;
        uint64_t state; /* of the handler's random numbers */
        uint64_t wrong; /* pages that were not what they should be */
} s;

/* Each page of each kind says whose it is; stores go behind that. */
static void touch_one(char *map, uint64_t page, bool stamped)
{
        volatile char *p = map + page * PAGE;
        uint64_t number;

        memcpy(&number, (const char *)p, sizeof(number));
        if (stamped ? number != page : number != 0 && number != page + 1)
                s.wrong++;
        if (!stamped) {
                number = page + 1;
                memcpy((char *)p, &number, sizeof(number));
        }
        p[1000]++;
}

static void on_signal(int signo)
{
        (void)signo;
        touch_one(s.shared, random_below(&s.state, PAGES), true);
        touch_one(s.private, random_below(&s.state, PAGES), true);
        touch_one(s.anon, random_below(&s.state, PAGES), false);
        atomic_fetch_add(&s.taken, 1);
}

static void *send(void *arg)
{
        uint64_t seed = test.seed;

        (void)arg;
        test_at("sending");
        while (!atomic_load(&s.stop)) {
                if (atomic_load(&s.taken) != atomic_load(&s.sent)) {
                        sched_yield();
                        continue;
                }
                for (uint64_t i = random_below(&seed, 2000); i > 0; i--)
                        __asm__ volatile("" ::: "memory");
                atomic_fetch_add(&s.sent, 1);
                if (atomic_load(&s.in_call))
                        atomic_fetch_add(&s.sent_in_call, 1);
                if (pthread_kill(s.victim, SIGUSR1)) {
                        test_fail(__FILE__, __LINE__, "pthread_kill");
                        break;
                }
        }
        return NULL;
}

/* --- calls, each of them for a place of its own; they hold what a fault needs */

static void map_and_unmap(uint64_t *seed)
{
        uint64_t at = random_below(seed, PAGES - 8), nr = 2 + random_below(seed, 7);
        bool anon = random_below(seed, 2);
        char *p = fl_mmap(s.engine, NULL, nr * PAGE, RW, anon ? ANON : MAP_SHARED,
                          anon ? NULL : s.file, anon ? 0 : (off_t)(at * PAGE));

        require(p != MAP_FAILED, "%s", fl_strerror());
        expect(fl_mprotect(s.engine, p + PAGE, PAGE, PROT_READ) == 0, "%s", fl_strerror());
        expect(fl_munmap(s.engine, p, nr * PAGE) == 0, "%s", fl_strerror());
}

static char *spot(uint64_t *seed, uint64_t *nr)
{
        char *maps[] = { s.shared, s.private, s.anon };
        uint64_t at = random_below(seed, PAGES - 8);

        *nr = 1 + random_below(seed, 8);
        return maps[random_below(seed, 3)] + at * PAGE;
}

static void advise(uint64_t *seed)
{
        static const int advices[] = { MADV_DONTNEED, MADV_RANDOM, MADV_NORMAL, MADV_WILLNEED };
        uint64_t nr;
        char *p = spot(seed, &nr);

        expect(fl_madvise(s.engine, p, nr * PAGE, advices[random_below(seed, 4)]) == 0, "%s",
               fl_strerror());
}

static void look(uint64_t *seed)
{
        unsigned char vec[8];
        uint64_t nr;
        char *p = spot(seed, &nr);

        expect(fl_mincore(s.engine, p, nr * PAGE, vec) == 0, "%s", fl_strerror());
        expect(fl_touch_range(s.engine, p, nr * PAGE, 1) == 0, "%s", fl_strerror());
}

static void read_file(uint64_t *seed)
{
        uint64_t at = random_below(seed, PAGES - 8), number;
        char buf[8 * PAGE];

        expect(fl_pread(s.file, buf, sizeof(buf), (off_t)(at * PAGE)) == (ssize_t)sizeof(buf), "%s",
               fl_strerror());
        for (uint64_t i = 0; i < 8; i++) {
                memcpy(&number, buf + i * PAGE, sizeof(number));
                expect_eq(number, at + i, "a page that was read");
        }
}

static void write_file(uint64_t *seed)
{
        uint64_t at = random_below(seed, PAGES);

        expect(fl_pwrite(s.file, "x", 1, (off_t)(at * PAGE + 2000)) == 1, "%s", fl_strerror());
        expect(fl_msync(s.engine, s.shared + at * PAGE, PAGE, MS_ASYNC) == 0, "%s", fl_strerror());
}

static void lock_pages(uint64_t *seed)
{
        uint64_t nr;
        char *p = spot(seed, &nr);

        expect(fl_mlock2(s.engine, p, nr * PAGE, 1 /* MLOCK_ONFAULT */) == 0, "%s", fl_strerror());
        expect(fl_munlock(s.engine, p, nr * PAGE) == 0, "%s", fl_strerror());
        fl_evict(s.engine, p, nr * PAGE);
}

static void (*const calls[])(uint64_t *) = {
        map_and_unmap, advise, look, read_file, write_file, lock_pages,
};
#define NR_CALLS (sizeof(calls) / sizeof(*calls))

static void storm(uint64_t enough)
{
        struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
        uint64_t seed = test.seed + 1;
        pthread_t sender;

        sigaction(SIGUSR1, &sa, NULL);
        s.victim = pthread_self();
        require(!pthread_create(&sender, NULL, send, NULL), "pthread_create");
        while (atomic_load(&s.sent_in_call) < enough && !test_failures()) {
                unsigned which = (unsigned)random_below(&seed, NR_CALLS);

                atomic_store(&s.in_call, true);
                calls[which](&seed);
                atomic_store(&s.in_call, false);
        }
        atomic_store(&s.stop, true);
        pthread_join(sender, NULL);
        printf("%llu signals, %llu of them sent in the middle of a call\n",
               (unsigned long long)s.taken, (unsigned long long)s.sent_in_call);
}

/* Another thread's calls; what they hold, the handler's fault waits for. */
static void *call_on(void *arg)
{
        uint64_t seed = test.seed + 2;
        sigset_t usr1;

        sigemptyset(&usr1);
        sigaddset(&usr1, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &usr1, NULL);
        test_at("calling");
        while (!atomic_load(&s.stop))
                calls[random_below(&seed, NR_CALLS)](&seed);
        return arg;
}

/* The handler interrupts malloc, which has its one arena locked: a call that wanted memory from it with
 * something locked that a fault needs would wait for us, as our fault would for the call. */
static void in_malloc(uint64_t enough)
{
        uint64_t seed = test.seed + 3;
        pthread_t sender, caller;
        void *block[64] = { NULL };

        if (!strcmp(fl_engine_mmu(s.engine), "sigsegv")) {
                printf("sigsegv wants memory with its lock held: that part is left out\n");
                return;
        }
        atomic_store(&s.stop, false);
        atomic_store(&s.sent, 0);
        atomic_store(&s.taken, 0);
        require(!pthread_create(&caller, NULL, call_on, NULL), "pthread_create");
        require(!pthread_create(&sender, NULL, send, NULL), "pthread_create");
        while (atomic_load(&s.taken) < enough && !test_failures()) {
                void **b = &block[random_below(&seed, 64)];

                free(*b);
                *b = malloc(2000 + random_below(&seed, 6000)); /* beyond what is kept a thread */
        }
        atomic_store(&s.stop, true);
        pthread_join(sender, NULL);
        pthread_join(caller, NULL);
        for (unsigned i = 0; i < 64; i++)
                free(block[i]);
}

/* A call leaves the thread's mask and cancellation as they were. */
static void mask_stays(void)
{
        sigset_t before, after;
        int state;

        pthread_sigmask(SIG_BLOCK, NULL, &before);
        sigaddset(&before, SIGUSR2);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        expect(fl_msync(s.engine, s.shared, PAGE, MS_ASYNC) == 0, "%s", fl_strerror());
        expect(fl_munmap(s.engine, NULL, 0) == -1 && errno == EINVAL, "errno is %d", errno);
        pthread_sigmask(SIG_BLOCK, NULL, &after);
        for (int i = 1; i < 32; i++)
                expect(sigismember(&before, i) == sigismember(&after, i), "signal %d", i);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
        expect(state == PTHREAD_CANCEL_ENABLE, "the thread cannot be cancelled any more");
        sigdelset(&before, SIGUSR2);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(int argc, char **argv)
{
        const char *is_long = getenv("FAULTLINE_TEST_LONG");
        const char *path;
        uint64_t bytes = PAGES * PAGE;

        mallopt(M_ARENA_MAX, 1);
        test_begin(argc, argv, 0, 0, 80);
        path = test_stamped_file("file", PAGES);
        s.engine = open_engine_with((struct fl_engine_config){ .cache = CACHE, .swap = "ram:16M" });
        s.file = open_file(s.engine, path, O_RDWR);
        s.shared = map_file(s.engine, s.file, bytes, RW, MAP_SHARED, 0);
        s.private = map_file(s.engine, s.file, bytes, RW, MAP_PRIVATE, 0);
        s.anon = fl_mmap(s.engine, NULL, bytes, RW, ANON, NULL, 0);
        require(s.anon != MAP_FAILED, "%s", fl_strerror());
        mask_stays();
        test_at("in the storm");
        storm(is_long && *is_long ? 20000 : 2000);
        test_at("in malloc");
        in_malloc(is_long && *is_long ? 20000 : 2000);
        test_at("after it");
        expect_eq(s.wrong, 0, "pages that were not what they should be");
        mask_stays();
        check_engine(s.engine);
        expect(fl_munmap(s.engine, s.shared, bytes) == 0, "%s", fl_strerror());
        expect(fl_munmap(s.engine, s.private, bytes) == 0, "%s", fl_strerror());
        expect(fl_munmap(s.engine, s.anon, bytes) == 0, "%s", fl_strerror());
        close_file(s.file);
        close_engine(s.engine);
        return test_end();
}
