/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.c - `faultline replay`: what a policy would have made of these accesses, without I/O.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "replay.h"

#define DEFAULT_CACHE (64ul << 20)
#define DEFAULT_READAHEAD (128ul << 10)
#define SMALLEST 64 /* pages: the smallest engine */
#define MAX_SIZES 48

struct replay_run {
        struct replay_input in;
        struct replay_setup setup;
        const char *policy, *advice, *svg;
        struct {
                uint64_t cache; /* pages */
                struct replay_result result;
        } curve[MAX_SIZES];
        unsigned nr_sizes;
};

static double ratio(uint64_t part, uint64_t whole)
{
        return whole ? (double)part / (double)whole : 0;
}

static bool replay_at(struct replay_run *r, uint64_t cache, struct replay_result *out)
{
        struct replay_setup setup = r->setup;

        setup.cache = cache;
        if (setup.policy)
                return replay_policy(&r->in, &setup, out);
        return strcmp(r->policy, "opt") ? replay_lru(&r->in, cache, out)
                                        : replay_opt(&r->in, cache, out);
}

/* Caches from the smallest on, twice as large each time, until all pages fit and half as many again
 * for what is read ahead. */
static bool replay_curve(struct replay_run *r)
{
        uint64_t enough = 2 * (uint64_t)r->in.distinct;

        for (uint64_t cache = SMALLEST; r->nr_sizes < MAX_SIZES; cache *= 2) {
                r->curve[r->nr_sizes].cache = cache;
                if (!replay_at(r, cache, &r->curve[r->nr_sizes++].result))
                        return false;
                if (cache >= enough)
                        break;
        }
        return true;
}

static json_t *result_json(uint64_t cache, const struct replay_result *result)
{
        return json_pack("{s:I,s:I,s:I,s:f,s:I,s:I,s:I}", "cache_bytes",
                         (json_int_t)(cache * PAGE_SIZE), "hits", (json_int_t)result->hits,
                         "misses", (json_int_t)(result->counted - result->hits), "miss_ratio",
                         ratio(result->counted - result->hits, result->counted), "read_bytes",
                         (json_int_t)(result->read * PAGE_SIZE), "wasted_bytes",
                         (json_int_t)(result->wasted * PAGE_SIZE), "evicted_pages",
                         (json_int_t)result->evicted);
}

static int print_replay_json(const struct replay_run *r, const struct replay_result *result)
{
        json_t *object = result_json(r->setup.cache, result), *curve = json_array();

        if (!object || !curve)
                return fail("--json", "print", "%s", strerror(ENOMEM));
        json_object_set_new(object, "policy", json_string(r->policy));
        json_object_set_new(object, "accesses", json_integer((json_int_t)r->in.nr));
        json_object_set_new(object, "pages", json_integer((json_int_t)r->in.distinct));
        for (unsigned i = 0; i < r->nr_sizes; i++)
                json_array_append_new(curve, result_json(r->curve[i].cache, &r->curve[i].result));
        json_object_set_new(object, "curve", curve);
        if (!print_json(stdout, object))
                return fail("standard output", "write", "%s", strerror(errno));
        return 0;
}

static int print_replay(const struct replay_run *r, const struct replay_result *result)
{
        char a[TEXT_MAX], b[TEXT_MAX], c[TEXT_MAX];

        printf("accesses  %s to %s pages\n", text_count(a, r->in.nr),
               text_count(b, r->in.distinct));
        printf("cache     %s, %s", text_bytes(a, r->setup.cache * PAGE_SIZE), r->policy);
        if (r->setup.policy)
                printf(", read-ahead %s", text_bytes(a, r->setup.ra_pages * PAGE_SIZE));
        printf("\nhits      %s of them, %.2f%%; %s misses\n", text_count(a, result->hits),
               100 * ratio(result->hits, result->counted),
               text_count(b, result->counted - result->hits));
        printf("read      %s, of which %s for nothing; %s pages evicted\n",
               text_bytes(a, result->read * PAGE_SIZE), text_bytes(b, result->wasted * PAGE_SIZE),
               text_count(c, result->evicted));
        printf("\n%12s %10s %12s %12s\n", "cache", "misses", "read", "for nothing");
        for (unsigned i = 0; i < r->nr_sizes; i++) {
                const struct replay_result *q = &r->curve[i].result;

                printf("%12s %9.2f%% %12s %12s\n", text_bytes(a, r->curve[i].cache * PAGE_SIZE),
                       100 * ratio(q->counted - q->hits, q->counted),
                       text_bytes(b, q->read * PAGE_SIZE), text_bytes(c, q->wasted * PAGE_SIZE));
        }
        if (fflush(stdout))
                return fail("standard output", "write", "%s", strerror(errno));
        return 0;
}

#define WIDTH 640
#define HEIGHT 400
#define LEFT 60
#define TOP 30
#define RIGHT (WIDTH - 20)
#define BOTTOM (HEIGHT - 50)

static double x_of(const struct replay_run *r, unsigned i)
{
        return LEFT + (double)(RIGHT - LEFT) * i / (r->nr_sizes > 1 ? r->nr_sizes - 1 : 1);
}

