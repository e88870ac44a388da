/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_goals.c - `faultline bench --goals`: what Faultline means to reach, measured in one run, beside
 * what it wants to be.
 *
 * The file is one, of 2 GiB unless --size says otherwise; a part is the rows that share a cache, which
 * is a fraction of it, and its sides are those that a goal is about. Each part is a run as any other,
 * with a document of its own.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define GOALS_SIZE (2ul << 30)
#define GOALS_ROUNDS 3
#define GOALS_STEADY 10.0

/* What of a row is held to the number. */
enum measure {
        RATIO,        /* Faultline's rate through the other's, at least, in thousandths */
        CPU,          /* Faultline's CPU time through the other's, at most, in thousandths */
        NS_EACH,      /* nanoseconds an operation, at most */
        PAGES_A_FAULT /* at least */
};

enum part { CACHE_EIGHTH, CACHE_32ND, CACHE_ALL, NR_PARTS };
static const unsigned cache_part[NR_PARTS] = { 8, 32, 1 }; /* of the file */

static const struct goal {
        const char *row;
        const char *title;
        enum part part;
        enum measure measure;
        enum bench_side beside;
        unsigned number;
} goals[] = {
        { "rand-read-1-inline", "random read, 1 thread, sigbus, beside mmap", CACHE_EIGHTH, RATIO,
          SIDE_ADVISED, 1250 },
        { "rand-read-1-spin", "random read, 1 thread, sigbus, polling", CACHE_EIGHTH, RATIO,
          SIDE_ADVISED, 1250 },
        { "rand-read-1", "random read, 1 thread, uffd, beside mmap", CACHE_EIGHTH, RATIO,
          SIDE_ADVISED, 900 },
        { "rand-read-8-inline", "random read, 8 threads, sigbus, beside mmap", CACHE_EIGHTH, RATIO,
          SIDE_ADVISED, 1000 },
        { "rand-read-8-spin", "random read, 8 threads, sigbus, polling", CACHE_EIGHTH, RATIO,
          SIDE_ADVISED, 1000 },
        { "rand-read-8", "random read, 8 threads, uffd, beside mmap", CACHE_EIGHTH, RATIO,
          SIDE_ADVISED, 850 },
        { "rand-read-8-inline", "CPU time of a random fault, 8 threads, sigbus", CACHE_EIGHTH, CPU,
          SIDE_ADVISED, 1300 },
        { "rand-read-8", "CPU time of a random fault, 8 threads, uffd", CACHE_EIGHTH, CPU,
          SIDE_ADVISED, 1300 },
        { "rand-noadvice-1", "random read without advice, beside mmap", CACHE_EIGHTH, RATIO,
          SIDE_MMAP, 4000 },
        { "seq", "in order, beside mmap", CACHE_EIGHTH, RATIO, SIDE_ADVISED, 1000 },
        { "seq", "in order, beside fio, io_uring", CACHE_EIGHTH, RATIO, SIDE_FIO_URING, 800 },
        { "seq", "in order, beside fio, psync", CACHE_EIGHTH, RATIO, SIDE_FIO_PSYNC, 800 },
        { "stride-noadvice", "every 256 KiB, beside mmap", CACHE_EIGHTH, RATIO, SIDE_MMAP, 8000 },
        { "prefetch", "100,000 pages by fl_prefetch, beside fio", CACHE_EIGHTH, RATIO,
          SIDE_FIO_URING, 950 },
        { "rand-write-8", "random stores, 8 threads, and msync", CACHE_EIGHTH, RATIO, SIDE_ADVISED,
          1200 },
        { "msync-64", "msync of 64 pages", CACHE_32ND, RATIO, SIDE_ADVISED, 1000 },
        { "refault", "refault, a page", CACHE_ALL, NS_EACH, SIDE_FAULTLINE, 350 },
        { "refault", "refault, pages a fault", CACHE_ALL, PAGES_A_FAULT, SIDE_FAULTLINE, 512 },
        { "refault", "refault, beside mmap's (no goal)", CACHE_ALL, RATIO, SIDE_MMAP, 0 },
        { "zipf-0.9", "Zipf over 0.9 of the cache", CACHE_EIGHTH, RATIO, SIDE_ADVISED, 900 },
        { "zipf-1.1", "Zipf over 1.1 of the cache", CACHE_EIGHTH, RATIO, SIDE_ADVISED, 900 },
        { "rand-tail-8", "99 of 100 faults while others store", CACHE_EIGHTH, RATIO, SIDE_ADVISED,
          1000 },
        { "mapped", "all mapped, beside plain memory", CACHE_EIGHTH, RATIO, SIDE_MALLOC, 990 },
        { "pread-hit", "fl_pread of what is cached", CACHE_EIGHTH, RATIO, SIDE_PREAD, 1667 },
};
#define NR_GOALS (sizeof(goals) / sizeof(*goals))

/* The sides that a goal of this part needs the row on; 0: none does. */
static unsigned sides_of(enum part part, const struct workload *row)
{
        unsigned sides = 0;

        for (unsigned i = 0; i < NR_GOALS; i++)
                if (goals[i].part == part && !strcmp(goals[i].row, row->name))
                        sides |= 1u << goals[i].beside | 1u << SIDE_FAULTLINE;
        return sides;
}

static bool part_has(enum part part, const struct workload *const *rows, unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                if (sides_of(part, rows[i]))
                        return true;
        return false;
}

