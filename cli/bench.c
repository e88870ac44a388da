/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.c - `faultline bench`: its options, and what becomes of the run's document.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define MOST_ROWS 64

struct bench_options {
        const char *seconds, *sides, *html, *from;
        const char *worker, *file; /* for ourselves only */
        uint64_t seed;
        bool markdown, quick, goals;
};

static int choose_rows(const struct options *o, int argc, char **argv, const struct workload **rows,
                       unsigned *n)
{
        for (*n = 0; *n < bench_nr_rows && argc < 2; ++*n)
                rows[*n] = &bench_rows[*n];
        for (int i = 1; i < argc; i++) {
                const struct workload *row = bench_find_row(argv[i]);

                if (!row)
                        return fail_usage(o, "%s: no such benchmark", argv[i]);
                if (*n < MOST_ROWS)
                        rows[(*n)++] = row;
        }
        return 0;
}

/* Faultline is always among them. */
static int choose_sides(const struct options *o, const char *list, unsigned *sides)
{
        *sides = 1u << SIDE_FAULTLINE;
        if (!list)
                *sides = (1u << NR_SIDES) - 1;
        for (const char *at = list; at && *at; at += strspn(at, ",")) {
                size_t length = strcspn(at, ",");
                enum bench_side side = bench_find_side(at, length);

                if (!length || side == NR_SIDES)
                        return fail_usage(o, "--sides %s: no such side", list);
                *sides |= 1u << side;
                at += length;
        }
        return 0;
}

static int parse_seconds(const struct options *o, const char *text, double *seconds)
{
        char *end;

        *seconds = strtod(text, &end);
        if (*end || !(*seconds >= 0.001 && *seconds <= 86400))
                return fail_usage(o, "--seconds %s: must be from 0.001 to 86400", text);
        return 0;
}

static int work(const struct options *o, const struct bench *b, const struct bench_options *own,
                const struct workload *load)
{
        const struct bench_job job = {
                .load = load,
                .side = bench_find_side(own->worker, strlen(own->worker)),
                .path = own->file,
                .cache = o->cache,
                .seconds = b->seconds,
                .seed = own->seed,
                .busy = b->busy,
        };

        if (job.side == NR_SIDES)
                return fail_usage(o, "--worker %s: no such side", own->worker);
        return bench_work(o, &job);
}

static int write_html(const char *path, const json_t *document)
{
        FILE *out = fopen(path, "we");
        bool bad;

        if (!out)
                return fail(path, "create", "%s", strerror(errno));
        bench_print_html(out, document);
        bad = ferror(out);
        if (fclose(out) || bad)
                return fail(path, "write", "%s", strerror(errno));
        return 0;
}

/* All but the table, which was printed row by row. */
static int publish(const struct options *o, const struct bench_options *own, json_t *document)
{
        int status = own->html ? write_html(own->html, document) : 0;

        if (own->markdown)
                bench_print_markdown(stdout, document);
        if (o->json && !print_json(stdout, json_incref(document)))
                status = fail("standard output", "write", "%s", strerror(errno));
        if (fflush(stdout) && !status)
                status = fail("standard output", "write", "%s", strerror(errno));
        return status;
}

/* Each run as ever, and what has been reached of the goals. Owns `runs`. */
static int publish_goals(const struct options *o, const struct bench_options *own, json_t *runs)
{
        const json_t *all = json_object_get(runs, "runs");

        for (size_t i = 0; own->markdown && i < json_array_size(all); i++) {
                bench_print_markdown(stdout, json_array_get(all, i));
                fputc('\n', stdout);
        }
        if (!o->json)
                bench_print_goals(stdout, all, own->markdown);
        if (o->json ? !print_json(stdout, runs) : (json_decref(runs), fflush(stdout)))
                return fail("standard output", "write", "%s", strerror(errno));
        return 0;
}

/* What an earlier run said with --json. */
static int show_again(const struct options *o, const struct bench_options *own)
{
        json_error_t error;
        json_t *document = json_load_file(own->from, 0, &error), *rows;
        int status;

        if (json_is_array(json_object_get(document, "runs")))
                return publish_goals(o, own, document);
        rows = json_object_get(document, "rows");
        if (!json_is_array(rows)) {
                json_decref(document);
                return fail(own->from, "read", "%s", document ? "not of bench --json" : error.text);
        }
        if (!o->json && !own->markdown) {
                bench_print_head(stdout, document);
                for (size_t i = 0; i < json_array_size(rows); i++)
                        bench_print_row(stdout, json_array_get(rows, i));
        }
        status = publish(o, own, document);
        json_decref(document);
        return status;
}

