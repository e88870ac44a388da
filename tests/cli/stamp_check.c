/* SPDX-License-Identifier: Apache-2.0
 *
 * stamp_check.c - another program than the one that wrote: is every stamp in the file?
 *
 *     stamp_check make FILE PAGES
 *     stamp_check check FILE PAGES SEED COUNT THREADS
 *
 * `make` fills each page with a function of its number. `check` walks the streams of
 * `touch --pattern random --write`, then reads the whole file: a page that was stored to holds
 * its stamp and, behind it, what `make` put there; every other page is as it was made. The
 * arithmetic of streams and stamps is written out again here, on purpose.
 */
#include <endian.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096
#define WORDS (PAGE / 8)
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static uint64_t mix(uint64_t x)
{
        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

static void made_page(uint64_t page, uint64_t *words)
{
        for (uint64_t i = 0; i < WORDS; i++)
                words[i] = htole64(mix(page * WORDS + i + 1));
}

static int make(const char *path, uint64_t pages)
{
        FILE *file = fopen(path, "w");
        uint64_t words[WORDS];

        if (!file) {
                perror(path);
                return 1;
        }
        for (uint64_t page = 0; page < pages; page++) {
                made_page(page, words);
                if (fwrite(words, PAGE, 1, file) != 1) {
                        perror(path);
                        fclose(file);
                        return 1;
                }
        }
        if (fclose(file)) {
                perror(path);
                return 1;
        }
        return 0;
}

static bool *touched_pages(uint64_t pages, uint64_t seed, uint64_t count, uint64_t threads)
{
        bool *touched = calloc(pages, sizeof(*touched));

        for (uint64_t t = 0; touched && t < threads; t++) {
                uint64_t share = count / threads + (t < count % threads);
                uint64_t key = mix(mix(seed + GOLDEN) + t);

                for (uint64_t i = 1; i <= share; i++) {
                        unsigned __int128 scaled = (unsigned __int128)mix(key + i * GOLDEN) * pages;

                        touched[(uint64_t)(scaled >> 64)] = true;
                }
        }
        return touched;
}

static int check(const char *path, uint64_t pages, uint64_t seed, const bool *touched)
{
        FILE *file = fopen(path, "r");
        uint64_t words[WORDS], want[WORDS], wrong = 0, stamped = 0;

        if (!file) {
                perror(path);
                return 1;
        }
        for (uint64_t page = 0; page < pages; page++) {
                if (fread(words, PAGE, 1, file) != 1) {
                        fprintf(stderr, "%s: page %" PRIu64 " cannot be read\n", path, page);
                        fclose(file);
                        return 1;
                }
                made_page(page, want);
                if (touched[page]) {
                        want[0] = htole64(page);
                        want[1] = htole64(mix(page + mix(seed + GOLDEN)));
                        stamped++;
                }
                if (memcmp(words, want, PAGE) && !wrong++)
                        fprintf(stderr, "%s: page %" PRIu64 " (%s) is wrong\n", path, page,
                                touched[page] ? "stored to" : "never stored to");
        }
        if (fgetc(file) != EOF) {
                fprintf(stderr, "%s: longer than %" PRIu64 " pages\n", path, pages);
                wrong++;
        }
        fclose(file);
        fprintf(stderr, "%" PRIu64 " pages stamped, %" PRIu64 " wrong\n", stamped, wrong);
        return wrong || !stamped;
}

int main(int argc, char **argv)
{
        uint64_t number[7] = { 0 };
        bool *touched;
        int status;

        for (int i = 3; i < argc && i < 7; i++)
                number[i] = strtoull(argv[i], NULL, 10);
        if (argc == 4 && !strcmp(argv[1], "make"))
                return make(argv[2], number[3]);
        if (argc != 7 || strcmp(argv[1], "check") || !number[6]) {
                fprintf(stderr, "usage: stamp_check make FILE PAGES\n"
                                "       stamp_check check FILE PAGES SEED COUNT THREADS\n");
                return 2;
        }
        touched = touched_pages(number[3], number[4], number[5], number[6]);
        status = touched ? check(argv[2], number[3], number[4], touched) : 1;
        free(touched);
        return status;
}
