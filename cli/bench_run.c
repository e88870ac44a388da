/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_run.c - the rounds: every side of a row in turn (A B C A B C), and the document.
 *
 * What is kept of a side are the median and the ends of its rates, and the median of its CPU time.
 * The kernel's sides run under a memory cgroup: the page cache counts against the limit as
 * Faultline's does against its budget.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define DEFAULT_CACHE (64 * 1024 * 1024UL)
#define FILE_TO_CACHE 8
/* Page tables, stacks and heap of a kernel's side; a sanitizer has a shadow of them all. */
#ifdef __SANITIZE_ADDRESS__
#define PROCESS_NEEDS (256 * 1024 * 1024UL)
#else
#define PROCESS_NEEDS (6 * 1024 * 1024UL)
#endif
#define SECONDS 2.0
#define SECONDS_STEADY 30.0
#define MIB (1024 * 1024.0)

/* The figures of one side of a row; one a round. */
struct sample {
        double rate[BENCH_MAX_ROUNDS]; /* units a second */
        double cpu[BENCH_MAX_ROUNDS];  /* ns an operation, or a MiB */
        unsigned n;
        uint64_t ns, cpu_ns, units, swapped, faults; /* sums */
        uint64_t spins, spin_hits, spin_ns;          /* likewise */
        uint64_t meta;                               /* most of a round; bytes a page */
        uint64_t events;                             /* of a trace, sum, */
        double lost[BENCH_MAX_ROUNDS];               /* and those that were lost */
};

struct row_run {
        const struct workload *load;
        bool busy;
        unsigned sides;
        const char *mmu; /* NULL: as the user has said, or auto */
        struct sample sample[NR_SIDES];
        uint64_t errors, warm_pages; /* all; the most of one measurement */
        char problem[384];           /* why it is not comparable; "": it is */
};

/* ---- one measurement ---- */

static double seconds_of(const struct bench *b, const struct workload *load)
{
        if (b->seconds > 0)
                return b->seconds;
        if (load->steady)
                return b->steady > 0 ? b->steady : SECONDS_STEADY;
        return SECONDS;
}

static bool is_limited(const struct bench *b, const struct workload *load, enum bench_side side)
{
        return bench_sides[side].limited && !load->unlimited && *b->group.path;
}

/* In the child: never returns. */
static void exec_worker(const struct bench *b, const struct row_run *row, enum bench_side side,
                        uint64_t seed, int out)
{
        struct options options = *b->options;
        char cache[32], seconds[32], number[32];
        const char *argv[] = { "faultline", "bench",         "--worker",  bench_sides[side].key,
                               "--cache",   cache,           "--seconds", seconds,
                               "--seed",    number,          "--file",    b->path,
                               "--",        row->load->name, NULL,        NULL };

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* who stops us stops the measurement */
        if (row->busy) {
                argv[12] = "--busy";
                argv[13] = "--";
                argv[14] = row->load->name;
        }
        snprintf(cache, sizeof(cache), "%" PRIu64, b->cache);
        snprintf(seconds, sizeof(seconds), "%.6f", seconds_of(b, row->load));
        snprintf(number, sizeof(number), "%" PRIu64, seed);
        if (is_limited(b, row->load, side) && !bench_cgroup_enter(&b->group)) {
                fail(b->group.path, "enter", "%s", strerror(errno));
                _exit(EXIT_FAILED);
        }
        if (row->mmu)
                options.mmu = row->mmu;
        if (!options.spin)
                options.spin = row->load->spin;
        options_to_environment(&options);
        if (dup2(out, STDOUT_FILENO) >= 0)
                execv("/proc/self/exe", (char **)(uintptr_t)argv);
        fail("/proc/self/exe", "start", "%s", strerror(errno));
        _exit(EXIT_FAILED);
}

static bool read_result(int fd, struct bench_result *result)
{
        FILE *answer = fdopen(fd, "r");
        int fields;

        if (!answer) {
                close(fd);
                return false;
        }
        fields = fscanf(
                answer,
                "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                &result->units, &result->ns, &result->cpu_ns, &result->errors, &result->warm_pages,
                &result->swapped, &result->meta, &result->spins, &result->spin_hits,
                &result->spin_ns, &result->faults, &result->events, &result->lost);
        fclose(answer);
        return fields == 13 && result->ns;
}

static int run_worker(struct bench *b, const struct row_run *row, enum bench_side side,
                      uint64_t seed, struct bench_result *result)
{
        int out[2], child_status;
        pid_t child;
        bool ok;

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
        ok = read_result(out[0], result);
        while (waitpid(child, &child_status, 0) < 0 && errno == EINTR)
                ;
        if (WIFSIGNALED(child_status))
                return fail(row->load->name, bench_sides[side].name, "the worker died of signal %d",
                            WTERMSIG(child_status));
        if (child_status)
                return EXIT_FAILED; /* the worker said why */
        if (!ok)
                return fail(row->load->name, bench_sides[side].name, "the worker gave no answer");
        return 0;
}