static int measure(struct bench *b, const struct bench_options *own,
                   const struct workload *const *rows, unsigned n)
{
        int status = bench_prepare(b);

        if (status)
                return status;
        if (b->live)
                bench_print_head(stdout, b->document);
        status = bench_measure(b, rows, n);
        if (!status)
                status = publish(b->options, own, b->document);
        bench_finish(b);
        return status;
}

static int measure_goals(const struct bench *b, const struct bench_options *own,
                         const struct workload *const *rows, unsigned n)
{
        json_t *runs = NULL;
        int status;

        if (own->html || b->cache)
                return fail_usage(b->options, "--goals sets each row's cache, and makes no page");
        status = bench_goals(b, rows, n, &runs);
        if (!status)
                return publish_goals(b->options, own, runs);
        json_decref(runs);
        return status;
}

static int run(struct options *o, int argc, char **argv)
{
        struct bench b = { .options = o, .rounds = 0 };
        struct bench_options own = { .seed = 1 };
        const struct option_spec spec[] = {
                { "seconds", OPTION_STRING, &own.seconds, NULL, 0 },
                { "rounds", OPTION_COUNT, &b.rounds, NULL, 1 },
                { "quick", OPTION_FLAG, &own.quick, NULL, 0 },
                { "busy", OPTION_FLAG, &b.busy, NULL, 0 },
                { "pairs", OPTION_FLAG, &b.pairs, NULL, 0 },
                { "sides", OPTION_STRING, &own.sides, NULL, 0 },
                { "size", OPTION_SIZE, &b.size, NULL, 4 * 1024 * 1024 },
                { "dir", OPTION_STRING, &b.folder, NULL, 0 },
                { "html", OPTION_STRING, &own.html, NULL, 0 },
                { "markdown", OPTION_FLAG, &own.markdown, NULL, 0 },
                { "from", OPTION_STRING, &own.from, NULL, 0 },
                { "goals", OPTION_FLAG, &own.goals, NULL, 0 },
                /* For ourselves only: */
                { "worker", OPTION_STRING, &own.worker, NULL, 0 },
                { "file", OPTION_STRING, &own.file, NULL, 0 },
                { "seed", OPTION_COUNT, &own.seed, NULL, 0 },
                { 0 },
        };
        const struct workload *rows[MOST_ROWS];
        int status = options_parse(o, spec, &argc, argv);
        unsigned n;

        if (status)
                return status;
        if (o->help)
                return print_command_help(o->command);
        status = choose_rows(o, argc, argv, rows, &n);
        if (!status)
                status = choose_sides(o, own.sides, &b.sides);
        if (!status && own.seconds)
                status = parse_seconds(o, own.seconds, &b.seconds);
        if (status)
                return status;
        if (own.quick && !own.seconds)
                b.seconds = 1;
        if (!b.rounds && (own.quick || !own.goals))
                b.rounds = own.quick ? 3 : 5;
        if (b.rounds > BENCH_MAX_ROUNDS)
                return fail_usage(o, "--rounds %" PRIu64 ": at most %d", b.rounds,
                                  BENCH_MAX_ROUNDS);
        if (own.worker && own.file)
                return work(o, &b, &own, rows[0]);
        if (own.from)
                return show_again(o, &own);
        b.cache = o->cache;
        b.live = !o->json && !own.markdown;
        if (own.goals)
                return measure_goals(&b, &own, rows, n);
        return measure(&b, &own, rows, n);
}

