/* SPDX-License-Identifier: Apache-2.0
 *
 * ext4.c - files of ext4 images, read, stored to, cut, lengthened and punched at random, beside a copy
 * in memory; what e2fsck(8) and debugfs(8) see of them afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "image.h"

#define PAGE TEST_PAGE
#define FILES 3
#define MAX_SIZE (600 * 1024ul) /* of a file */

static const struct {
        const char *options; /* of mke2fs */
        uint64_t bytes;
} kinds[] = {
        { "-t ext4 -b 1024", 16u << 20 },
        { "-t ext4 -b 2048", 16u << 20 },
        { "-t ext4 -b 4096", 32u << 20 },
        { "-t ext4 -b 4096 -O ^metadata_csum,^64bit,^flex_bg,^has_journal", 32u << 20 },
        { "-t ext3 -b 1024", 16u << 20 },
        { "-t ext2 -b 4096", 16u << 20 },
        { "-t ext4 -b 1024 -O ^has_journal,uninit_bg,^metadata_csum -g 256", 16u << 20 },
};

/* A file as it ought to be, and as it is. */
struct subject {
        char uri[512];
        char name[16];
        struct fl_engine *e;
        struct fl_file *f;
        char *p; /* MAX_SIZE, shared and writable */
        unsigned char *want;
        uint64_t size;
};

static void open_subject(struct subject *s)
{
        s->f = open_file(s->e, s->uri, O_RDWR);
        s->p = map_file(s->e, s->f, MAX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
}

static void close_subject(struct subject *s)
{
        expect(fl_munmap(s->e, s->p, MAX_SIZE) == 0, "%s", fl_strerror());
        close_file(s->f);
}

static void fill(unsigned char *to, size_t n, uint64_t *seed)
{
        for (size_t i = 0; i < n; i++)
                to[i] = (unsigned char)(random_next(seed) | 1);
}

static void store(struct subject *s, uint64_t *seed)
{
        uint64_t at, n;

        if (!s->size)
                return;
        at = random_below(seed, s->size);
        n = 1 + random_below(seed, random_below(seed, 8) ? 3000 : 60000);
        n = n < s->size - at ? n : s->size - at;
        fill(s->want + at, n, seed);
        memcpy(s->p + at, s->want + at, n);
}

static void write_at(struct subject *s, uint64_t *seed)
{
        uint64_t at = random_below(seed, MAX_SIZE * 3 / 4), n = 1 + random_below(seed, 20000);

        if (random_below(seed, 2))
                at = s->size; /* appends */
        if (at + n > MAX_SIZE)
                return;
        fill(s->want + at, n, seed);
        expect(fl_pwrite(s->f, s->want + at, n, (off_t)at) == (ssize_t)n, "%s", fl_strerror());
        s->size = at + n > s->size ? at + n : s->size;
}

static void set_size(struct subject *s, uint64_t *seed)
{
        uint64_t size = random_below(seed, random_below(seed, 4) ? MAX_SIZE : 3 * PAGE);

        if (size < s->size)
                memset(s->want + size, 0, s->size - size);
        expect(fl_ftruncate(s->f, (off_t)size) == 0, "%s", fl_strerror());
        s->size = size;
}

/* Behind the end of the file, in its last page: that must never become part of it. */
static void stray(struct subject *s)
{
        if (s->size % PAGE) {
                s->p[s->size] = 'x';
                s->p[s->size | (PAGE - 1)] = 'x';
        }
}

static void punch(struct subject *s, uint64_t *seed)
{
        uint64_t pages = s->size / PAGE, first, n;

        if (!pages)
                return;
        first = random_below(seed, pages);
        n = 1 + random_below(seed, pages - first);
        expect(fl_madvise(s->e, s->p + first * PAGE, n * PAGE, MADV_REMOVE) == 0, "%s",
               fl_strerror());
        memset(s->want + first * PAGE, 0, n * PAGE);
}

static void compare(struct subject *s)
{
        unsigned char *got = malloc(MAX_SIZE);
        ssize_t n = fl_pread(s->f, got, MAX_SIZE, 0);
        uint64_t at = 0;

        expect_eq(n, s->size, s->name);
        while (at < s->size && got[at] == s->want[at])
                at++;
        expect(at == s->size, "%s: byte %llu of %llu is %d, expected %d", s->name,
               (unsigned long long)at, (unsigned long long)s->size, got[at], s->want[at]);
        free(got);
}

static void one_step(struct subject *s, uint64_t *seed)
{
        switch (random_below(seed, 17)) {
        case 0:
                set_size(s, seed);
                break;
        case 1:
                punch(s, seed);
                break;
        case 2:
                expect(fl_fsync(s->f) == 0, "%s", fl_strerror());
                break;
        case 3:
                expect(fl_msync(s->e, s->p, MAX_SIZE, MS_SYNC) == 0, "%s", fl_strerror());
                break;
        case 4:
                close_subject(s);
                open_subject(s);
                break;
        case 5:
        case 6:
                compare(s);
                break;
        case 7:
                stray(s);
                break;
        case 8:
        case 9:
        case 10:
                write_at(s, seed);
                break;
        default:
                store(s, seed);
        }
}

static void at_random(const char *options, uint64_t bytes, unsigned steps)
{
        struct image *image = image_make(options, bytes);
        struct subject subjects[FILES] = { 0 };
        uint64_t seed = test.seed;
        struct fl_engine *e;

        for (unsigned i = 0; i < FILES; i++) {
                struct subject *s = &subjects[i];

                snprintf(s->name, sizeof(s->name), "f%u", i);
                s->want = calloc(1, MAX_SIZE);
                s->size = i * 77777;
                fill(s->want, s->size, &seed);
                image_add(image, s->name, s->want, s->size);
        }
        image_finish(image);
        e = open_engine_with((struct fl_engine_config){ .cache = test.cache ?: 1u << 20 });
        for (unsigned i = 0; i < FILES; i++) {
                snprintf(subjects[i].uri, sizeof(subjects[i].uri), "ext4:%s#/%s", image_path(image),
                         subjects[i].name);
                subjects[i].e = e;
                open_subject(&subjects[i]);
        }
        for (unsigned n = 0; n < steps && !test_failures(); n++)
                one_step(&subjects[random_below(&seed, FILES)], &seed);
        check_engine(e);
        for (unsigned i = 0; i < FILES; i++) {
                compare(&subjects[i]);
                close_subject(&subjects[i]);
        }
        close_engine(e);
        expect(image_is_clean(image), "%s: e2fsck -fn", options);
        for (unsigned i = 0; i < FILES; i++) {
                image_expect(image, subjects[i].name, subjects[i].want, subjects[i].size);
                free(subjects[i].want);
        }
        image_free(image);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 8, 120, 120);
        image_need_tools();
        for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !test_failures(); i++) {
                test_at(kinds[i].options);
                at_random(kinds[i].options, kinds[i].bytes, 400);
        }
        while (test_left() > 0 && !test_failures()) {
                unsigned i = (unsigned)random_below(&test.seed, sizeof(kinds) / sizeof(kinds[0]));

                test_at(kinds[i].options);
                at_random(kinds[i].options, kinds[i].bytes, 400);
        }
        return test_end();
}
