/* SPDX-License-Identifier: Apache-2.0
 *
 * cuts.c - see cuts.h.
 */
#include "cuts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE TEST_PAGE
#define PER_PAGE (PAGE / CUT_SECTOR)
#define WORDS (CUT_SECTOR / sizeof(uint64_t))
#define ZEROS (1u << 31) /* of a generation: the operation left zeros here */
#define BROKEN UINT32_MAX
#define MAX_CUTS 5000 /* of one row and way: the workload does not end */

/* --- sectors --- */

static uint64_t stamp_word(unsigned file, uint64_t sector, uint32_t gen, unsigned i)
{
        uint64_t state = ((uint64_t)file << 56 ^ sector << 32 ^ gen) * 0x9e3779b97f4a7c15u + i;

        return random_next(&state);
}

void cuts_stamp(char *to, unsigned file, uint64_t sector, uint32_t gen)
{
        uint64_t word[WORDS] = { gen };

        for (unsigned i = 1; i < WORDS; i++)
                word[i] = stamp_word(file, sector, gen, i);
        memcpy(to, word, sizeof(word));
}

void cuts_fill(const struct cuts *c, unsigned file, char *buf)
{
        for (uint64_t s = 0; s < c->row->pages * PER_PAGE; s++)
                cuts_stamp(buf + s * CUT_SECTOR, file, s, 0);
}

/* The generation a sector holds; ZEROS; or BROKEN. */
static uint32_t stamp_read(const char *from, unsigned file, uint64_t sector)
{
        static const char zeros[CUT_SECTOR];
        char good[CUT_SECTOR];
        uint64_t gen;

        if (!memcmp(from, zeros, CUT_SECTOR))
                return ZEROS;
        memcpy(&gen, from, sizeof(gen));
        if (gen >= ZEROS)
                return BROKEN;
        cuts_stamp(good, file, sector, (uint32_t)gen);
        return memcmp(from, good, CUT_SECTOR) ? BROKEN : (uint32_t)gen;
}

/* --- the model --- */

static void sector_becomes(struct cut_sector *s, uint32_t gen)
{
        if (s->nr == s->room) {
                s->room = s->room ? 2 * s->room : 8;
                s->gen = realloc(s->gen, s->room * sizeof(*s->gen));
                require(s->gen, "no memory");
        }
        s->gen[s->nr++] = gen;
}

static void sector_synced(struct cut_sector *s)
{
        s->gen[0] = s->gen[s->nr - 1];
        s->nr = 1;
}

static void size_becomes(struct cut_file *f, uint64_t size)
{
        require(f->nr_sizes < sizeof(f->sizes) / sizeof(f->sizes[0]), "too many sizes unsynced");
        f->sizes[f->nr_sizes++] = f->size = size;
}

static void size_synced(struct cut_file *f)
{
        f->sizes[0] = f->size;
        f->nr_sizes = 1;
}

static uint64_t room_pages(const struct cuts *c)
{
        return c->row->room ? c->row->room : c->row->pages;
}

static void model_begin(struct cuts *c)
{
        for (unsigned n = 0; n < c->row->files; n++) {
                struct cut_file *f = &c->file[n];

                f->sector = calloc(room_pages(c) * PER_PAGE, sizeof(*f->sector));
                require(f->sector, "no memory");
                for (uint64_t s = 0; s < room_pages(c) * PER_PAGE; s++)
                        sector_becomes(&f->sector[s], s < c->row->pages * PER_PAGE ? 0 : ZEROS);
                f->size = c->row->pages * PAGE;
                size_synced(f);
        }
}

static void model_end(struct cuts *c)
{
        for (unsigned n = 0; n < c->row->files; n++) {
                for (uint64_t s = 0; s < room_pages(c) * PER_PAGE; s++)
                        free(c->file[n].sector[s].gen);
                free(c->file[n].sector);
        }
}

uint64_t cut_sectors(const struct cuts *c, unsigned file)
{
        return c->file[file].size / CUT_SECTOR;
}