const struct command command_bench = {
        .name = "bench",
        .summary = "Faultline beside kernel mmap, pread, io_uring and fio, with ratios",
        .help = "bench [NAME...] [--seconds N] [--rounds N] [--quick] [--busy] [--pairs]\n"
                "                       [--sides LIST] [--size SIZE] [--dir FOLDER] [--html FILE]\n"
                "                       [--markdown] [--from FILE] [OPTIONS]\n"
                "\n"
                "  rand-read-1 -2 -8 -32  4 KiB loads at random, with so many threads\n"
                "  rand-read-1-inline -8-inline  the same with --mmu sigbus\n"
                "  rand-read-1-spin -8-spin      and with --spin 100us\n"
                "  rand-noadvice-1        the same without advice, 1 thread\n"
                "  rand-write             stores at random, msync after every 64\n"
                "  rand-write-8           by 8 threads, one msync at the end; the time of both\n"
                "  msync-64               msync of 64 pages stored to, far apart\n"
                "  rand-tail-8            what 99 of 100 loads stay below while others store\n"
                "  seq, seq-write         the whole file in order, every byte\n"
                "  backward, stride       a load a page from the end; a load every 256 KiB\n"
                "  stride-noadvice        the latter without advice\n"
                "  four-streams           four readers in order take turns, a load a page\n"
                "  hot-set                at random over 0.9 of the cache's size\n"
                "  zipf-0.9, zipf-1.1     by Zipf's law over so much of the cache's size\n"
                "  zipf-scan              zipf-0.9 while another thread scans the file\n"
                "  many-maps              thousands of small mappings\n"
                "  map-unmap              map, load from a cached page, unmap\n"
                "  refault                pages that are cached but not mapped\n"
                "  anon-random, anon-seq  stores to memory that swaps, 4 times the cache\n"
                "  first-touch            a first store to each page of memory that fits\n"
                "  map-large              map and unmap 1 GiB of memory, untouched\n"
                "  map-large-file         the same of a file\n"
                "  nbd-seq                an NBD server's export in order, beside nbdcopy\n"
                "  remote-rand-8 -64      loads at random from an export that answers after 1 ms\n"
                "  remote-seq, -prefetch  in order; 64 at a time by fl_prefetch\n"
                "  maps-50000             minor faults over so many mappings, beside one\n"
                "  far-apart              loads over a sparse file of 16 TiB, beside one of 1 GiB\n"
                "  pread-hit, pread-miss  fl_pread beside pread\n"
                "  rand-read-8-traced     rand-read-8 with --trace, beside itself without\n"
                "  minor-60000-traced     so many minor faults a second with --trace: what is "
                "lost\n"
                "  mapped                 memory that is all mapped, beside memory from malloc\n"
                "  block-read-32          the block layer by itself, 32 reads at the disk, beside "
                "fio\n"
                "  prefetch               100,000 pages by one fl_prefetch, beside fio, 32 in "
                "flight\n"
                "  block-ram              what it costs a request, beside the ram driver alone\n"
                "\n"
                "Every row runs on each side that has a meaning for it: faultline,\n"
                "faultline-no-advice (where there is some), mmap (no advice), mmap-advice (the\n"
                "best), pread, io_uring, fio-psync, fio-io_uring, malloc, faultline-small\n"
                "(Faultline, the row's small case), faultline-untraced (without the row's trace),\n"
                "nbdcopy, fio-nbd; --sides names some, separated by commas.\n"
                "A ratio is Faultline's rate through the other's.\n"
                "\n"
                "  --seconds N    for each side of each round (2; zipf rows 30)\n"
                "  --rounds N     5 unless given; the sides take turns in each\n"
                "  --quick        1 second, 3 rounds\n"
                "  --busy         every row once more with a second thread running beside\n"
                "  --pairs        only Faultline and the side that the ratio is about\n"
                "  --size SIZE    of the file: 8 times the cache unless given (512M and 64M)\n"
                "  --dir FOLDER   where the file is made once and kept ($TMPDIR, /var/tmp)\n"
                "  --html FILE    also write a page with plots\n"
                "  --markdown     the table as Markdown\n"
                "  --goals        the rows that Faultline is held to, beside what it wants to be;\n"
                "                 file 2 GiB, each with its cache, 3 rounds: about ten minutes\n"
                "  --from FILE    show again what an earlier run printed with --json\n"
                "\n"
                "All rows take about an hour, with --quick about ten minutes.\n"
                "The kernel's sides run under a memory cgroup of the cache's size; where none\n"
                "can be made (root is needed), their rows are not comparable, and say so.\n"
                "\n"
                "Examples:\n"
                "  faultline bench --quick rand-read-1 rand-read-8\n"
                "  faultline bench --goals rand-read-1 seq\n"
                "  faultline bench --json >run.json\n"
                "  faultline bench --from run.json --html run.html\n"
                "  faultline bench --size 4G --dir /mnt/disk\n",
        .run = run,
};
