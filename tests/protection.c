/* SPDX-License-Identifier: Apache-2.0
 *
 * protection.c - what can go wrong with private pages where there is no userfaultfd: each is made by way of
 * its file's page, and shown by mprotect(2), of which the kernel allows only so many pieces.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "mman.h"
#include "most_maps.h"

#define PAGE TEST_PAGE
#define PAGES 1024ul
#define BAD 512ul /* behind the swap area, whose delays are another's */

#ifdef __SANITIZE_ADDRESS__ /* maps memory of its own now and then */
#define NEEDS_MAPPINGS true
#else
#define NEEDS_MAPPINGS false
#endif

struct scene {
        struct fl_engine *e;
        struct fl_file *f;
        char *p;
        pthread_t thread;
};

static struct scene begin(const char *faults)
{
        struct scene s = {
                .e = open_engine_with((struct fl_engine_config){ .cache = 256 * PAGE,
                                                                 .readahead = PAGE,
                                                                 .swap = "ram:1M",
                                                                 .mmu = "sigsegv",
                                                                 .faults = faults,
                                                                 .flags = FL_ENGINE_QUIET }),
        };

        s.f = open_file(s.e, test_stamped_file("protection", PAGES), O_RDWR);
        s.p = map_file(s.e, s.f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        expect(fl_madvise(s.e, s.p, PAGES * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        return s;
}

static void end(struct scene *s)
{
        check_engine(s->e);
        expect(fl_munmap(s->e, s->p, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(s->f);
        close_engine(s->e);
}

/* Private pages from BAD on, in the swap area; and what is below them is in the cache no more. */
static void send_away(struct scene *s, unsigned nr)
{
        unsigned char vec[8];
        unsigned left = nr;

        for (unsigned i = 0; i < nr; i++)
                stamp_write(s->p + (BAD + i) * PAGE, BAD + i, 1);
        while (left && test_left() > -20) {
                fl_evict(s->e, s->p + BAD * PAGE, nr * PAGE);
                left = 0;
                expect(fl_mincore(s->e, s->p + BAD * PAGE, nr * PAGE, vec) == 0, "%s",
                       fl_strerror());
                for (unsigned i = 0; i < nr; i++)
                        left += vec[i];
        }
        expect_eq(left, 0, "private pages that stay");
}

/* As many mappings as the kernel allows: one range in pieces. */
struct filler {
        char *p;
        size_t len, at;
};

static struct filler filler_make(void)
{
        struct filler f = { .len = (most_maps() + 1000ul) * PAGE, .at = PAGE };

        f.p = mmap(NULL, f.len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(f.p != MAP_FAILED, "%s", strerror(errno));
        return f;
}

static void take_the_rest(struct filler *f)
{
        while (f->at < f->len && !mprotect(f->p + f->at, PAGE, PROT_READ))
                f->at += 2 * PAGE;
}

/* The page is here, and its protection cannot be lifted: zeros cannot take its place, since it has what was
 * stored. The thread has its signal, and does not try for ever. */
static void not_to_be_shown(void)
{
        struct scene s = begin(NULL);
        struct fl_mapping_config cfg = { .size = sizeof(cfg), .on_error = "zero" };
        struct filler filler = filler_make();
        struct caught first, second;
        unsigned char byte;

        test_at("at the kernel's limit");
        expect(fl_mapping_set(s.e, s.p, PAGES * PAGE, &cfg) == 0, "%s", fl_strerror());
        send_away(&s, 3);
        /* Back, and as they are in their slots. */
        for (unsigned i = 0; i < 3; i++)
                expect(!try_load(s.p + (BAD + i) * PAGE, &byte).signo, "page %u", i);
        take_the_rest(&filler);
        /* Another page takes the pieces that they had, and these are taken from it. */
        first = try_load(s.p + PAGE, &byte);
        expect(fl_madvise(s.e, s.p + PAGE, PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        take_the_rest(&filler);
        second = try_store(s.p + (BAD + 1) * PAGE, 1);
        munmap(filler.p, filler.len);
        expect(!first.signo, "a load while others can be hidden: %s", caught_name(first));
        expect(second.signo == SIGBUS, "a store: %s", caught_name(second));
        expect(!stamp_wrong(s.p + BAD * PAGE, BAD, 1), "the page beside it");
        end(&s);
}

static void *read_slowly(void *arg)
{
        struct scene *s = arg;
        char buf[PAGE];

        expect(fl_pread(s->f, buf, PAGE, (off_t)(BAD * PAGE)) == (ssize_t)PAGE, "%s",
               fl_strerror());
        expect(!stamp_wrong(buf, BAD, 0), "the file's page");
        return NULL;
}

/* The file's page is being read: the private one waits for that, and is not read meanwhile, again and
 * again. */
static void while_the_file_is_read(void)
{
        struct scene s = begin("delay=400ms@2097152+4096");
        struct fl_stats before, after;

        test_at("while the file is read");
        send_away(&s, 1);
        expect(fl_evict(s.e, s.p, PAGES * PAGE) >= 0, "%s", fl_strerror());
        before = get_stats(s.e);
        require(pthread_create(&s.thread, NULL, read_slowly, &s) == 0, "a thread");
        /* Under way, or over on a machine that lets this thread wait so long. */
        for (int i = 0; i < 1000 && get_stats(s.e).bios == before.bios; i++)
                usleep(100);
        expect(!stamp_wrong(s.p + BAD * PAGE, BAD, 1), "the private page");
        pthread_join(s.thread, NULL);
        after = get_stats(s.e);
        expect(after.bios - before.bios <= 6, "%llu reads of two pages",
               (unsigned long long)(after.bios - before.bios));
        end(&s);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 1, 1, 60);
        if (most_maps() > 200000)
                test_skip("vm.max_map_count is too large to be reached");
        if (NEEDS_MAPPINGS)
                puts("without a mapping to spare the sanitizer gives up: that part is left out");
        else
                not_to_be_shown();
        while_the_file_is_read();
        return test_end();
}