/* ---- one row ---- */

static void add_sample(struct row_run *row, enum bench_side side, const struct bench_result *result)
{
        struct sample *s = &row->sample[side];
        double units = (double)result->units;

        s->lost[s->n] = (double)result->lost;
        s->events += result->events;
        s->rate[s->n] = units * 1e9 / (double)result->ns;
        if (row->load->unit == UNIT_BYTES)
                units /= MIB;
        s->cpu[s->n++] = units > 0 ? (double)result->cpu_ns / units : 0;
        s->ns += result->ns;
        s->cpu_ns += result->cpu_ns;
        s->units += result->units;
        s->swapped += result->swapped;
        s->spins += result->spins;
        s->spin_hits += result->spin_hits;
        s->spin_ns += result->spin_ns;
        s->faults += result->faults;
        s->meta = result->meta > s->meta ? result->meta : s->meta;
        row->errors += result->errors;
        if (!row->load->hot && result->warm_pages > row->warm_pages)
                row->warm_pages = result->warm_pages;
}

static int measure_row(struct bench *b, struct row_run *row)
{
        unsigned sides = (unsigned)__builtin_popcount(row->sides);
        uint64_t steps = 0;
        int status = 0;

        progress_begin(&b->progress, row->load->name, sides * b->rounds);
        for (uint64_t round = 0; round < b->rounds && !status; round++) {
                for (unsigned side = 0; side < NR_SIDES && !status; side++) {
                        struct bench_result result = { 0 };

                        if (!(row->sides & 1u << side))
                                continue;
                        status = run_worker(b, row, (enum bench_side)side, round + 1, &result);
                        if (!status)
                                add_sample(row, (enum bench_side)side, &result);
                        progress_show(&b->progress, ++steps);
                }
        }
        progress_end(&b->progress);
        return status;
}

static void judge_row(const struct bench *b, struct row_run *r)
{
        enum bench_side beside = r->load->beside;

        if (r->load->swaps && *b->swap.problem)
                snprintf(r->problem, sizeof(r->problem), "the kernel has nowhere to swap to: %s",
                         b->swap.problem);
        else if (!(r->sides & 1u << beside))
                snprintf(r->problem, sizeof(r->problem), "%s was not measured",
                         bench_sides[beside].name);
        else if (bench_sides[beside].limited && !r->load->hot && !*b->group.path)
                snprintf(r->problem, sizeof(r->problem),
                         "no memory limit for the kernel's side: %s", b->group.problem);
        else if (r->warm_pages > b->size / PAGE_SIZE / 100)
                snprintf(r->problem, sizeof(r->problem),
                         "the file does not leave the host's page cache (%" PRIu64 " pages stayed)",
                         r->warm_pages);
        else if (r->errors)
                snprintf(r->problem, sizeof(r->problem), "%" PRIu64 " accesses failed", r->errors);
}

