/* SPDX-License-Identifier: Apache-2.0
 *
 * access.c - the streams of accesses behind `touch`, and the stamps.
 */
#include "access.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* splitmix64: the n-th number of a stream is a function of (key, n). */
static uint64_t mix(uint64_t x)
{
        x ^= x >> 30;
        x *= 0xbf58476d1ce4e5b9u;
        x ^= x >> 27;
        x *= 0x94d049bb133111ebu;
        return x ^ x >> 31;
}

#define GOLDEN 0x9e3779b97f4a7c15u

struct stamp stamp_of(uint64_t page, uint64_t seed)
{
        return (struct stamp){ htole64(page), htole64(mix(page + mix(seed + GOLDEN))) };
}

int access_parse(struct access_plan *plan, const struct options *o, const char *pattern)
{
        static const struct {
                const char *name;
                enum access_pattern pattern;
        } plain[] = { { "seq", ACCESS_SEQ }, { "back", ACCESS_BACK }, { "random", ACCESS_RANDOM } };

        for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
                if (!strcmp(pattern, plain[i].name)) {
                        plan->pattern = plain[i].pattern;
                        return 0;
                }
        }
        if (!strncmp(pattern, "stride=", 7)) {
                plan->pattern = ACCESS_STRIDE;
                if (!parse_size(pattern + 7, &plan->stride) || !plan->stride)
                        return fail_usage(o, "--pattern %s: is not a size such as stride=64K",
                                          pattern);
                return 0;
        }
        if (!strncmp(pattern, "list=", 5) && pattern[5]) {
                plan->pattern = ACCESS_LIST;
                plan->list_path = pattern + 5;
                return 0;
        }
        return fail_usage(o, "--pattern %s: must be seq, back, random, stride=SIZE or list=FILE",
                          pattern);
}

static int add_line(struct access_plan *plan, const char *line, unsigned number, size_t *room)
{
        char text[32];
        uint64_t page;

        line += strspn(line, " \t");
        snprintf(text, sizeof(text), "%.*s", (int)strcspn(line, " \t\r\n#"), line);
        if (!*text)
                return 0;
        if (!parse_count(text, &page))
                return fail(plan->list_path, "read", "line %u: not a page number", number);
        if (page >= plan->pages)
                return fail(plan->list_path, "read",
                            "line %u: page %" PRIu64 " is past the end (%" PRIu64 " pages)", number,
                            page, plan->pages);
        if (plan->list_length == *room) {
                size_t more = *room ? 2 * *room : 1024;
                uint64_t *grown = realloc(plan->list, more * sizeof(*grown));

                if (!grown)
                        return fail(plan->list_path, "read", "%s", strerror(ENOMEM));
                plan->list = grown;
                *room = more;
        }
        plan->list[plan->list_length++] = page;
        return 0;
}

/* One page number a line; `#` starts a comment. */
static int read_list(struct access_plan *plan)
{
        FILE *stream = fopen(plan->list_path, "re");
        char *line = NULL;
        size_t line_room = 0, room = 0;
        unsigned number = 0;
        int status = 0;

        if (!stream)
                return fail(plan->list_path, "open", "%s", strerror(errno));
        while (!status && getline(&line, &line_room, stream) >= 0)
                status = add_line(plan, line, ++number, &room);
        if (!status && ferror(stream))
                status = fail(plan->list_path, "read", "%s", strerror(errno));
        if (!status && !plan->list_length)
                status = fail(plan->list_path, "read", "no page numbers in it");
        free(line);
        fclose(stream);
        return status;
}

int access_prepare(struct access_plan *plan)
{
        if (plan->pattern == ACCESS_LIST) {
                int status = read_list(plan);

                if (status)
                        return status;
        }
        if (plan->count)
                return 0;
        switch (plan->pattern) {
        case ACCESS_LIST:
                plan->count = plan->list_length;
                break;
        case ACCESS_STRIDE:
                plan->count = (plan->pages * PAGE_SIZE - 1) / plan->stride + 1;
                break;
        default:
                plan->count = plan->pages;
        }
        return 0;
}

void access_free(struct access_plan *plan)
{
        free(plan->list);
        plan->list = NULL;
}

static uint64_t first_of(const struct access_plan *plan, uint64_t t)
{
        uint64_t left = plan->count % plan->threads;

        return plan->count / plan->threads * t + (t < left ? t : left);
}

uint64_t access_share(const struct access_plan *plan, uint64_t t)
{
        return first_of(plan, t + 1) - first_of(plan, t);
}

uint64_t access_page(const struct access_plan *plan, uint64_t t, uint64_t i)
{
        uint64_t n = first_of(plan, t) + i, key;

        switch (plan->pattern) {
        case ACCESS_SEQ:
                return n % plan->pages;
        case ACCESS_BACK:
                return plan->pages - 1 - n % plan->pages;
        case ACCESS_STRIDE:
                return (uint64_t)((unsigned __int128)n * plan->stride %
                                  ((unsigned __int128)plan->pages * PAGE_SIZE) / PAGE_SIZE);
        case ACCESS_LIST:
                return plan->list[n % plan->list_length];
        case ACCESS_RANDOM:
                break;
        }
        key = mix(mix(plan->seed + GOLDEN) + t);
        return (uint64_t)((unsigned __int128)mix(key + (i + 1) * GOLDEN) * plan->pages >> 64);
}

int access_in_order(const struct access_plan *plan, struct access_plan *sorted)
{
        unsigned char *seen = calloc(plan->pages / 8 + 1, 1);
        size_t n = 0;

        *sorted = *plan;
        sorted->pattern = ACCESS_LIST;
        sorted->list = NULL;
        for (uint64_t t = 0; seen && t < plan->threads; t++) {
                for (uint64_t i = 0, share = access_share(plan, t); i < share; i++) {
                        uint64_t page = access_page(plan, t, i);

                        n += !(seen[page / 8] >> page % 8 & 1);
                        seen[page / 8] |= (unsigned char)(1 << page % 8);
                }
        }
        if (seen)
                sorted->list = calloc(n ? n : 1, sizeof(*sorted->list));
        if (!sorted->list) {
                free(seen);
                return fail("touch", "verify", "%s", strerror(ENOMEM));
        }
        sorted->list_length = sorted->count = n;
        n = 0;
        for (uint64_t page = 0; page < plan->pages; page++)
                if (seen[page / 8] >> page % 8 & 1)
                        sorted->list[n++] = page;
        free(seen);
        return 0;
}