uint64_t cuts_random(struct cuts *c, uint64_t below)
{
        return random_below(&c->random, below);
}

void cut_fail(const struct cuts *c, const char *format, ...)
{
        char text[400];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        test_fail(__FILE__, __LINE__, "%s, %s, powercut=%llu,seed=%llu: %s", c->row->name,
                  c->how->name, (unsigned long long)c->number, (unsigned long long)c->how->seed,
                  text);
}

/* --- operations --- */

/* An operation has failed: with anything but EIO that is not the cut. */
static void met_cut(struct cuts *c, const char *what)
{
        c->off = true;
        if (errno != EIO)
                cut_fail(c, "%s: %s", what, strerror(errno));
}

static struct cut_file *begin_op(struct cuts *c, unsigned file)
{
        c->gen++;
        if (get_stats(c->e).io_errors)
                c->off = true; /* write-back has met it: a store would only wait for it */
        return &c->file[file];
}

/* From now on it may be found there: before the operation itself, which may be cut. */
static void will_write(struct cuts *c, unsigned file, uint64_t sector, uint64_t nr, char *stamps)
{
        for (uint64_t i = 0; i < nr; i++) {
                cuts_stamp(stamps + i * CUT_SECTOR, file, sector + i, c->gen);
                sector_becomes(&c->file[file].sector[sector + i], c->gen);
        }
}

void cut_store(struct cuts *c, unsigned file, uint64_t sector, uint64_t nr)
{
        struct cut_file *f = begin_op(c, file);
        uint64_t words[WORDS];

        if (c->off)
                return;
        for (uint64_t i = 0; i < nr && !c->off; i++) {
                struct caught caught;

                will_write(c, file, sector + i, 1, (char *)words);
                caught = try_words((uint64_t *)(f->p + (sector + i) * CUT_SECTOR), words, WORDS);
                c->off = caught.signo != 0; /* the page could not be read */
                if (c->off && caught.signo != SIGBUS)
                        cut_fail(c, "a store: %s", caught_name(caught));
        }
}

void cut_pwrite(struct cuts *c, unsigned file, uint64_t sector, uint64_t nr)
{
        struct cut_file *f = begin_op(c, file);
        ssize_t len = (ssize_t)(nr * CUT_SECTOR), n;
        char *buf;

        if (c->off)
                return;
        buf = malloc((size_t)len);
        require(buf, "no memory");
        will_write(c, file, sector, nr, buf);
        n = fl_pwrite(f->f, buf, (size_t)len, (off_t)(sector * CUT_SECTOR));
        if (n < 0)
                met_cut(c, "fl_pwrite");
        c->off |= n < len; /* as far as it could be read, or was there */
        free(buf);
}

static void synced(struct cut_file *f, uint64_t sector, uint64_t end)
{
        for (; sector < end; sector++)
                sector_synced(&f->sector[sector]);
        size_synced(f);
}

void cut_msync(struct cuts *c, unsigned file, uint64_t page, uint64_t nr)
{
        struct cut_file *f = begin_op(c, file);
        uint64_t pages = (f->size + PAGE - 1) / PAGE;

        if (c->off || page >= pages)
                return;
        if (nr > pages - page)
                nr = pages - page;
        if (fl_msync(c->e, f->p + page * PAGE, nr * PAGE, MS_SYNC))
                met_cut(c, "fl_msync");
        else
                synced(f, page * PER_PAGE, (page + nr) * PER_PAGE);
}

void cut_fsync(struct cuts *c, unsigned file)
{
        struct cut_file *f = begin_op(c, file);

        if (c->off)
                return;
        if (fl_fsync(f->f))
                met_cut(c, "fl_fsync");
        else
                synced(f, 0, room_pages(c) * PER_PAGE);
}