static int by_size(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

/* Sorts. */
static double median(double *value, unsigned n)
{
        qsort(value, n, sizeof(*value), by_size);
        return n % 2 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

static json_t *integer(double value)
{
        return json_integer((json_int_t)value);
}

/* Who it is; in the rows, and among those that are not here. */
static json_t *side_names(enum bench_side side)
{
        return json_pack("{s:s,s:s}", "side", bench_sides[side].key, "name",
                         bench_sides[side].name);
}

/* What else there is to say of a side, for people; "": nothing. */
static void note_of(struct row_run *row, enum bench_side side, char note[128])
{
        struct sample *s = &row->sample[side];
        bool bytes = row->load->unit == UNIT_BYTES;
        bool ours = side <= SIDE_UNTRACED;
        int used = 0;

        note[0] = '\0';
        if (ours && row->mmu)
                used += snprintf(note, 128, "MMU %s", row->mmu);
        if (s->swapped && s->units)
                used += snprintf(note + used, 128 - (size_t)used, "%s%.1f %s swapped a %s",
                                 used ? "; " : "",
                                 (double)s->swapped / (double)s->units / (bytes ? 1 : 1024),
                                 bytes ? "bytes" : "KiB", bytes ? "byte" : "store");
        if (row->load->tail && s->n)
                used += snprintf(note + used, 128 - (size_t)used, "%s99 of 100 below %.0f us",
                                 used ? "; " : "", (double)s->ns / s->n / 1000);
        if (s->meta)
                used += snprintf(note + used, 128 - (size_t)used, "%s%.1f KiB of metadata a page",
                                 used ? "; " : "", (double)s->meta / 1024);
        if (s->events) {
                double lost = median(s->lost, s->n); /* sorts */

                snprintf(note + used, 128 - (size_t)used,
                         "%s%.0f events lost (%.0f-%.0f) of %.0f a round", used ? "; " : "", lost,
                         s->lost[0], s->lost[s->n - 1], (double)s->events / s->n + lost);
        }
}

/* Of a sum: for one operation, or MiB. */
static double per_unit(const struct row_run *row, const struct sample *s, uint64_t sum)
{
        double units = (double)s->units / (row->load->unit == UNIT_BYTES ? MIB : 1);

        return units > 0 ? (double)sum / units : 0;
}

static json_t *side_json(const struct bench *b, struct row_run *row, enum bench_side side,
                         double ours)
{
        struct sample *s = &row->sample[side];
        double rate = median(s->rate, s->n);
        json_t *object = side_names(side);
        char note[128];

        note_of(row, side, note);
        if (*note)
                json_object_set_new(object, "note", json_string(note));
        json_object_set_new(object, "ratio_permille", integer(rate > 0 ? ours / rate * 1000 : 0));
        json_object_set_new(object, "median", integer(rate));
        json_object_set_new(object, "min", integer(s->rate[0]));
        json_object_set_new(object, "max", integer(s->rate[s->n - 1]));
        json_object_set_new(object, "cpu_ns", integer(median(s->cpu, s->n)));
        json_object_set_new(object, "cpu_ns_all", json_integer((json_int_t)s->cpu_ns));
        json_object_set_new(object, "elapsed_ns_all", json_integer((json_int_t)s->ns));
        if (s->spins) {
                json_object_set_new(object, "spin_ns", integer(per_unit(row, s, s->spin_ns)));
                json_object_set_new(object, "spins", json_integer((json_int_t)s->spins));
                json_object_set_new(object, "spin_hits", json_integer((json_int_t)s->spin_hits));
        }
        if (s->faults) {
                json_object_set_new(object, "units", json_integer((json_int_t)s->units));
                json_object_set_new(object, "faults", json_integer((json_int_t)s->faults));
        }
        json_object_set_new(object, "limited", json_boolean(is_limited(b, row->load, side)));
        return object;
}

/* More often than not. */
static bool loses_events(struct row_run *row)
{
        struct sample *s = &row->sample[SIDE_FAULTLINE];

        return row->load->traced && s->n && median(s->lost, s->n) > 0;
}

static json_t *row_json(const struct bench *b, struct row_run *row)
{
        const struct workload *load = row->load;
        const char *unit = load->unit == UNIT_BYTES ? "bytes" : "operations";
        json_t *object = json_object(), *sides = json_array();
        double ours = 0, ratio = 0, floor = row->busy ? 0 : load->floor * 10;

        for (unsigned side = 0; side < NR_SIDES; side++) {
                json_t *one;

                if (!row->sample[side].n)
                        continue;
                if (side == SIDE_FAULTLINE)
                        ours = median(row->sample[side].rate, row->sample[side].n);
                one = side_json(b, row, (enum bench_side)side, ours);
                if (side == load->beside)
                        ratio = bench_number(one, "ratio_permille");
                json_array_append_new(sides, one);
        }
        json_object_set_new(object, "name", json_string(load->name));
        json_object_set_new(object, "title", json_string(load->title));
        json_object_set_new(object, "busy", json_boolean(row->busy));
        json_object_set_new(object, "per_second", json_string(unit));
        json_object_set_new(object, "threads", json_integer(load->threads));
        json_object_set_new(object, "depth",
                            json_integer(load->depth ? load->depth : load->threads));
        json_object_set_new(object, "seconds", json_real(seconds_of(b, load)));
        json_object_set_new(object, "ratio_permille", integer(ratio));
        json_object_set_new(object, "floor_permille", integer(floor));
        json_object_set_new(object, "met", json_boolean(ratio >= floor && !loses_events(row)));
        json_object_set_new(object, "comparable", json_boolean(!*row->problem));
        if (*row->problem)
                json_object_set_new(object, "problem", json_string(row->problem));
        json_object_set_new(object, "beside", json_string(bench_sides[load->beside].key));
        json_object_set_new(object, "sides", sides);
        return object;
}

/* Without swap, or without a limit, the kernel's side would say nothing; without swap and with a limit
 * it would be killed. */
static void find_swap(struct bench *b, struct row_run *row)
{
        unsigned kernel = row->sides & 1u << SIDE_MMAP;

        if (!kernel)
                return;
        if (*b->group.path)
                bench_swap_on(&b->swap, b->path, b->cache / 1000 * row->load->set * 2);
        else
                snprintf(b->swap.problem, sizeof(b->swap.problem), "no memory limit: %.200s",
                         b->group.problem);
        if (*b->swap.problem)
                row->sides &= ~kernel;
}

static int do_row(struct bench *b, const struct workload *load, bool busy)
{
        struct row_run *row = calloc(1, sizeof(*row));
        json_t *json;
        int status;

        if (!row)
                return fail("bench", "measure", "%s", strerror(ENOMEM));
        row->load = load;
        row->busy = busy;
        row->sides = load->sides & b->here;
        if (b->only)
                row->sides &= b->only;
        if (b->pairs)
                row->sides &= 1u << SIDE_FAULTLINE | 1u << load->beside;
        if (busy) /* fio has no such thread */
                row->sides &= ~(1u << SIDE_FIO_PSYNC | 1u << SIDE_FIO_URING | 1u << SIDE_FIO_NBD);
        if (load->remote && !(b->here & 1u << SIDE_NBDCOPY))
                row->sides = 0; /* there is no server */
        if (load->mmu && !b->options->mmu && bench_mmu_works(load->mmu))
                row->mmu = load->mmu;
        else
                row->mmu = load->mmu ? b->options->mmu : NULL;
        if (load->swaps)
                find_swap(b, row);
        status = measure_row(b, row);
        bench_swap_off(&b->swap);
        if (!status) {
                judge_row(b, row);
                json = row_json(b, row);
                if (b->live)
                        bench_print_row(stdout, json);
                json_array_append_new(json_object_get(b->document, "rows"), json);
        }
        free(row);
        return status;
}

/* ---- the whole run ---- */

static void find_sides(struct bench *b, json_t *absent)
{
        for (unsigned side = 0; side < NR_SIDES; side++) {
                char why[256];
                const char *problem;
                json_t *one;

                if (!(b->sides & 1u << side))
                        continue;
                problem = bench_side_absent((enum bench_side)side, b->path, why);
                if (!problem) {
                        b->here |= 1u << side;
                        continue;
                }
                one = side_names((enum bench_side)side);
                json_object_set_new(one, "why", json_string(problem));
                json_array_append_new(absent, one);
        }
}

static json_t *limit_json(const struct bench *b)
{
        if (!*b->group.path)
                return json_pack("{s:i,s:s}", "version", 0, "problem", b->group.problem);
        return json_pack("{s:i,s:I,s:I}", "version", b->group.version, "bytes",
                         (json_int_t)(b->cache + PROCESS_NEEDS), "process_bytes",
                         (json_int_t)PROCESS_NEEDS);
}

/* What Faultline's largest window is: as given, or the device's, an eighth of the cache at most. */
static uint64_t our_window(const struct bench *b, const json_t *machine)
{
        uint64_t device = (uint64_t)bench_number(machine, "read_ahead_kb") * 1024;

        if (b->options->readahead)
                return b->options->readahead;
        return device < b->cache / 8 ? device : b->cache / 8;
}

int bench_prepare(struct bench *b)
{
        json_t *machine, *absent = json_array();
        int status;

        b->swap.alive = -1;
        if (!b->folder)
                b->folder = getenv("TMPDIR");
        if (!b->folder || !*b->folder)
                b->folder = "/var/tmp";
        if (!b->cache)
                b->cache =
                        b->size ? b->size / FILE_TO_CACHE / PAGE_SIZE * PAGE_SIZE : DEFAULT_CACHE;
        if (!b->size)
                b->size = FILE_TO_CACHE * b->cache;
        status = bench_file(b->folder, b->size, b->path);
        if (status) {
                json_decref(absent);
                return status;
        }
        find_sides(b, absent);
        bench_cgroup_create(&b->group, b->cache + PROCESS_NEEDS);
        machine = bench_machine(b->path);
        b->document = json_object();
        json_object_set_new(b->document, "machine", machine);
        json_object_set_new(b->document, "file", json_string(b->path));
        json_object_set_new(b->document, "file_bytes", json_integer((json_int_t)b->size));
        json_object_set_new(b->document, "cache_bytes", json_integer((json_int_t)b->cache));
        json_object_set_new(b->document, "readahead_bytes",
                            json_integer((json_int_t)our_window(b, machine)));
        json_object_set_new(b->document, "rounds", json_integer((json_int_t)b->rounds));
        json_object_set_new(b->document, "limit", limit_json(b));
        json_object_set_new(b->document, "absent", absent);
        json_object_set_new(b->document, "rows", json_array());
        return 0;
}

int bench_measure(struct bench *b, const struct workload *const *rows, unsigned n)
{
        int status = 0;

        for (unsigned i = 0; i < n && !status; i++) {
                status = do_row(b, rows[i], false);
                if (!status && b->busy)
                        status = do_row(b, rows[i], true);
        }
        return status;
}

void bench_finish(struct bench *b)
{
        bench_cgroup_remove(&b->group);
        json_decref(b->document);
        b->document = NULL;
}
