/* SPDX-License-Identifier: Apache-2.0
 *
 * columns.c - the properties that a file must have, each a function.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "conformance.h"

#define CACHE (1ul << 20)

static struct fl_engine *engine_of(const struct row *r, const char *faults)
{
        return open_engine_with((struct fl_engine_config){
                .cache = CACHE, .driver = r->driver, .faults = faults, .flags = FL_ENGINE_QUIET });
}

static int open_flags(const struct row *r)
{
        return r->read_only ? O_RDONLY : O_RDWR;
}

struct world begin(struct row *r, const char *faults)
{
        struct world w = { .r = r, .e = engine_of(r, faults) };
        int prot = PROT_READ | (r->read_only ? 0 : PROT_WRITE);
        static char page[PAGE];

        w.f = open_file(w.e, r->uri, open_flags(r));
        if (r->transient) /* what is in the file is what is put there */
                for (uint64_t i = 0; i <= PAGES; i++) {
                        stamp_write(page, i, 0);
                        if (!is_hole(i))
                                require(fl_pwrite(w.f, page, i < PAGES ? PAGE : REST,
                                                  (off_t)(i * PAGE)) > 0,
                                        "%s", fl_strerror());
                }
        w.p = map_file(w.e, w.f, SIZE, prot, MAP_SHARED, 0);
        return w;
}

void end(struct world *w)
{
        check_engine(w->e);
        expect(fl_munmap(w->e, w->p, SIZE) == 0, "%s", fl_strerror());
        close_file(w->f);
        close_engine(w->e);
}