void cut_resize(struct cuts *c, unsigned file, uint64_t bytes)
{
        struct cut_file *f = begin_op(c, file);

        if (c->off)
                return;
        for (uint64_t s = bytes / CUT_SECTOR; s < f->size / CUT_SECTOR; s++)
                sector_becomes(&f->sector[s], c->gen | ZEROS);
        size_becomes(f, bytes);
        if (fl_ftruncate(f->f, (off_t)bytes))
                met_cut(c, "fl_ftruncate");
}

/* --- what is found --- */

/* What the sector was made by the last operation up to `gen`; never older than what was synced. */
static uint32_t sector_at(const struct cut_sector *s, uint32_t gen)
{
        unsigned i = s->nr - 1;

        while (i && (s->gen[i] & ~ZEROS) > gen)
                i--;
        return s->gen[i] & ZEROS ? ZEROS : s->gen[i];
}

static bool may_be(const struct cut_sector *s, uint32_t found)
{
        for (unsigned i = 0; i < s->nr; i++)
                if (found == (s->gen[i] & ZEROS ? ZEROS : s->gen[i]))
                        return true;
        return false;
}

/* Was write-back there in the middle of a store? Then each word is one that may be there. */
static bool is_half_stored(const struct cuts *c, unsigned file, uint64_t sector, const char *from)
{
        const struct cut_sector *s = &c->file[file].sector[sector];
        char good[CUT_SECTOR];
        unsigned found = 0;

        if (c->row->atom >= CUT_SECTOR)
                return false;
        for (unsigned w = 0; w < WORDS; w++) {
                unsigned i = 0;
                bool same = false;

                for (; i < s->nr && !same; i++) {
                        memset(good, 0, sizeof(good));
                        if (!(s->gen[i] & ZEROS))
                                cuts_stamp(good, file, sector, s->gen[i]);
                        same = !memcmp(good + w * 8, from + w * 8, 8);
                }
                found += same;
        }
        return found == WORDS;
}

static bool all_as_after(const struct cut_sector *s, const uint32_t *found, unsigned nr,
                         uint32_t gen)
{
        for (unsigned i = 0; i < nr; i++)
                if (found[i] != sector_at(&s[i], gen))
                        return false;
        return true;
}

/* Are these sectors, which reach the disk together, what they were after one operation? */
static bool is_whole(const struct cut_sector *s, const uint32_t *found, unsigned nr)
{
        for (unsigned i = 0; i < nr; i++)
                for (unsigned k = 0; k < s[i].nr; k++)
                        if (all_as_after(s, found, nr, s[i].gen[k] & ~ZEROS))
                                return true;
        return false;
}

static const char *gen_text(uint32_t gen, char *text, size_t room)
{
        if (gen == BROKEN)
                return "what was never written";
        if (gen & ZEROS)
                return "zeros";
        snprintf(text, room, "generation %u", gen);
        return text;
}

static void check_sector(struct cuts *c, unsigned file, uint64_t sector, uint32_t found)
{
        const struct cut_sector *s = &c->file[file].sector[sector];
        char was[40], is[40];

        if (!may_be(s, found))
                cut_fail(c, "file %u, sector %llu: %s; synced was %s, written last %u of %u", file,
                         (unsigned long long)sector, gen_text(found, is, sizeof(is)),
                         gen_text(s->gen[0], was, sizeof(was)), s->gen[s->nr - 1] & ~ZEROS, c->gen);
}

static void check_size(struct cuts *c, unsigned file, int64_t size)
{
        struct cut_file *f = &c->file[file];

        for (unsigned i = 0; i < f->nr_sizes; i++)
                if ((int64_t)f->sizes[i] == size)
                        return;
        cut_fail(c, "file %u has %lld bytes; synced were %llu", file, (long long)size,
                 (unsigned long long)f->sizes[0]);
}

