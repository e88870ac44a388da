/* SPDX-License-Identifier: Apache-2.0
 *
 * locking.c - calls of memcntl(MC_LOCK) that meet: nothing is held while pages are read, so another may
 * lock the same pages, or ask for too much, or unlock, before the first is over and perhaps undone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "mman.h"

#define PAGES 512u
#define FIRST 48u /* what the first call locks */
#define SLOW 40u  /* the page of it that takes its time */
#define CACHE (128 * TEST_PAGE)
#define BYTES(pages) ((size_t)(pages)*TEST_PAGE)

struct scene {
        struct fl_engine *e;
        struct fl_file *f;
        char *p;
        pthread_t thread;
        int result, error;
};

static bool is_locked(struct scene *s, unsigned page)
{
        unsigned char flags = 0;

        expect(fl_incore(s->e, s->p + BYTES(page), 1, &flags) == 0, "%s", fl_strerror());
        return flags & FL_INCORE_LOCKED;
}

static int lock(struct scene *s, unsigned first, unsigned nr)
{
        return fl_memcntl(s->e, s->p + BYTES(first), BYTES(nr), FL_MC_LOCK, NULL, 0, 0);
}

static void *lock_slowly(void *arg)
{
        struct scene *s = arg;

        s->result = lock(s, 0, FIRST);
        s->error = errno;
        return NULL;
}

/* The first call has locked its pages, and is at the slow one; or it is over, on a machine that let this
 * thread wait so long. */
static struct scene begin(const char *faults)
{
        struct scene s = {
                .e = open_engine_with((struct fl_engine_config){ .cache = CACHE,
                                                                 .readahead = TEST_PAGE,
                                                                 .faults = faults,
                                                                 .flags = FL_ENGINE_QUIET }),
        };

        s.f = open_file(s.e, test_stamped_file("locking", PAGES), O_RDWR);
        s.p = map_file(s.e, s.f, BYTES(PAGES), PROT_READ, MAP_SHARED, 0);
        return s;
}

static void start(struct scene *s)
{
        unsigned char byte;

        /* There, so that it is seen when they are locked. */
        expect(!try_load(s->p, &byte).signo && !try_load(s->p + BYTES(20), &byte).signo, "pages");
        require(pthread_create(&s->thread, NULL, lock_slowly, s) == 0, "a thread");
        for (unsigned i = 0; !is_locked(s, 20) && i < 1000; i++)
                usleep(200);
}

static void join(struct scene *s)
{
        pthread_join(s->thread, NULL);
}

static void end(struct scene *s)
{
        check_engine(s->e);
        expect(fl_munmap(s->e, s->p, BYTES(PAGES)) == 0, "%s", fl_strerror());
        close_file(s->f);
        close_engine(s->e);
}

/* Two have locked a page, and one of them fails. */
static void failing_beside_another(void)
{
        struct scene s = begin("delay=300ms@163840+4096,eio@163840+4096");

        test_at("one fails");
        start(&s);
        expect(lock(&s, 0, 10) == 0, "%s", fl_strerror());
        join(&s);
        expect(s.result == -1 && s.error == EIO, "the slow call: %s", strerror(s.error));
        expect(is_locked(&s, 0), "what the other call has locked");
        expect(!is_locked(&s, 20), "what only the call that failed has locked is locked");
        end(&s);
}

/* It fails while the other, which will not, is still under way. */
static void failing_before_another(void)
{
        struct scene s = begin("delay=200ms@12288+4096,eio@12288+4096,delay=600ms@225280+4096");

        test_at("one fails first");
        start(&s);
        expect(lock(&s, 8, 52) == 0, "%s", fl_strerror());
        join(&s);
        expect(s.result == -1 && s.error == EIO, "the call that fails: %s", strerror(s.error));
        expect(!is_locked(&s, 0), "what only the call that failed has locked is locked");
        expect(is_locked(&s, 20), "what the other call has locked");
        end(&s);
}

/* The other is refused: of the first's nothing is undone, and what the first gets is its own. */
static void refused_beside_another(void)
{
        struct scene s = begin("delay=300ms@163840+4096");

        test_at("one is refused");
        start(&s);
        expect(lock(&s, 0, PAGES) == -1 && errno == EAGAIN, "more than there is: %s",
               strerror(errno));
        join(&s);
        expect(s.result == 0, "the slow call: %s", strerror(s.error));
        expect(is_locked(&s, 0) && is_locked(&s, 20), "what the slow call has locked");
        expect(fl_munlock(s.e, s.p, BYTES(FIRST)) == 0, "%s", fl_strerror());
        end(&s);
}

/* Linux's call locks for good, and unlocks for good. */
static void others_calls_meanwhile(void)
{
        struct scene s = begin("delay=300ms@163840+4096,eio@163840+4096");

        test_at("mlock and munlock meanwhile");
        start(&s);
        expect(fl_mlock(s.e, s.p, BYTES(4)) == 0, "%s", fl_strerror());
        join(&s);
        expect(s.result == -1 && s.error == EIO, "the slow call: %s", strerror(s.error));
        expect(is_locked(&s, 0), "what mlock has locked");
        end(&s);

        s = begin("delay=300ms@163840+4096");
        start(&s);
        expect(fl_munlock(s.e, s.p + BYTES(20), BYTES(1)) == 0, "%s", fl_strerror());
        join(&s);
        expect(s.result == 0, "the slow call: %s", strerror(s.error));
        expect(is_locked(&s, 0), "what the slow call has locked");
        expect(!is_locked(&s, 20), "what was unlocked meanwhile is locked");
        end(&s);
}

/* What mlock2 has locked page by page as they are touched is not brought in by another's call. */
static void on_fault_stays_so(void)
{
        struct scene s = begin(NULL);
        unsigned char vec[16];
        unsigned there = 0;

        test_at("locked on fault");
        expect(fl_mlock2(s.e, s.p, BYTES(16), MLOCK_ONFAULT) == 0, "%s", fl_strerror());
        expect(lock(&s, 0, 24) == 0, "%s", fl_strerror());
        expect(fl_mincore(s.e, s.p, BYTES(16), vec) == 0, "%s", fl_strerror());
        for (unsigned i = 0; i < 16; i++)
                there += vec[i];
        expect_eq(there, 0, "pages that nobody has touched");
        expect(is_locked(&s, 20), "what the call has locked");
        end(&s);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 1, 1, 60);
        failing_beside_another();
        failing_before_another();
        refused_beside_another();
        others_calls_meanwhile();
        on_fault_stays_so();
        return test_end();
}
