/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.c - `faultline bench`: Faultline beside the kernel's mmap, and the ratio.
 *
 * The two sides take turns (A B A B), each measurement in a process of its own
 * (bench_worker.c); what is printed are medians. The kernel's side runs under a memory cgroup:
 * its page cache counts against the limit as Faultline's does against its budget.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"

#define DEFAULT_CACHE (64 * 1024 * 1024UL)
#define FILE_TO_CACHE 8
#define PROCESS_NEEDS (6 * 1024 * 1024UL) /* page tables, stacks and heap of the kernel's side */
#define MAX_ROUNDS 101

const struct bench_row bench_rows[] = {
        { "rand-read-1", BENCH_RANDOM, 1, MADV_RANDOM, 50, "kernel mmap" },
        { "rand-read-8", BENCH_RANDOM, 8, MADV_RANDOM, 30, "kernel mmap" },
        { "rand-noadvice-1", BENCH_RANDOM, 1, MADV_NORMAL, 80, "kernel mmap" },
        { "seq", BENCH_SEQ, 1, MADV_SEQUENTIAL, 25, "kernel mmap" },
        { "mapped", BENCH_MAPPED, 1, MADV_NORMAL, 98, "malloc" },
};
const unsigned bench_nr_rows = sizeof(bench_rows) / sizeof(*bench_rows);

const struct bench_row *bench_find_row(const char *name)
{
        for (unsigned i = 0; i < bench_nr_rows; i++)
                if (!strcmp(bench_rows[i].name, name))
                        return &bench_rows[i];
        return NULL;
}

struct bench {
        const struct options *options;
        uint64_t cache, size, rounds, seconds;
        const char *folder;
        char path[4096];
        struct bench_cgroup group;
        struct progress progress;
        uint64_t steps;
        json_t *json; /* rows; NULL: a table */
};

/* The rates of one row, units a second; one a round. */
struct sample {
        double rate[MAX_ROUNDS];
        unsigned n;
};

struct spread {
        double median, least, most;
};

