/* SPDX-License-Identifier: Apache-2.0
 *
 * refusals.c - what becomes of a fault, and of the pages, when what is below refuses: the kernel a
 * translation, the table pool a table. It looks into the engine, puts calls of its own in the place of
 * the MMU's, and takes all tables away. A thread is told, and never faults for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/engine.h"
#include "harness.h"
#include "mman.h"

#define PAGE TEST_PAGE
#define CACHE (1ul << 20)
#define PAGES 64ul
#define BAD 10ul /* the page it is about */
#define BOTH (PROT_READ | PROT_WRITE)

struct world {
        struct fl_engine *e;
        struct fl_file *f;
        const char *path;
        char *p;
};

static struct world begin(const char *faults, int kind, bool of_file)
{
        struct world w = { .e = open_engine_with((struct fl_engine_config){
                                   .cache = CACHE,
                                   .faults = faults,
                                   .readahead = PAGE,
                                   .flags = FL_ENGINE_QUIET,
                           }) };

        if (of_file) {
                w.path = test_stamped_file("file", PAGES);
                w.f = open_file(w.e, w.path, O_RDWR);
        }
        w.p = map_file(w.e, w.f, PAGES * PAGE, BOTH, kind | (of_file ? 0 : MAP_ANONYMOUS), 0);
        return w;
}

static void end(struct world *w)
{
        check_engine(w->e);
        expect(fl_munmap(w->e, w->p, PAGES * PAGE) == 0, "%s", fl_strerror());
        check_engine(w->e);
        if (w->f)
                close_file(w->f);
        close_engine(w->e);
}

static int error_in(struct world *w)
{
        struct fl_error_info info = { .size = sizeof(info) };

        return fl_error(w->e, w->p, PAGES * PAGE, &info) == 1 ? info.error : 0;
}

static void expect_signal(struct caught c, int signo, const char *what)
{
        expect(c.signo == signo, "%s: %s", what, caught_name(c));
}

/* --- an event that comes late ------------------------------------------------------------- */

/* The kernel tells of one access twice. The second time the access is over, and its error has been
 * cleared: nobody asks for the page any more. */
static void told_too_late(void)
{
        struct world w = begin("eio@40960+4096", MAP_SHARED, true);
        struct fl_mapping_config rules = { .size = sizeof(rules), .on_error = "zero" };
        struct mmu_client *client = &w.e->mm->client;
        struct mmu_fault fault = { .address = (uint64_t)(uintptr_t)w.p + BAD * PAGE,
                                   .kind = MMU_FAULT_MISSING,
                                   .epoch = atomic_load(&client->epoch) };
        unsigned char byte = 1;

        test_at("told too late");
        require(fl_mapping_set(w.e, w.p, PAGES * PAGE, &rules) == 0, "%s", fl_strerror());
        for (int round = 0; round < 2; round++) {
                expect_signal(try_load(w.p + BAD * PAGE, &byte), 0, "a load");
                expect(byte == 0, "not zeros");
                expect_eq(error_in(&w), EIO, "the error");
                if (round == 0)
                        expect(fl_error_clear(w.e, w.p, PAGES * PAGE) == 0, "%s", fl_strerror());
                else
                        expect(fl_madvise(w.e, w.p, PAGES * PAGE, MADV_DONTNEED) == 0, "%s",
                               fl_strerror());
                client->faults(client, &fault, 1);
                check_engine(w.e); /* nothing is on its way any more */
                expect_eq(error_in(&w), 0, "an error that was cleared");
        }
        end(&w);
}

enum parting { DROPPED, DROPPED_OFTEN, MAPPED_ANEW, MOVED_AWAY, PARTINGS };