static enum verdict bad(struct world *w, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
static enum verdict bad(struct world *w, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(w->why, sizeof(w->why), format, args);
        va_end(args);
        return BAD;
}

static enum verdict skip(struct world *w, const char *why)
{
        snprintf(w->why, sizeof(w->why), "%s", why);
        return NOT_SO;
}

/* Is the page what it was made? version: of pages that have been stored to. */
static bool page_right(const char *page, uint64_t i, uint64_t version)
{
        if (version || !is_hole(i))
                return i < PAGES ? !stamp_wrong(page, i, version) : true;
        for (unsigned n = 0; n < PAGE; n++)
                if (page[n])
                        return false;
        return true;
}

static enum verdict test_size(struct world *w)
{
        struct stat st;

        if (fl_fstat(w->f, &st))
                return bad(w, "%s", fl_strerror());
        if (st.st_size != SIZE)
                return bad(w, "%jd bytes", (intmax_t)st.st_size);
        return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? GOOD : bad(w, "mode %o", st.st_mode);
}

static enum verdict test_load(struct world *w)
{
        for (uint64_t n = 0; n < PAGES; n++) {
                uint64_t i = n * 17 % PAGES;
                unsigned char byte;
                struct caught c = try_load(w->p + i * PAGE, &byte);

                if (c.signo)
                        return bad(w, "page %lu: %s", (unsigned long)i, caught_name(c));
                if (!page_right(w->p + i * PAGE, i, 0))
                        return bad(w, "page %lu is another", (unsigned long)i);
        }
        return GOOD;
}

static enum verdict test_pread(struct world *w)
{
        static char buf[SIZE + PAGE];
        ssize_t n = fl_pread(w->f, buf, sizeof(buf), 0);

        if (n != SIZE)
                return bad(w, "%zd bytes", n);
        for (uint64_t i = 0; i < PAGES; i++)
                if (!page_right(buf + i * PAGE, i, 0))
                        return bad(w, "page %lu is another", (unsigned long)i);
        n = fl_pread(w->f, buf, 3000, (off_t)(5 * PAGE - 1500));
        if (n != 3000 || memcmp(buf, w->p + 5 * PAGE - 1500, 3000))
                return bad(w, "across pages");
        return fl_pread(w->f, buf, 1, SIZE) == 0 ? GOOD : bad(w, "something behind the end");
}

static enum verdict test_end_of_file(struct world *w)
{
        char *p = map_file(w->e, w->f, SIZE + 2 * PAGE, PROT_READ, MAP_SHARED, 0);
        enum verdict v = GOOD;
        unsigned char byte;
        struct caught c;

        for (uint64_t at = SIZE; at < (PAGES + 1) * PAGE && v == GOOD; at++)
                if (p[at])
                        v = bad(w, "byte %lu behind the end is not zero",
                                (unsigned long)(at - SIZE));
        c = try_load(p + (PAGES + 1) * PAGE, &byte);
        if (v == GOOD && c.signo != SIGBUS)
                v = bad(w, "the page behind the end: %s", caught_name(c));
        expect(fl_munmap(w->e, p, SIZE + 2 * PAGE) == 0, "%s", fl_strerror());
        return v;
}

static enum verdict test_private(struct world *w)
{
        char *p = map_file(w->e, w->f, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        enum verdict v = GOOD;

        for (uint64_t i = 1; i < 6; i++)
                stamp_write(p + i * PAGE, i, 9);
        for (uint64_t i = 0; i < PAGES && v == GOOD; i++) {
                if (!page_right(w->p + i * PAGE, i, 0))
                        v = bad(w, "page %lu: a private store is seen", (unsigned long)i);
                if (!page_right(p + i * PAGE, i, i >= 1 && i < 6 ? 9 : 0))
                        v = bad(w, "page %lu of the private mapping", (unsigned long)i);
        }
        expect(fl_munmap(w->e, p, SIZE) == 0, "%s", fl_strerror());
        return v;
}

static enum verdict test_one_file(struct world *w)
{
        struct fl_stats before, after;
        struct fl_file *again;
        enum verdict v = GOOD;
        char *p;

        if (w->r->transient)
                return skip(w, "each open is another file");
        for (uint64_t i = 0; i < PAGES; i++)
                (void)*(volatile char *)(w->p + i * PAGE);
        again = open_file(w->e, w->r->uri, O_RDONLY);
        p = map_file(w->e, again, SIZE, PROT_READ, MAP_SHARED, 0);
        before = get_stats(w->e);
        for (uint64_t i = 0; i < PAGES; i++)
                (void)*(volatile char *)(p + i * PAGE);
        after = get_stats(w->e);
        if (after.faults_major != before.faults_major)
                v = bad(w, "two opens do not share their pages");
        expect(fl_munmap(w->e, p, SIZE) == 0, "%s", fl_strerror());
        close_file(again);
        return v;
}

/* A page that has been evicted comes back from the device. */
static enum verdict test_evict(struct world *w)
{
        struct fl_stats before, after;
        ssize_t dropped;

        for (uint64_t i = 0; i < PAGES; i++)
                (void)*(volatile char *)(w->p + i * PAGE);
        if (!w->r->read_only && fl_msync(w->e, w->p, SIZE, MS_SYNC))
                return bad(w, "%s", fl_strerror());
        before = get_stats(w->e);
        dropped = fl_evict(w->e, w->p, SIZE);
        if (dropped < (ssize_t)(PAGES * PAGE))
                return bad(w, "%zd bytes dropped", dropped);
        for (uint64_t i = 0; i < PAGES; i++)
                if (!page_right(w->p + i * PAGE, i, 0))
                        return bad(w, "page %lu", (unsigned long)i);
        after = get_stats(w->e);
        return after.faults_major > before.faults_major ? GOOD : bad(w, "no page was read");
}

/* Where the device has the page is where its bytes are. */
static enum verdict test_bmap(struct world *w)
{
        static char page[PAGE];
        off_t where = 0;

        if (!w->r->read_only && fl_msync(w->e, w->p, SIZE, MS_SYNC))
                return bad(w, "%s", fl_strerror());
        if (fl_bmap(w->f, SIZE, &where) != -1 || errno != EINVAL)
                return bad(w, "something behind the end");
        if (fl_bmap(w->f, 0, &where) == -1 && errno == EOPNOTSUPP)
                return skip(w, "the file system does not tell");
        for (uint64_t i = 0; i < PAGES; i++) {
                int got = fl_bmap(w->f, (off_t)(i * PAGE), &where);

                if (got < 0)
                        return bad(w, "page %lu: %s", (unsigned long)i, fl_strerror());
                if (got == 0 && !is_hole(i))
                        return bad(w, "page %lu is no hole", (unsigned long)i);
                if (!got || !w->r->device || w->r->packed)
                        continue;
                if (!file_read(w->r->device, page, PAGE, (uint64_t)where) ||
                    !page_right(page, i, 0))
                        return bad(w, "page %lu is not at %jd", (unsigned long)i, (intmax_t)where);
        }
        return GOOD;
}

/* An error of the device is the page's, and of no other that does not share its block. */
static enum verdict test_eio(struct world *w)
{
        enum verdict v = GOOD;
        unsigned char byte;
        off_t where = 0;
        struct caught c;
        char spec[64];
        struct world f;

        if (w->r->transient)
                return skip(w, "its device begins anew");
        if (w->r->fixed)
                where = 30 * PAGE; /* the file is the device */
        else if (fl_bmap(w->f, (off_t)(30 * PAGE), &where) != 1)
                return bad(w, "page 30 is nowhere");
        snprintf(spec, sizeof(spec), "eio@%jd+512", (intmax_t)where);
        end(w); /* who writes may have the device alone */
        f = begin(w->r, spec);
        expect(fl_madvise(f.e, f.p, SIZE, MADV_RANDOM) == 0, "%s", fl_strerror());
        c = try_load(f.p + 30 * PAGE, &byte);
        if (c.signo != SIGBUS)
                v = bad(w, "page 30: %s", caught_name(c));
        c = try_load(f.p, &byte);
        if (v == GOOD && c.signo && !w->r->packed)
                v = bad(w, "page 0: %s", caught_name(c));
        expect(fl_error_clear(f.e, f.p, SIZE) == 0, "%s", fl_strerror());
        end(&f);
        f = begin(w->r, NULL);
        strcpy(f.why, w->why);
        *w = f;
        return v;
}

static enum verdict test_read_only(struct world *w)
{
        struct fl_file *f;
        char *p;

        if (!w->r->read_only)
                return skip(w, "it can be written");
        f = fl_file_open(w->e, w->r->uri, O_RDWR, NULL);
        if (f) {
                close_file(f);
                return bad(w, "it was opened for writing");
        }
        if (errno != EROFS && errno != EACCES)
                return bad(w, "opening: %s", strerror(errno));
        p = fl_mmap(w->e, NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, w->f, 0);
        return p == MAP_FAILED && errno == EACCES ? GOOD : bad(w, "a shared writable mapping");
}

/* What was stored is on the device after msync, for a new engine, and seen by others. */
static enum verdict test_store(struct world *w)
{
        static const uint64_t pages[] = { 0, 3, 4, 5, 19, HOLE_FIRST + 2, 39 };
        enum verdict v = GOOD;
        struct world again;

        if (w->r->read_only)
                return skip(w, "it is read-only");
        for (unsigned n = 0; n < sizeof(pages) / sizeof(*pages); n++)
                stamp_write(w->p + pages[n] * PAGE, pages[n], 1);
        if (fl_msync(w->e, w->p, SIZE, MS_SYNC))
                return bad(w, "%s", fl_strerror());
        if (w->r->transient)
                return skip(w, "nothing of it is left to look at");
        end(w);
        again = begin(w->r, NULL);
        for (unsigned n = 0; n < sizeof(pages) / sizeof(*pages) && v == GOOD; n++)
                if (!page_right(again.p + pages[n] * PAGE, pages[n], 1))
                        v = bad(&again, "page %lu is lost", (unsigned long)pages[n]);
        if (v == GOOD && !page_right(again.p + 6 * PAGE, 6, 0))
                v = bad(&again, "a page that was not stored to has changed");
        *w = again;
        return v;
}

static bool is_zero(const char *page)
{
        static const char zeros[PAGE];

        return !memcmp(page, zeros, PAGE);
}

/* Pages that are removed read as zeros, from the device too, and those beside them as ever. */
static enum verdict test_punch(struct world *w)
{
        if (w->r->read_only)
                return skip(w, "it is read-only");
        if (fl_madvise(w->e, w->p + 10 * PAGE, 3 * PAGE, MADV_REMOVE))
                return bad(w, "%s", fl_strerror());
        for (unsigned time = 0; time < 2; time++) {
                for (uint64_t i = 9; i < 14; i++)
                        if (i == 9 || i == 13 ? !page_right(w->p + i * PAGE, i, 0)
                                              : !is_zero(w->p + i * PAGE))
                                return bad(w, "page %lu, %s", (unsigned long)i,
                                           time ? "read again" : "at once");
                if (fl_msync(w->e, w->p, SIZE, MS_SYNC) || fl_evict(w->e, w->p, SIZE) < 0)
                        return bad(w, "%s", fl_strerror());
        }
        return GOOD;
}

static enum verdict test_truncate(struct world *w)
{
        static char zeros[PAGE];
        struct stat st;

        if (w->r->read_only)
                return skip(w, "it is read-only");
        if (w->r->fixed)
                return fl_ftruncate(w->f, PAGE) ? GOOD : bad(w, "a device was cut");
        if (fl_ftruncate(w->f, (off_t)(2 * PAGE + 100)) || fl_ftruncate(w->f, SIZE))
                return bad(w, "%s", fl_strerror());
        if (fl_fstat(w->f, &st) || st.st_size != SIZE)
                return bad(w, "%jd bytes", (intmax_t)st.st_size);
        if (w->p[2 * PAGE + 100] || memcmp(w->p + 7 * PAGE, zeros, PAGE))
                return bad(w, "what was cut is back");
        if (fl_fsync(w->f))
                return bad(w, "%s", fl_strerror());
        return GOOD;
}

/* In this order: the last four change the file. */
const struct column columns[] = {
        { "size", test_size },           { "load", test_load },       { "pread", test_pread },
        { "end", test_end_of_file },     { "private", test_private }, { "one-file", test_one_file },
        { "evict", test_evict },         { "bmap", test_bmap },       { "eio", test_eio },
        { "read-only", test_read_only }, { "store", test_store },     { "punch", test_punch },
        { "truncate", test_truncate },
};
const unsigned nr_columns = sizeof(columns) / sizeof(*columns);