/* The curve as a picture: cache sizes, each twice the last, against misses. */
static void draw_curve(const struct replay_run *r, FILE *f)
{
        char text[TEXT_MAX];

        fprintf(f,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                "font-family=\"sans-serif\" font-size=\"11\">\n"
                "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
                "<text x=\"%d\" y=\"18\" font-size=\"14\">Misses of %s by cache size</text>\n",
                WIDTH, HEIGHT, LEFT, r->policy);
        for (int percent = 0; percent <= 100; percent += 25) {
                double y = BOTTOM - (BOTTOM - TOP) * percent / 100.0;

                fprintf(f,
                        "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ccc\"/>"
                        "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d%%</text>\n",
                        LEFT, RIGHT, y, y, LEFT - 6, y + 4, percent);
        }
        for (unsigned i = 0; i < r->nr_sizes; i++)
                if (i % (1 + r->nr_sizes / 9) == 0)
                        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                                x_of(r, i), BOTTOM + 20,
                                text_bytes(text, r->curve[i].cache * PAGE_SIZE));
        fputs("<polyline fill=\"none\" stroke=\"#1f6fb4\" stroke-width=\"2\" points=\"", f);
        for (unsigned i = 0; i < r->nr_sizes; i++)
                fprintf(f, "%.1f,%.1f ", x_of(r, i),
                        BOTTOM - (BOTTOM - TOP) *
                                         ratio(r->curve[i].result.counted - r->curve[i].result.hits,
                                               r->curve[i].result.counted));
        fputs("\"/>\n</svg>\n", f);
}

static int write_svg(const struct replay_run *r)
{
        FILE *f = fopen(r->svg, "we");
        bool bad;

        if (!f)
                return fail(r->svg, "open", "%s", strerror(errno));
        draw_curve(r, f);
        bad = ferror(f);
        if (fclose(f) || bad)
                return fail(r->svg, "write", "%s", strerror(errno));
        return 0;
}

static int replay(struct replay_run *r, const char *path, bool json)
{
        struct replay_result result;
        int status = replay_read(&r->in, path);

        if (status)
                return status;
        if (!replay_at(r, r->setup.cache, &result) || !replay_curve(r))
                return fail(path, "replay", "%s", strerror(ENOMEM));
        status = json ? print_replay_json(r, &result) : print_replay(r, &result);
        if (!status && r->svg)
                status = write_svg(r);
        return status;
}

static enum vm_advice advice_of(const char *name)
{
        if (name && !strcmp(name, "random"))
                return ADVICE_RANDOM;
        return name && !strcmp(name, "sequential") ? ADVICE_SEQUENTIAL : ADVICE_NORMAL;
}

/* As an engine has it. */
static bool page_size_fits(struct replay_setup *setup, uint64_t size)
{
        setup->page_pages = (uint32_t)(size / PAGE_SIZE);
        return size >= PAGE_SIZE && size <= 65536 && !(size & (size - 1)) &&
               (size == PAGE_SIZE || (setup->policy && setup->policy->segvn));
}

static int run(struct options *o, int argc, char **argv)
{
        struct replay_run r = { .nr_sizes = 0 };
        const struct option_spec own[] = {
                { "advice", OPTION_CHOICE, &r.advice, "normal|random|sequential", 0 },
                { "svg", OPTION_STRING, &r.svg, NULL, 0 },
                { 0 },
        };
        const char *list;
        int status = options_parse_one(o, own, argc, argv, "list", &list);

        if (!list)
                return status;
        r.setup.policy = policy_find(o->policy);
        r.policy = r.setup.policy ? r.setup.policy->name : o->policy;
        r.setup.cache = (o->cache ? o->cache : DEFAULT_CACHE) / PAGE_SIZE;
        if (r.setup.cache >= UINT32_MAX)
                return fail_usage(o, "--cache: at most 15T");
        r.setup.ra_pages = (uint32_t)min_u64(
                (o->readahead ? o->readahead : DEFAULT_READAHEAD) / PAGE_SIZE, r.setup.cache / 8);
        r.setup.advice = advice_of(r.advice);
        r.setup.page_pages = r.setup.policy ? r.setup.policy->page_pages : 1;
        if (o->pagesize && !page_size_fits(&r.setup, o->pagesize))
                return fail_usage(o, "--pagesize: a power of two from 4K to 64K, and 4K where a "
                                     "policy has no other");
        status = replay(&r, list, o->json);
        replay_free(&r.in);
        return status;
}

const struct command command_replay = {
        .name = "replay",
        .summary = "accesses through a policy and a cache of any size, without I/O",
        .policies = "adaptive|linux|linux-5.13|solaris|solaris-book|lru|opt",
        .help = "replay LIST [--policy adaptive|linux|linux-5.13|solaris|solaris-book|lru|opt]\n"
                "                [--cache SIZE] [--readahead SIZE] [--pagesize SIZE]\n"
                "                [--advice normal|random|sequential] [--svg FILE] [OPTIONS]\n"
                "\n"
                "Counts hits, and bytes read, for the cache given and for others of all sizes: "
                "the\n"
                "miss-ratio curve. LIST has one page number a line, or is a trace (--trace) of "
                "one\n"
                "file: its faults and reads. Nothing else is opened.\n"
                "  --policy    lru and opt see every access and read nothing ahead: lru evicts "
                "the\n"
                "              page touched the longest ago, opt the one needed last, which is "
                "the\n"
                "              best there can be\n"
                "  --cache     (64M)\n"
                "  --readahead largest window (128K), never more than an eighth of the cache\n"
                "  --pagesize  4K to 64K with solaris and solaris-book (8K)\n"
                "  --advice    of the mapping\n"
                "  --svg       the curve as a picture\n"
                "\n"
                "Examples:\n"
                "  seq 0 99999 | shuf -r -n 200000 >list\n"
                "  faultline replay list --cache 64M\n"
                "  faultline replay list --cache 64M --policy opt --json\n"
                "  FAULTLINE_TRACE=t faultline cat data.bin >copy\n"
                "  faultline replay t --policy linux-5.13 --svg curve.svg\n",
        .run = run,
};