/* The private page at `at` is no more. */
static void part_from(struct world *w, char *at, enum parting how)
{
        char *elsewhere;

        switch (how) {
        case DROPPED_OFTEN: /* the engine does not remember when it was */
                for (unsigned i = 0; i < 200; i++) {
                        w->p[0] = 1;
                        expect(fl_madvise(w->e, w->p, PAGE, MADV_DONTNEED) == 0, "%s",
                               fl_strerror());
                }
                __attribute__((fallthrough));
        case DROPPED:
                expect(fl_madvise(w->e, at, PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
                return;
        case MOVED_AWAY:
                elsewhere = map_file(w->e, w->f, PAGE, BOTH, MAP_PRIVATE, 0);
                require(fl_mremap(w->e, at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) ==
                                elsewhere,
                        "%s", fl_strerror());
                expect(fl_munmap(w->e, elsewhere, PAGE) == 0, "%s", fl_strerror());
                __attribute__((fallthrough));
        default:
                require(fl_mmap(w->e, at, PAGE, BOTH, MAP_PRIVATE | MAP_FIXED, w->f, BAD * PAGE) ==
                                at,
                        "%s", fl_strerror());
        }
}

/* The kernel tells of one store to a private page twice. The second time the store's page is no more: there
 * is no copy to be made, behind which what the file is given later would not be seen. */
static void store_told_too_late(enum parting how, uint32_t kind, bool shown)
{
        struct world w = begin(NULL, MAP_PRIVATE, true);
        struct mmu_client *client = &w.e->mm->client;
        char *at = w.p + BAD * PAGE, now = 0;
        struct mmu_fault fault = { .address = (uint64_t)(uintptr_t)at,
                                   .kind = kind,
                                   .write = true,
                                   .epoch = atomic_load(&client->epoch) };

        test_at("a store told too late");
        *at = 1;
        part_from(&w, at, how);
        if (shown)
                now = *(volatile char *)at;
        client->faults(client, &fault, 1);
        check_engine(w.e); /* nothing is on its way any more */
        now = (char)(now + 77);
        expect(fl_pwrite(w.f, &now, 1, BAD * PAGE) == 1, "%s", fl_strerror());
        expect_eq(*(volatile char *)at, now, "what the file holds");
        *at = 2;
        expect_eq(*(volatile char *)at, 2, "a store that comes");
        end(&w);
}

static void stores_told_too_late(void)
{
        for (unsigned how = 0; how < PARTINGS; how++) {
                store_told_too_late(how, MMU_FAULT_MISSING, false);
                store_told_too_late(how, MMU_FAULT_MISSING, true);
                store_told_too_late(how, MMU_FAULT_WP, true);
        }
}

/* --- the MMU ------------------------------------------------------------------------------ */

static const struct mmu_ops *real;
static struct mmu_ops ops;
static _Atomic uint64_t refused_at; /* the page for which there is no memory; 0: none */
static _Atomic unsigned refusals;

static bool refuses(uint64_t addr, uint64_t nr)
{
        uint64_t at = atomic_load(&refused_at);
        bool yes = at >= addr && at < addr + nr * PAGE;

        if (yes)
                atomic_fetch_add(&refusals, 1);
        return yes;
}

static int no_map_run(struct mmu *m, uint64_t addr, uint64_t nr, bool wp, bool *existed)
{
        *existed = false;
        return refuses(addr, nr) ? -ENOMEM : real->map_run(m, addr, nr, wp, existed);
}

static int no_copy(struct mmu *m, uint64_t addr, const void *pages, uint64_t nr, bool wp,
                   uint64_t *done)
{
        if (!refuses(addr, nr))
                return real->copy(m, addr, pages, nr, wp, done);
        if (done)
                *done = 0;
        return -ENOMEM;
}

static int no_zero(struct mmu *m, uint64_t addr, uint64_t nr, uint64_t *own)
{
        return refuses(addr, nr) ? -ENOMEM : real->zero(m, addr, nr, own);
}

/* A child's descriptor is there as long as mm->lock is held. */
static struct fl_engine *engine;
static _Atomic unsigned careless;

static int careful_wake(struct mmu *m, uint64_t addr, uint64_t nr)
{
        if (!rwlock_is_locked(&engine->mm->lock))
                atomic_fetch_add(&careless, 1);
        return real->wake(m, addr, nr);
}

static void replace_ops(struct fl_engine *e)
{
        engine = e;
        real = e->mm->mmu->ops;
        ops = *real;
        ops.wake = careful_wake;
        ops.map_run = no_map_run;
        ops.copy = no_copy;
        ops.zero = no_zero;
        e->mm->mmu->ops = &ops;
}

static void no_translation(int kind, bool of_file, bool store)
{
        struct world w = begin(NULL, kind, of_file);
        char *bad = w.p + BAD * PAGE;
        unsigned char byte;
        struct caught c;

        test_at(of_file ? "no translation for a file's page" : "no translation for memory");
        replace_ops(w.e);
        atomic_store(&refused_at, (uint64_t)(uintptr_t)bad);
        atomic_store(&refusals, 0);
        c = store ? try_store(bad, 1) : try_load(bad, &byte);
        expect_signal(c, SIGBUS, "what cannot be shown");
        expect(atomic_load(&refusals) > 0, "nothing was refused");
        expect_eq(error_in(&w), ENOMEM, "the error");
        expect_signal(try_load(bad + PAGE, &byte), 0, "its neighbour");
        atomic_store(&refused_at, 0);
        expect(fl_error_clear(w.e, w.p, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect_eq(error_in(&w), 0, "an error that was cleared");
        c = store ? try_store(bad + 8, 1) : try_load(bad + 8, &byte);
        expect_signal(c, 0, "with memory again");
        expect_eq(atomic_load(&careless), 0, "calls of the MMU's without mm->lock");
        end(&w);
}

/* --- a file that is cut ------------------------------------------------------------------- */

static int no_reserve(struct mmu *m, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
                      uint64_t offset)
{
        if ((flags & MAP_FIXED) && refuses(*addr, len / PAGE))
                return -ENOMEM;
        return real->reserve(m, addr, len, prot, flags, fd, offset);
}

/* Zeros stand in for a page of what is cut off, and the file cannot be mapped in their place:
 * fl_error tells of them as before, so that nobody takes them for the file when that is longer
 * again. */
static void cut_and_not_mapped_again(void)
{
        struct world w = begin("eio@40960+4096*1", MAP_SHARED, true);
        struct fl_mapping_config rules = { .size = sizeof(rules), .on_error = "zero" };
        char *bad = w.p + BAD * PAGE, byte = 0;

        test_at("zeros in a file that is cut");
        require(fl_mapping_set(w.e, w.p, PAGES * PAGE, &rules) == 0, "%s", fl_strerror());
        expect_signal(try_store(bad, 1), 0, "a store");
        expect_eq(error_in(&w), EIO, "the error");
        replace_ops(w.e);
        ops.reserve = no_reserve;
        atomic_store(&refused_at, (uint64_t)(uintptr_t)bad);
        expect(fl_ftruncate(w.f, BAD * PAGE) == 0, "%s", fl_strerror());
        atomic_store(&refused_at, 0);
        expect(fl_ftruncate(w.f, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect_eq(error_in(&w), EIO, "the error of what could not be mapped again");
        expect(fl_error_clear(w.e, w.p, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect_signal(try_store(bad, 'x'), 0, "a store to the file");
        expect(fl_pread(w.f, &byte, 1, BAD * PAGE) == 1 && byte == 'x', "the file has not got it");
        end(&w);
}

/* --- locked in memory by the program ------------------------------------------------------ */

#define MANY 320ul /* more than the budget */
#define ROW 32ul

/* Every second half row of p. */
static bool lock_halves(char *p)
{
        for (uint64_t i = ROW / 2; i < MANY; i += ROW)
                if (mlock(p + i * PAGE, ROW / 2 * PAGE))
                        return false;
        return true;
}

/* mlock(2) by the program itself: the kernel unmaps a part of a row and refuses the rest. No
 * page is lost, nor a store, whether it stays or goes. */
static void locked_behind_our_back(int kind)
{
        struct fl_engine *e = open_engine_with((struct fl_engine_config){
                .cache = CACHE, .swap = "ram:16M", .flags = FL_ENGINE_QUIET });
        char *p = map_file(e, NULL, MANY * PAGE, BOTH, kind | MAP_ANONYMOUS, 0);
        char *q = map_file(e, NULL, MANY * PAGE, BOTH, MAP_PRIVATE | MAP_ANONYMOUS, 0);

        test_at("locked by the program");
        for (uint64_t i = 0; i < MANY; i++)
                stamp_write(p + i * PAGE, i, 0);
        for (uint64_t version = 0; version < 12; version++) {
                if (version == 1 && !lock_halves(p)) {
                        fprintf(stderr, "mlock: %s: the rest is not tried\n", strerror(errno));
                        break;
                }
                for (uint64_t i = 0; i < MANY; i++) {
                        char *at = p + i * PAGE;

                        expect(!stamp_wrong(at, i, version / 2 * 2), "version %llu: %s",
                               (unsigned long long)version, stamp_wrong(at, i, version / 2 * 2));
                        /* Every second time it is only read, and goes to the slot it has. */
                        if (version % 2)
                                stamp_write(at, i, version + 1);
                }
                for (uint64_t i = 0; i < MANY; i++)
                        stamp_write(q + i * PAGE, i, version);
        }
        munlock(p, MANY * PAGE);
        check_engine(e);
        expect(fl_munmap(e, p, MANY * PAGE) == 0 && fl_munmap(e, q, MANY * PAGE) == 0, "%s",
               fl_strerror());
        check_engine(e);
        close_engine(e);
}

#define HOT 8ul

static _Atomic bool stop;

/* Counts in the first words of the pages, and knows what it has counted. */
static void *count_all_the_time(void *arg)
{
        uint64_t counted = 0;
        char *p = arg;

        while (!atomic_load(&stop)) {
                for (uint64_t i = 0; i < HOT; i++) {
                        volatile uint64_t *word = (volatile uint64_t *)(p + i * PAGE);

                        expect(*word == counted, "page %llu: %llu, and it was counted to %llu",
                               (unsigned long long)i, (unsigned long long)*word,
                               (unsigned long long)counted);
                        *word = counted + 1;
                }
                counted++;
        }
        return NULL;
}

/* Pages that are shown all the time, and stored to, since the kernel does not unmap them, go to
 * the area and come back. */
static void hot_and_locked(void)
{
        struct fl_engine *e = open_engine_with((struct fl_engine_config){
                .cache = CACHE, .swap = "ram:16M", .flags = FL_ENGINE_QUIET });
        char *p = map_file(e, NULL, HOT * PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS, 0);
        char *q = map_file(e, NULL, MANY * PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS, 0);
        pthread_t thread;

        test_at("hot, and locked by the program");
        for (uint64_t i = 0; i < HOT; i++)
                *(volatile uint64_t *)(p + i * PAGE) = 0;
        if (mlock(p, HOT * PAGE) == 0) {
                require(pthread_create(&thread, NULL, count_all_the_time, p) == 0, "a thread");
                for (uint64_t round = 0; round < 25; round++)
                        for (uint64_t i = 0; i < MANY; i++)
                                stamp_write(q + i * PAGE, i, round);
                atomic_store(&stop, true);
                pthread_join(thread, NULL);
        }
        munlock(p, HOT * PAGE);
        check_engine(e);
        expect(fl_munmap(e, p, HOT * PAGE) == 0 && fl_munmap(e, q, MANY * PAGE) == 0, "%s",
               fl_strerror());
        close_engine(e);
}

/* --- moving ------------------------------------------------------------------------------- */

#define HOLE 40ul

/* The program has unmapped a page in the middle by itself. The kernel moves what is before it,
 * and then may refuse: nothing has happened, or all of it, but no page is lost. */
static void moved_over_a_hole(bool of_file)
{
        struct world w = begin(NULL, MAP_PRIVATE, of_file);
        char *q, *at = w.p;

        test_at("moving what has a hole");
        for (uint64_t i = 0; i < PAGES; i++)
                stamp_write(w.p + i * PAGE, i, 1);
        require(munmap(w.p + HOLE * PAGE, PAGE) == 0, "%s", strerror(errno));
        q = map_file(w.e, NULL, 2 * PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
        q = fl_mremap(w.e, w.p, PAGES * PAGE, 2 * PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q);
        if (q != MAP_FAILED)
                at = q;
        for (uint64_t i = 0; i < PAGES; i++) {
                unsigned char byte;
                struct caught c = { 0 };

                if (i != HOLE)
                        c = try_load(at + i * PAGE, &byte);
                expect(!c.signo, "page %llu: %s", (unsigned long long)i, caught_name(c));
                if (i != HOLE && !c.signo)
                        expect(!stamp_wrong(at + i * PAGE, i, 1), "%s",
                               stamp_wrong(at + i * PAGE, i, 1));
        }
        w.p = at;
        if (q != MAP_FAILED)
                expect(fl_munmap(w.e, q + PAGES * PAGE, PAGES * PAGE) == 0, "%s", fl_strerror());
        end(&w);
}

/* --- protection --------------------------------------------------------------------------- */

/* The program has made a mapping writable by mprotect(2). The kernel lets a store pass, and asks
 * for the page; we do not, and the store ends in a signal. */
static void protected_behind_our_back(void)
{
        struct world w = begin(NULL, MAP_SHARED, true);
        struct caught c;

        test_at("protected by the program");
        expect(fl_mprotect(w.e, w.p, PAGES * PAGE, PROT_READ) == 0, "%s", fl_strerror());
        expect(mprotect(w.p, PAGES * PAGE, BOTH) == 0, "%s", strerror(errno));
        for (int i = 0; i < 2; i++) {
                c = try_store(w.p + BAD * PAGE, 1);
                /* With sigsegv nobody notices, if the page has not been shown yet. */
                expect(c.signo == SIGSEGV || (w.e->mm->mmu->ops == &sigsegv_mmu_ops && !c.signo),
                       "a store that may not be: %s", caught_name(c));
        }
        end(&w);
}

/* The program has mapped something over a page that is being written: what lies behind it is protected all the
 * same, and what is stored there meanwhile or later is written. */
static void mapped_over_behind_our_back(void)
{
        struct world w = begin(NULL, MAP_SHARED, true);
        char buf[PAGE];
        test_at("mapped over by the program");
        /* So few that nobody else writes them, and backwards, that none is thought to be next. */
        for (uint64_t n = BAD + 10; n-- > BAD;)
                stamp_write(w.p + n * PAGE, n, 1);
        require(mmap(w.p + BAD * PAGE, PAGE, BOTH, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                     0) != MAP_FAILED,
                "%s", strerror(errno));
        for (uint64_t version = 2; version <= 3; version++) {
                expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
                for (uint64_t n = BAD + 1; n < BAD + 10; n++)
                        stamp_write(w.p + n * PAGE, n, version);
        }
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        for (uint64_t n = BAD + 1; n < BAD + 10; n++)
                if (file_read(w.path, buf, PAGE, n * PAGE))
                        expect(!stamp_wrong(buf, n, 3), "page %lu on the disk", (unsigned long)n);
        end(&w);
}

/* --- tables ------------------------------------------------------------------------------- */

/* All tables there are, so that there are no more. */
static unsigned take_tables(struct table_pool *p, void **taken, unsigned most)
{
        unsigned n = 0;

        mutex_lock(&p->lock);
        p->units = p->next;
        mutex_unlock(&p->lock);
        while (n < most && (taken[n] = table_alloc(p)))
                n++;
        require(n < most, "%u tables and no end", n);
        return n;
}

static void no_table(const char *on_error, bool of_file)
{
        static void *taken[4096];
        struct world w = begin(NULL, MAP_PRIVATE, of_file);
        struct fl_mapping_config rules = {
                .size = sizeof(rules), .on_error = on_error, .retries = 2, .retry_time = 1000000000
        };
        struct table_pool *tables = &w.e->tables;
        uint32_t units = tables->units;
        unsigned char byte;
        unsigned n;

        test_at("no memory for a page table");
        require(fl_mapping_set(w.e, w.p, PAGES * PAGE, &rules) == 0, "%s", fl_strerror());
        n = take_tables(tables, taken, 4096);
        expect_signal(try_load(w.p + BAD * PAGE, &byte), SIGBUS, "a load");
        expect_signal(try_store(w.p + BAD * PAGE + 1, 1), SIGBUS, "a store");
        expect(fl_touch_range(w.e, w.p, PAGE, false) == -1 && errno == ENOMEM, "%s",
               strerror(errno));
        tables->units = units;
        while (n)
                table_free(tables, taken[--n]);
        expect_signal(try_load(w.p, &byte), 0, "another page, with memory again");
        expect(fl_error_clear(w.e, w.p, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect_eq(error_in(&w), 0, "an error that was cleared");
        expect_signal(try_store(w.p + BAD * PAGE + 8, 1), 0, "a store, with memory again");
        end(&w);
}

/* --- a cut ----------------------------------------------------------------------------------- */

static int no_resize(struct frames *f, uint64_t size)
{
        (void)f, (void)size;
        return -ENOMEM;
}

/* The file has been cut, and its frames cannot be: the kernel has no mapping to spare for those that read
 * them. A touch between the two ends was a fault for ever. */
static void frames_not_cut(void)
{
        struct world w = begin(NULL, MAP_SHARED, true);
        struct frames *frames = w.f->file->mapping->frames;
        const struct frame_ops *kept = frames->ops;
        struct frame_ops refusing = *kept;
        unsigned char byte = 1;

        test_at("frames not cut");
        refusing.resize = no_resize;
        frames->ops = &refusing;
        expect(fl_ftruncate(w.f, PAGES / 2 * PAGE) == -1 && errno == ENOMEM, "%s", strerror(errno));
        expect_signal(try_load(w.p + (PAGES - 1) * PAGE, NULL), SIGBUS, "a load behind the end");
        expect_signal(try_load(w.p, NULL), 0, "a load before it");
        check_engine(w.e);
        frames->ops = kept;
        expect(fl_ftruncate(w.f, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect(fl_error_clear(w.e, w.p, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect_signal(try_load(w.p + (PAGES - 1) * PAGE, &byte), 0, "a load when it is longer");
        expect(byte == 0, "of what was cut off");
        end(&w);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        told_too_late();
        stores_told_too_late();
        for (int store = 0; store < 2; store++) {
                no_translation(MAP_SHARED, true, store);
                no_translation(MAP_PRIVATE, true, store);
                no_translation(MAP_PRIVATE, false, store);
        }
        cut_and_not_mapped_again();
        locked_behind_our_back(MAP_PRIVATE);
        locked_behind_our_back(MAP_SHARED);
        hot_and_locked();
        protected_behind_our_back();
        mapped_over_behind_our_back();
        moved_over_a_hole(false);
        moved_over_a_hole(true);
        no_table("sigbus", false);
        no_table("sigbus", true);
        no_table("retry", false);
        frames_not_cut();
        return test_end();
}
