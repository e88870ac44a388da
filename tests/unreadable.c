/* SPDX-License-Identifier: Apache-2.0
 *
 * unreadable.c - private pages in a swap area that cannot be read, or that there is no room for: each
 * keeps its slot, and comes back when its error is cleared and the area can be read again.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "mman.h"

#define PAGE TEST_PAGE
#define CACHE (1ul << 20)

static bool is_zero(const char *page)
{
        static const char zeros[PAGE];

        return memcmp(page, zeros, PAGE) == 0;
}

static void expect_signal(struct caught c, int signo, const char *what)
{
        expect(c.signo == signo, "%s: %s", what, caught_name(c));
}

#define LOSABLE 320ul

struct swapped {
        struct fl_engine *e;
        struct fl_file *f;
        char *p, *area, *kept; /* kept: what the area holds */
        uint64_t area_size;
        bool zeros, of_file;
        bool bad[LOSABLE]; /* could not be had */
};

/* Some pages are in the area, the rest in memory, with room for all. */
static struct swapped swap_out(const char *on_error, bool of_file)
{
        struct swapped s = { .area = (char *)test_file("area", 0),
                             .zeros = !strcmp(on_error, "zero"),
                             .of_file = of_file };
        struct fl_mapping_config rules = { .size = sizeof(rules), .on_error = on_error };
        char spec[512];

        snprintf(spec, sizeof(spec), "%s:4M", s.area);
        s.e = open_engine_with((struct fl_engine_config){
                .cache = CACHE, .swap = spec, .flags = FL_ENGINE_QUIET });
        s.f = open_file(s.e, test_stamped_file("losable", LOSABLE), O_RDONLY);
        s.p = fl_mmap(s.e, NULL, LOSABLE * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | (of_file ? 0 : MAP_ANONYMOUS), s.f, 0);
        require(s.p != MAP_FAILED && fl_mapping_set(s.e, s.p, LOSABLE * PAGE, &rules) == 0, "%s",
                fl_strerror());
        for (uint64_t i = 0; i < LOSABLE; i++)
                stamp_write(s.p + i * PAGE, i, 1);
        while (get_stats(s.e).swap_outs == 0)
                usleep(1000);
        check_engine(s.e); /* nothing is on its way */
        /* With room for all, so that nothing is written to the area any more: it would be longer. */
        expect(fl_engine_set_cache(s.e, 4 * CACHE) == 0, "%s", fl_strerror());
        return s;
}

/* The area cannot be read behind its header; and again as before. */
static void spoil(struct swapped *s)
{
        s->area_size = file_size(s->area);
        s->kept = malloc(s->area_size);
        require(s->kept && file_read(s->area, s->kept, s->area_size, 0), "%s", strerror(errno));
        require(truncate(s->area, PAGE) == 0, "%s", strerror(errno));
}

static void mend(struct swapped *s)
{
        int fd = open(s->area, O_WRONLY | O_CLOEXEC);

        require(fd >= 0 && pwrite(fd, s->kept, s->area_size, 0) == (ssize_t)s->area_size, "%s",
                strerror(errno));
        close(fd);
        free(s->kept);
}