static int by_rate(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

static struct spread spread_of(struct sample *s)
{
        qsort(s->rate, s->n, sizeof(*s->rate), by_rate);
        return (struct spread){
                .median = s->n % 2 ? s->rate[s->n / 2]
                                   : (s->rate[s->n / 2 - 1] + s->rate[s->n / 2]) / 2,
                .least = s->rate[0],
                .most = s->rate[s->n - 1],
        };
}

/* ---- one measurement ---- */

/* In the child: never returns. */
static void exec_worker(const struct bench *b, const struct bench_row *row, enum bench_side side,
                        uint64_t seed, int out)
{
        char cache[32], seconds[32], number[32];
        const char *argv[] = {
                "faultline", "bench", "--worker",  side == SIDE_FAULTLINE ? "faultline" : "kernel",
                "--cache",   cache,   "--seconds", seconds,
                "--seed",    number,  "--file",    b->path,
                row->name,   NULL
        };

        snprintf(cache, sizeof(cache), "%" PRIu64, b->cache);
        snprintf(seconds, sizeof(seconds), "%" PRIu64, b->seconds);
        snprintf(number, sizeof(number), "%" PRIu64, seed);
        if (side == SIDE_KERNEL && *b->group.path && !bench_cgroup_enter(&b->group)) {
                fail(b->group.path, "enter", "%s", strerror(errno));
                _exit(EXIT_FAILED);
        }
        options_to_environment(b->options);
        if (dup2(out, STDOUT_FILENO) >= 0)
                execv("/proc/self/exe", (char **)(uintptr_t)argv);
        fail("/proc/self/exe", "start", "%s", strerror(errno));
        _exit(EXIT_FAILED);
}

static int run_worker(struct bench *b, const struct bench_row *row, enum bench_side side,
                      uint64_t seed, struct bench_result *result)
{
        int out[2], child_status;
        FILE *answer;
        pid_t child;
        int fields;

        if (pipe(out))
                return fail("bench", "pipe", "%s", strerror(errno));
        fflush(stdout);
        child = fork();
        if (child < 0) {
                close(out[0]);
                close(out[1]);
                return fail("bench", "fork", "%s", strerror(errno));
        }
        if (!child) {
                close(out[0]);
                exec_worker(b, row, side, seed, out[1]);
        }
        close(out[1]);
        answer = fdopen(out[0], "r");
        fields = answer ? fscanf(answer, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                                 &result->units, &result->ns, &result->errors, &result->warm_pages,
                                 &result->cache_peak)
                        : 0;
        if (answer)
                fclose(answer);
        else
                close(out[0]);
        while (waitpid(child, &child_status, 0) < 0 && errno == EINTR)
                ;
        if (WIFSIGNALED(child_status))
                return fail(row->name, "measure", "the worker died of signal %d",
                            WTERMSIG(child_status));
        if (child_status)
                return EXIT_FAILED; /* the worker said why */
        if (fields != 5 || !result->ns)
                return fail(row->name, "measure", "the worker gave no answer");
        return 0;
}

/* ---- one row ---- */

struct row_report {
        struct sample sample[2];
        uint64_t errors, warm_pages;
        char problem[384]; /* why it is not comparable; "": it is */
};

static int measure_row(struct bench *b, const struct bench_row *row, struct row_report *report)
{
        for (uint64_t round = 0; round < b->rounds; round++) {
                for (int side = SIDE_FAULTLINE; side <= SIDE_KERNEL; side++) {
                        struct bench_result result;
                        struct sample *s = &report->sample[side];
                        int status;

                        status = run_worker(b, row, (enum bench_side)side, round + 1, &result);
                        if (status)
                                return status;
                        s->rate[s->n++] = (double)result.units * 1e9 / (double)result.ns;
                        report->errors += result.errors;
                        report->warm_pages += row->kind == BENCH_MAPPED ? 0 : result.warm_pages;
                        progress_show(&b->progress, ++b->steps);
                }
        }
        return 0;
}

static void judge_row(const struct bench *b, const struct bench_row *row, struct row_report *r)
{
        if (row->kind != BENCH_MAPPED && !*b->group.path)
                snprintf(r->problem, sizeof(r->problem),
                         "no memory limit for the kernel's side: %s", b->group.problem);
        else if (r->warm_pages > b->size / CLI_PAGE / 100)
                snprintf(r->problem, sizeof(r->problem),
                         "the file does not leave the host's page cache (%" PRIu64 " pages stayed)",
                         r->warm_pages);
        else if (r->errors)
                snprintf(r->problem, sizeof(r->problem), "%" PRIu64 " accesses failed", r->errors);
}

/* A rate, with its unit or bare for a range. */
static const char *text_rate(char *buf, const struct bench_row *row, double rate, bool unit)
{
        char number[TEXT_MAX];

        if (row->kind == BENCH_RANDOM)
                snprintf(buf, TEXT_MAX, "%.30s%s", text_count(number, (uint64_t)rate),
                         unit ? "/s" : "");
        else
                snprintf(buf, TEXT_MAX, "%.2f%s", rate / 1e9, unit ? " GB/s" : "");
        return buf;
}

/* "12,345/s (12,000-13,000)" */
static void print_spread(const struct bench_row *row, struct spread s)
{
        char median[TEXT_MAX], least[TEXT_MAX], most[TEXT_MAX], range[2 * TEXT_MAX + 4];

        snprintf(range, sizeof(range), "(%s-%s)", text_rate(least, row, s.least, false),
                 text_rate(most, row, s.most, false));
        printf("%12s %-19s", text_rate(median, row, s.median, true), range);
}

static void print_row(const struct bench_row *row, const struct row_report *report, double ratio,
                      struct spread ours, struct spread other)
{
        if (*report->problem)
                printf("%-16s not comparable: %s\n%-16s %20s", row->name, report->problem, "", "");
        else
                printf("%-16s %6.2f  %.2f %-7s", row->name, ratio, row->floor / 100.0,
                       ratio * 100 >= row->floor ? "met" : "missed");
        print_spread(row, ours);
        print_spread(row, other);
        printf(" %s\n", row->beside);
        fflush(stdout);
}

static json_t *spread_json(struct spread s)
{
        return json_pack("{s:I,s:I,s:I}", "median", (json_int_t)s.median, "min",
                         (json_int_t)s.least, "max", (json_int_t)s.most);
}

static json_t *row_json(const struct bench_row *row, const struct row_report *report, double ratio,
                        struct spread ours, struct spread other)
{
        const char *unit = row->kind == BENCH_RANDOM ? "operations" : "bytes";
        json_t *object = json_object();

        json_object_set_new(object, "name", json_string(row->name));
        json_object_set_new(object, "per_second", json_string(unit));
        json_object_set_new(object, "ratio_permille", json_integer((json_int_t)(ratio * 1000)));
        json_object_set_new(object, "floor_permille", json_integer(row->floor * 10));
        json_object_set_new(object, "met", json_boolean(ratio * 100 >= row->floor));
        json_object_set_new(object, "comparable", json_boolean(!*report->problem));
        if (*report->problem)
                json_object_set_new(object, "problem", json_string(report->problem));
        json_object_set_new(object, "faultline", spread_json(ours));
        json_object_set_new(object, "beside", json_string(row->beside));
        json_object_set_new(object, "other", spread_json(other));
        return object;
}

static void report_row(struct bench *b, const struct bench_row *row, struct row_report *report)
{
        struct spread ours = spread_of(&report->sample[SIDE_FAULTLINE]);
        struct spread other = spread_of(&report->sample[SIDE_KERNEL]);
        double ratio = other.median > 0 ? ours.median / other.median : 0;

        judge_row(b, row, report);
        if (b->json)
                json_array_append_new(b->json, row_json(row, report, ratio, ours, other));
        else
                print_row(row, report, ratio, ours, other);
}

/* ---- the whole run ---- */

/* The largest read-ahead window of the device below the file; 0: cannot be told. */
static uint64_t device_readahead(const char *path)
{
        char name[128], text[32] = "";
        struct stat st;
        FILE *f;

        if (stat(path, &st))
                return 0;
        snprintf(name, sizeof(name), "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
                 minor(st.st_dev));
        f = fopen(name, "re");
        if (!f)
                return 0;
        if (!fgets(text, sizeof(text), f))
                *text = '\0';
        fclose(f);
        return strtoull(text, NULL, 10) * 1024;
}

static void print_head(const struct bench *b)
{
        char size[TEXT_MAX], cache[TEXT_MAX], needs[TEXT_MAX], ahead[TEXT_MAX], ours[TEXT_MAX];
        uint64_t device = device_readahead(b->path), window = b->options->readahead;

        if (!window)
                window = device < b->cache / 8 ? device : b->cache / 8;
        printf("file %s (%s), cache %s\n", text_bytes(size, b->size), b->path,
               text_bytes(cache, b->cache));
        if (*b->group.path)
                printf("kernel's side: memory cgroup of %s + %s for the process itself\n", cache,
                       text_bytes(needs, PROCESS_NEEDS));
        if (device)
                printf("read-ahead: kernel %s, Faultline %s\n", text_bytes(ahead, device),
                       text_bytes(ours, window));
        printf("%" PRIu64 " rounds of %" PRIu64 " s a side, taking turns; medians (min-max)\n\n",
               b->rounds, b->seconds);
        printf("%-16s %6s  %-12s%12s %-19s%12s\n", "", "ratio", "floor", "faultline", "", "beside");
}

static int run_rows(struct bench *b, const struct bench_row *const *rows, unsigned n)
{
        int status = 0;

        if (!b->json)
                print_head(b);
        for (unsigned i = 0; i < n && !status; i++) {
                struct row_report *report = calloc(1, sizeof(*report));

                if (!report)
                        return fail("bench", "measure", "%s", strerror(ENOMEM));
                progress_begin(&b->progress, rows[i]->name, 2 * b->rounds);
                b->steps = 0;
                status = measure_row(b, rows[i], report);
                progress_end(&b->progress);
                if (!status)
                        report_row(b, rows[i], report);
                free(report);
        }
        if (!status && b->json) {
                json_t *rows_json = b->json;
                json_t *all = json_pack("{s:I,s:I,s:I,s:I,s:o}", "file_bytes", (json_int_t)b->size,
                                        "cache_bytes", (json_int_t)b->cache, "rounds",
                                        (json_int_t)b->rounds, "seconds", (json_int_t)b->seconds,
                                        "rows", json_incref(rows_json));

                if (!print_json(stdout, all))
                        status = fail("standard output", "write", "%s", strerror(errno));
        }
        return status;
}

static int choose_rows(const struct options *o, int argc, char **argv,
                       const struct bench_row **rows, unsigned *n)
{
        for (*n = 0; *n < bench_nr_rows && argc < 2; ++*n)
                rows[*n] = &bench_rows[*n];
        for (int i = 1; i < argc; i++) {
                const struct bench_row *row = bench_find_row(argv[i]);

                if (!row)
                        return fail_usage(o, "%s: no such benchmark", argv[i]);
                if (*n < bench_nr_rows)
                        rows[(*n)++] = row;
        }
        return 0;
}

static int bench(struct bench *b, const struct bench_row *const *rows, unsigned n)
{
        const struct options *o = b->options;
        int status;

        if (!b->folder)
                b->folder = getenv("TMPDIR");
        if (!b->folder || !*b->folder)
                b->folder = "/var/tmp";
        if (!b->size)
                b->size = FILE_TO_CACHE * (o->cache ? o->cache : DEFAULT_CACHE);
        b->cache = o->cache ? o->cache : b->size / FILE_TO_CACHE / CLI_PAGE * CLI_PAGE;
        status = bench_file(b->folder, b->size, b->path);
        if (status)
                return status;
        bench_cgroup_create(&b->group, b->cache + PROCESS_NEEDS);
        if (o->json)
                b->json = json_array();
        status = run_rows(b, rows, n);
        bench_cgroup_remove(&b->group);
        json_decref(b->json);
        return status;
}

static int run(struct options *o, int argc, char **argv)
{
        struct bench b = { .options = o, .rounds = 3, .seconds = 2 };
        const char *worker = NULL, *file = NULL;
        uint64_t seed = 1;
        const struct option_spec own[] = {
                { "seconds", OPTION_COUNT, &b.seconds, NULL, 1 },
                { "rounds", OPTION_COUNT, &b.rounds, NULL, 1 },
                { "size", OPTION_SIZE, &b.size, NULL, 4 * 1024 * 1024 },
                { "dir", OPTION_STRING, &b.folder, NULL, 0 },
                /* For ourselves only: */
                { "worker", OPTION_CHOICE, &worker, "faultline|kernel", 0 },
                { "file", OPTION_STRING, &file, NULL, 0 },
                { "seed", OPTION_COUNT, &seed, NULL, 0 },
                { 0 },
        };
        const struct bench_row *rows[sizeof(bench_rows) / sizeof(*bench_rows)];
        unsigned n;
        int status = options_parse(o, own, &argc, argv);

        if (status)
                return status;
        if (o->help)
                return print_command_help(o->command);
        status = choose_rows(o, argc, argv, rows, &n);
        if (status)
                return status;
        if (b.rounds > MAX_ROUNDS)
                return fail_usage(o, "--rounds %" PRIu64 ": at most %d", b.rounds, MAX_ROUNDS);
        if (worker && file) {
                const struct bench_job job = {
                        .row = rows[0],
                        .side = strcmp(worker, "kernel") ? SIDE_FAULTLINE : SIDE_KERNEL,
                        .path = file,
                        .cache = o->cache,
                        .seconds = (double)b.seconds,
                        .seed = seed,
                };

                return bench_work(o, &job);
        }
        return bench(&b, rows, n);
}

const struct command command_bench = {
        .name = "bench",
        .summary = "Faultline beside kernel mmap, with ratios",
        .help = "bench [NAME...] [--seconds N] [--rounds N] [--size SIZE] [--dir FOLDER] "
                "[OPTIONS]\n"
                "\n"
                "  rand-read-1      4 KiB loads at random, MADV_RANDOM, 1 thread\n"
                "  rand-read-8      the same with 8 threads\n"
                "  rand-noadvice-1  without advice, 1 thread\n"
                "  seq              the whole file in order, MADV_SEQUENTIAL\n"
                "  mapped           memory that is all mapped, beside memory from malloc\n"
                "\n"
                "The file is 8 times the cache (512M and 64M; --size, --cache), made once in\n"
                "FOLDER ($TMPDIR, /var/tmp) and kept. The kernel's side runs under a memory "
                "cgroup\n"
                "of the cache's size; where none can be made (root is needed), its rows are not\n"
                "comparable, and say so. --seconds is for each side of each round.\n"
                "\n"
                "Examples:\n"
                "  faultline bench\n"
                "  faultline bench rand-read-1 rand-read-8 --seconds 5 --rounds 5\n"
                "  faultline bench --size 4G --dir /mnt/disk --json\n",
        .run = run,
};