static void check_file(struct cuts *c, unsigned file)
{
        uint64_t room = room_pages(c) * PAGE, end;
        uint32_t found[PER_PAGE];
        unsigned at_once =
                c->how->torn || c->row->atom < CUT_SECTOR ? 1 : c->row->atom / CUT_SECTOR;
        char *buf = malloc(room);
        int64_t size;

        require(buf, "no memory");
        size = c->row->find(c, file, buf, room);
        check_size(c, file, size);
        end = size < 0 ? 0 : (uint64_t)size / CUT_SECTOR;
        if (end > room / CUT_SECTOR)
                end = room / CUT_SECTOR;
        for (uint64_t s = 0; s < end; s += at_once) {
                const struct cut_sector *sector = &c->file[file].sector[s];
                unsigned nr = end - s < at_once ? (unsigned)(end - s) : at_once;

                for (unsigned i = 0; i < nr; i++) {
                        const char *from = buf + (s + i) * CUT_SECTOR;

                        found[i] = stamp_read(from, file, s + i);
                        if (found[i] == BROKEN && is_half_stored(c, file, s + i, from))
                                found[i] = sector[i].gen[0] & ZEROS ? ZEROS : sector[i].gen[0];
                        check_sector(c, file, s + i, found[i]);
                }
                if (!is_whole(sector, found, nr))
                        cut_fail(c, "file %u: the sectors from %llu on are a mixture", file,
                                 (unsigned long long)s);
        }
        free(buf);
}

/* --- one cut --- */

static void spec_of(const struct cuts *c, char *spec, size_t room)
{
        const struct cut_how *how = c->how;

        snprintf(spec, room, "powercut=%llu,seed=%llu%s%s%s", (unsigned long long)c->number,
                 (unsigned long long)how->seed, how->torn ? ",torn" : "", how->faults ? "," : "",
                 how->faults ? how->faults : "");
}

/* False: the power went before there was anything to do. */
static bool open_files(struct cuts *c)
{
        char uri[512];

        for (unsigned n = 0; n < c->row->files; n++) {
                struct cut_file *f = &c->file[n];

                c->row->uri(c, n, uri, sizeof(uri));
                f->f = fl_file_open(c->e, uri, O_RDWR, NULL);
                if (!f->f) {
                        met_cut(c, "fl_file_open");
                        return false;
                }
                f->p = map_file(c->e, f->f, room_pages(c) * PAGE, PROT_READ | PROT_WRITE,
                                MAP_SHARED, 0);
        }
        return true;
}

static void close_files(struct cuts *c)
{
        for (unsigned n = 0; n < c->row->files; n++) {
                struct cut_file *f = &c->file[n];

                if (!f->f)
                        continue;
                if (f->p)
                        expect(fl_munmap(c->e, f->p, room_pages(c) * PAGE) == 0, "%s",
                               fl_strerror());
                if (fl_file_close(f->f))
                        met_cut(c, "fl_file_close");
                f->f = NULL;
                f->p = NULL;
        }
        if (fl_engine_close(c->e))
                met_cut(c, "fl_engine_close");
}

static void cut_once(struct cuts *c)
{
        char spec[256];

        c->off = false;
        c->gen = 0;
        c->random = c->how->seed;
        model_begin(c);
        c->row->make(c);
        spec_of(c, spec, sizeof(spec));
        c->e = open_engine_with((struct fl_engine_config){
                .cache = c->row->cache,
                .faults = spec,
                .flags = FL_ENGINE_QUIET,
        });
        if (open_files(c))
                c->row->work(c);
        close_files(c);
        if (c->row->recover)
                c->row->recover(c);
        for (unsigned n = 0; n < c->row->files; n++)
                check_file(c, n);
        model_end(c);
}

uint64_t cuts_run(const struct cut_row *row, const struct cut_how *how, void *private)
{
        struct cuts c = { .row = row, .how = how, .private = private };
        unsigned failed = test_failures();

        test_at(how->name);
        do {
                c.number++;
                cut_once(&c);
                c.made += c.off;
        } while (c.off && c.number < MAX_CUTS && test_failures() == failed);
        expect(c.number < MAX_CUTS, "%s, %s: there is no end to its writes", row->name, how->name);
        if (row->done)
                row->done(&c);
        return c.made;
}