/* What is in memory is as it was; of the rest the rules say what is shown. How many those are. */
static unsigned touch_all(struct swapped *s)
{
        struct fl_error_info info = { .size = sizeof(info) };
        unsigned char byte, vec;
        unsigned here = FL_INCORE_INCORE | FL_INCORE_ANON, nr = 0;
        char below[PAGE];

        for (uint64_t i = 0; i < LOSABLE; i++) {
                char *at = s->p + i * PAGE;
                struct caught c = try_load(at, &byte);

                s->bad[i] = c.signo || stamp_wrong(at, i, 1);
                if (!s->bad[i])
                        continue;
                nr++;
                expect_signal(c, s->zeros ? 0 : SIGBUS, "a page that cannot be read");
                expect(!s->zeros || is_zero(at), "page %llu: not zeros", (unsigned long long)i);
                expect_signal(try_store(at + 1, 5), s->zeros ? 0 : SIGBUS, "a store");
                expect(fl_error(s->e, at, PAGE, &info) == 1 && info.error == EIO &&
                               info.zeroed == s->zeros && info.addr == at,
                       "page %llu: %s", (unsigned long long)i, strerror(info.error));
                expect(fl_mincore(s->e, at, PAGE, &vec) == 0 && vec == s->zeros, "mincore: %d",
                       vec);
                /* The file's page is not this one. */
                expect(fl_pread(s->f, below, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE, "%s",
                       fl_strerror());
                expect(fl_incore(s->e, at, PAGE, &vec) == 0 && vec == (s->zeros ? here : 0),
                       "incore: %d", vec);
        }
        return nr;
}

/* They move, and one of them is thrown away: as an untouched page it begins anew. */
static void move_and_drop(struct swapped *s)
{
        char *to = fl_mmap(s->e, NULL, LOSABLE * PAGE, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL, 0);
        uint64_t i = 0;

        require(to != MAP_FAILED, "%s", fl_strerror());
        to = fl_mremap(s->e, s->p, LOSABLE * PAGE, LOSABLE * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                       to);
        require(to != MAP_FAILED, "%s", fl_strerror());
        s->p = to;
        while (i < LOSABLE && !s->bad[i])
                i++;
        require(i < LOSABLE, "no page that cannot be read");
        expect(fl_madvise(s->e, to + i * PAGE, PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect(s->of_file ? !stamp_wrong(to + i * PAGE, i, 0) : is_zero(to + i * PAGE),
               "page %llu, thrown away", (unsigned long long)i);
        stamp_write(to + i * PAGE, i, 1);
}

/* The last one that cannot be read goes with its mapping, and its slot too. */
static uint64_t unmap_one(struct swapped *s)
{
        uint64_t i = LOSABLE - 1;

        while (i && !s->bad[i])
                i--;
        expect(fl_munmap(s->e, s->p + i * PAGE, PAGE) == 0, "%s", fl_strerror());
        return i;
}

/* Each page in its slot is kept there as long as the area cannot be read, and comes back. */
static void unreadable_for_a_while(const char *on_error, bool of_file)
{
        struct swapped s = swap_out(on_error, of_file);
        struct fl_error_info info = { .size = sizeof(info) };
        uint64_t gone;
        char *p;

        test_at(of_file ? "copies that cannot be read back" : "memory that cannot be read back");
        spoil(&s);
        expect(touch_all(&s) > 1, "nothing was in the area");
        check_engine(s.e);
        move_and_drop(&s);
        check_engine(s.e);
        expect(fl_error_clear(s.e, s.p, LOSABLE * PAGE) == 0, "%s", fl_strerror());
        expect_eq(fl_error(s.e, s.p, LOSABLE * PAGE, &info), 0, "errors after they were cleared");
        expect(touch_all(&s) > 0, "what still cannot be read");
        gone = unmap_one(&s);
        check_engine(s.e);
        mend(&s);
        for (uint64_t i = 0; i < LOSABLE; i++) {
                p = s.p + i * PAGE;
                if (i == gone)
                        continue;
                expect(fl_error_clear(s.e, p, PAGE) == 0, "%s", fl_strerror());
                expect(!stamp_wrong(p, i, 1), "page %llu, back again: %s", (unsigned long long)i,
                       stamp_wrong(p, i, 1));
        }
        check_engine(s.e);
        expect(fl_munmap(s.e, s.p, LOSABLE * PAGE) == 0, "%s", fl_strerror());
        check_engine(s.e);
        close_file(s.f);
        close_engine(s.e);
}

/* There is no room to read a page back, since no other can be written to the area any more: it waits in
 * its slot until there is. */
static void no_room_to_come_back(void)
{
        enum { PAGES_MADE = 1000, SPARE = 96 };
        static bool bad[PAGES_MADE];
        struct fl_engine *e = open_engine_with((struct fl_engine_config){
                .cache = CACHE,
                .swap = "ram:16M",
                .faults = "eio@256K+16M",
                .flags = FL_ENGINE_QUIET,
        });
        struct fl_error_info info = { .size = sizeof(info) };
        uint64_t made = 0, nr = 0;
        unsigned char byte;
        char *spare, *p;

        test_at("no room to come back");
        spare = fl_mmap(e, NULL, SPARE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                        NULL, 0);
        p = fl_mmap(e, NULL, PAGES_MADE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                    NULL, 0);
        require(spare != MAP_FAILED && p != MAP_FAILED, "%s", fl_strerror());
        for (; made < PAGES_MADE && !try_store(p + made * PAGE, 1).signo; made++)
                stamp_write(p + made * PAGE, made, 1);
        require(made < PAGES_MADE, "all of it fits");
        for (uint64_t i = 0; i < SPARE; i++)
                try_store(spare + i * PAGE, 1);
        for (uint64_t i = 0; i < made; i++) {
                bad[i] = try_load(p + i * PAGE, &byte).signo == SIGBUS;
                nr += bad[i];
                expect(bad[i] || !stamp_wrong(p + i * PAGE, i, 1), "page %llu",
                       (unsigned long long)i);
                expect(!bad[i] || (fl_error(e, p + i * PAGE, PAGE, &info) == 1 &&
                                   info.error == ENOMEM && !info.zeroed),
                       "page %llu: %s", (unsigned long long)i, strerror(info.error));
        }
        expect(nr > 0, "every page has come back");
        check_engine(e);
        for (uint64_t i = 0; i < made; i++) /* room for as many */
                if (!bad[i] && nr > 0) {
                        nr--;
                        expect(fl_madvise(e, p + i * PAGE, PAGE, MADV_DONTNEED) == 0, "%s",
                               fl_strerror());
                }
        expect(fl_error_clear(e, p, made * PAGE) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < made; i++)
                expect(!bad[i] || (!try_load(p + i * PAGE, &byte).signo &&
                                   !stamp_wrong(p + i * PAGE, i, 1)),
                       "page %llu is lost", (unsigned long long)i);
        check_engine(e);
        expect(fl_munmap(e, p, PAGES_MADE * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(e, spare, SPARE * PAGE) == 0, "%s", fl_strerror());
        close_engine(e);
}
int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 80);
        for (int of_file = 0; of_file < 2; of_file++) {
                unreadable_for_a_while("sigbus", of_file);
                unreadable_for_a_while("zero", of_file);
        }
        no_room_to_come_back();
        return test_end();
}