static int measure_part(const struct bench *all, enum part part, const struct workload *const *rows,
                        unsigned n, json_t *runs)
{
        struct bench b = *all;
        int status;

        b.cache = b.size / cache_part[part] / PAGE_SIZE * PAGE_SIZE;
        status = bench_prepare(&b);
        if (status)
                return status;
        if (b.live)
                bench_print_head(stdout, b.document);
        for (unsigned i = 0; i < n && !status; i++) {
                b.only = sides_of(part, rows[i]);
                if (b.only)
                        status = bench_measure(&b, &rows[i], 1);
        }
        json_array_append(runs, b.document);
        bench_finish(&b);
        if (b.live)
                fputc('\n', stdout);
        return status;
}

static const json_t *find(const json_t *array, const char *key, const char *value)
{
        for (size_t i = 0; i < json_array_size(array); i++)
                if (!strcmp(bench_string(json_array_get(array, i), key), value))
                        return json_array_get(array, i);
        return NULL;
}

/* The part's run has that file and that cache. */
static const json_t *find_row(const json_t *runs, const struct goal *g)
{
        for (size_t i = 0; i < json_array_size(runs); i++) {
                const json_t *run = json_array_get(runs, i);
                double parts = bench_number(run, "file_bytes") / bench_number(run, "cache_bytes");

                if ((unsigned)(parts + 0.5) == cache_part[g->part])
                        return find(json_object_get(run, "rows"), "name", g->row);
        }
        return NULL;
}

/* In the unit of the goal's number; negative: it was not measured. */
static double found(const struct goal *g, const json_t *ours, const json_t *theirs)
{
        double rate = bench_number(ours, "median"), cpu = bench_number(theirs, "cpu_ns");

        switch (g->measure) {
        case RATIO:
                return theirs ? bench_number(theirs, "ratio_permille") : -1;
        case CPU:
                return cpu > 0 ? bench_number(ours, "cpu_ns") / cpu * 1000 : -1;
        case NS_EACH:
                return rate > 0 ? 1e9 / rate : -1;
        default:
                return bench_number(ours, "faults") > 0
                               ? bench_number(ours, "units") / bench_number(ours, "faults")
                               : -1;
        }
}

static bool wants_less(const struct goal *g)
{
        return g->measure == CPU || g->measure == NS_EACH;
}

static const char *text_number(char buf[TEXT_MAX], const struct goal *g, double number)
{
        if (number < 0)
                snprintf(buf, TEXT_MAX, "-");
        else if (g->measure == RATIO || g->measure == CPU)
                snprintf(buf, TEXT_MAX, "%.2f", number / 1000);
        else
                snprintf(buf, TEXT_MAX, "%.0f%s", number, g->measure == NS_EACH ? " ns" : "");
        return buf;
}

/* What the number was made of. */
static void text_figures(char buf[256], const json_t *row, const json_t *ours, const json_t *theirs)
{
        bool bytes = !strcmp(bench_string(row, "per_second"), "bytes");
        char rate[2][TEXT_MAX], cpu[2][TEXT_MAX];
        int used = snprintf(buf, 256, "%s, %s CPU",
                            bench_text_rate(rate[0], bytes, bench_number(ours, "median")),
                            bench_text_cpu(cpu[0], bytes, ours));

        if (*bench_string(ours, "note"))
                used += snprintf(buf + used, 256 - (size_t)used, " (%.40s)",
                                 bench_string(ours, "note"));
        if (theirs && theirs != ours)
                used += snprintf(buf + used, 256 - (size_t)used, "; %.40s: %s, %s",
                                 bench_string(theirs, "name"),
                                 bench_text_rate(rate[1], bytes, bench_number(theirs, "median")),
                                 bench_text_cpu(cpu[1], bytes, theirs));
        if (!bench_is(row, "comparable"))
                snprintf(buf + used, 256 - (size_t)used, "; not comparable: %.100s",
                         bench_string(row, "problem"));
}

static void print_goal(FILE *out, const struct goal *g, const json_t *row, bool markdown)
{
        const json_t *sides = json_object_get(row, "sides");
        const json_t *ours = find(sides, "side", "faultline");
        const json_t *theirs = find(sides, "side", bench_sides[g->beside].key);
        double number = ours ? found(g, ours, theirs) : -1;
        bool met = wants_less(g) ? number <= g->number : number + 0.5 >= g->number;
        const char *sign = wants_less(g) ? "<=" : ">=";
        const char *verdict = number < 0 || !g->number ? "-" : met ? "met" : "missed";
        char wanted[TEXT_MAX], got[TEXT_MAX], figures[256] = "not measured";

        if (ours)
                text_figures(figures, row, ours, theirs);
        fprintf(out, markdown ? "| %s | %s %s | %s | %s | %s |\n" : "%-44s %s %-7s %7s  %-6s  %s\n",
                g->title, sign, text_number(wanted, g, g->number), text_number(got, g, number),
                verdict, figures);
}

void bench_print_goals(FILE *out, const json_t *runs, bool markdown)
{
        if (markdown)
                fputs("| goal | wanted | found | | median rates and CPU time |\n"
                      "|---|---|---:|---|---|\n",
                      out);
        for (unsigned i = 0; i < NR_GOALS; i++) {
                const json_t *row = find_row(runs, &goals[i]);

                if (row)
                        print_goal(out, &goals[i], row, markdown);
        }
        fflush(out);
}

int bench_goals(const struct bench *all, const struct workload *const *rows, unsigned n,
                json_t **out)
{
        struct bench b = *all;
        json_t *runs = json_array();
        int status = 0;

        if (!b.size)
                b.size = GOALS_SIZE;
        if (!b.rounds)
                b.rounds = GOALS_ROUNDS;
        b.steady = GOALS_STEADY;
        for (unsigned part = 0; part < NR_PARTS && !status; part++)
                if (part_has((enum part)part, rows, n))
                        status = measure_part(&b, (enum part)part, rows, n, runs);
        *out = json_pack("{s:o}", "runs", runs);
        return status;
}
