/* SPDX-License-Identifier: Apache-2.0
 *
 * touch.c - `faultline touch`: accesses to a mapping in a pattern, and what they cost.
 *
 * Threads walk the streams of access.h. What a walk leaves behind when a page cannot be touched
 * (SIGBUS) lies in volatile members, so that it goes on with the next access.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "access.h"
#include "cli.h"
#include "guard.h"

#define MAX_THREADS 1024

enum phase { PHASE_READ, PHASE_WRITE, PHASE_VERIFY };

struct touch {
        struct session session;
        struct access_plan plan;
        const char *advice;
        bool write, verify, private, mincore;
        uint64_t anon; /* bytes of memory without a file; 0: the URI's */
        char *mapping;
        /* results */
        uint64_t access_ns, msync_ns, verify_ns;
        uint64_t access_errors, verify_errors, msync_errors;
};

struct walker {
        pthread_t thread;
        struct touch *touch;
        enum phase phase;
        uint64_t number; /* t of access.h */
        uint64_t count;
        volatile uint64_t done; /* read by the progress bar */
        volatile uint64_t errors, wrong;
        volatile uint64_t first_error, first_wrong; /* pages */
};

static void access_one(struct walker *w, uint64_t page)
{
        struct touch *t = w->touch;
        char *address = t->mapping + page * PAGE_SIZE;
        uint64_t *word = (uint64_t *)address;
        struct stamp stamp;

        if (w->phase == PHASE_READ) {
                (void)*(volatile char *)address;
                return;
        }
        stamp = stamp_of(page, t->plan.seed);
        if (w->phase == PHASE_WRITE) {
                /* Any thread may be storing the same here. */
                __atomic_store_n(word, stamp.page, __ATOMIC_RELAXED);
                __atomic_store_n(word + 1, stamp.mix, __ATOMIC_RELAXED);
                return;
        }
        if (__atomic_load_n(word, __ATOMIC_RELAXED) != stamp.page ||
            __atomic_load_n(word + 1, __ATOMIC_RELAXED) != stamp.mix) {
                if (!w->wrong)
                        w->first_wrong = page;
                w->wrong = w->wrong + 1;
        }
}

static void *walk(void *arg)
{
        struct walker *w = arg;
        struct touch *t = w->touch;
        struct guard guard;

        guard_enter(&guard, t->mapping, t->session.size);
        if (sigsetjmp(guard.env, 0)) {
                if (!w->errors)
                        w->first_error = access_page(&t->plan, w->number, w->done);
                w->errors = w->errors + 1;
                w->done = w->done + 1;
        }
        for (; w->done < w->count; w->done = w->done + 1)
                access_one(w, access_page(&t->plan, w->number, w->done));
        guard_leave();
        return NULL;
}

static uint64_t walked(const struct walker *walkers, uint64_t threads)
{
        uint64_t done = 0;

        for (uint64_t i = 0; i < threads; i++)
                done += walkers[i].done;
        return done;
}

static void join_all(struct walker *walkers, uint64_t threads, struct progress *progress)
{
        for (uint64_t i = 0; i < threads; i++) {
                while (progress->enabled) {
                        struct timespec until;

                        clock_gettime(CLOCK_REALTIME, &until);
                        until.tv_nsec += 100000000;
                        until.tv_sec += until.tv_nsec / 1000000000;
                        until.tv_nsec %= 1000000000;
                        if (pthread_timedjoin_np(walkers[i].thread, NULL, &until) != ETIMEDOUT)
                                break;
                        progress_show(progress, walked(walkers, threads));
                }
                if (!progress->enabled)
                        pthread_join(walkers[i].thread, NULL);
        }
}

/* Says what went wrong in a walk: one line for the first of its kind. */
static int judge(struct touch *t, const struct walker *walkers, enum phase phase)
{
        const char *what = phase == PHASE_READ ? "read" : phase == PHASE_WRITE ? "write" : "verify";
        uint64_t errors = 0, wrong = 0, first_error = 0, first_wrong = 0;

        for (uint64_t i = t->plan.threads; i-- > 0;) {
                if (walkers[i].errors)
                        first_error = walkers[i].first_error;
                if (walkers[i].wrong)
                        first_wrong = walkers[i].first_wrong;
                errors += walkers[i].errors;
                wrong += walkers[i].wrong;
        }
        if (phase == PHASE_VERIFY)
                t->verify_errors = errors + wrong;
        else
                t->access_errors = errors;
        if (errors)
                fail(t->session.uri, what,
                     "%" PRIu64 " accesses failed, the first at page %" PRIu64 ": %s", errors,
                     first_error,
                     session_reason(&t->session, first_error * PAGE_SIZE,
                                    (t->private || t->anon) && t->write));
        if (wrong)
                fail(t->session.uri, what,
                     "%" PRIu64 " stamps are missing or wrong, the first at page %" PRIu64, wrong,
                     first_wrong);
        return errors || wrong ? EXIT_FAILED : 0;
}

/* Walks all streams, a thread each. */
static int run_phase(struct touch *t, enum phase phase, uint64_t *ns)
{
        uint64_t threads = t->plan.threads, started, running = 0;
        struct walker *walkers = calloc(threads, sizeof(*walkers));
        struct progress progress;
        int status = 0, error = 0;

        if (!walkers)
                return fail(t->session.uri, "touch", "%s", strerror(ENOMEM));
        progress_begin(&progress, phase == PHASE_VERIFY ? "verify" : "touch", t->plan.count);
        started = now_ns();
        for (; running < threads && !error; running++) {
                struct walker *w = &walkers[running];

                w->touch = t;
                w->phase = phase;
                w->number = running;
                w->count = access_share(&t->plan, running);
                error = pthread_create(&w->thread, NULL, walk, w);
                if (error)
                        break;
        }
        join_all(walkers, running, &progress);
        *ns = now_ns() - started;
        progress_end(&progress);
        if (error)
                status = fail(t->session.uri, "start a thread", "%s", strerror(error));
        else
                status = judge(t, walkers, phase);
        free(walkers);
        return status;
}

static int sync_mapping(struct touch *t)
{
        uint64_t started = now_ns();
        int status = 0;

        if (fl_msync(t->session.engine, t->mapping, t->session.size, MS_SYNC)) {
                t->msync_errors++;
                status = fail_library();
        }
        t->msync_ns = now_ns() - started;
        return status;
}

/* Calls `range` for each run of resident pages, [from, to). */
static int resident_ranges(struct touch *t, void (*range)(void *, uint64_t from, uint64_t to),
                           void *arg)
{
        enum { WINDOW = 65536 };
        static unsigned char resident[WINDOW];
        uint64_t pages = (t->session.size - 1) / PAGE_SIZE + 1, from = 0;
        bool inside = false;

        for (uint64_t at = 0; at < pages; at += WINDOW) {
                uint64_t n = pages - at < WINDOW ? pages - at : WINDOW;

                if (fl_mincore(t->session.engine, t->mapping + at * PAGE_SIZE, n * PAGE_SIZE,
                               resident))
                        return fail_library();
                for (uint64_t i = 0; i < n; i++) {
                        bool here = resident[i] & 1;

                        if (here && !inside)
                                from = at + i;
                        if (!here && inside)
                                range(arg, from, at + i);
                        inside = here;
                }
        }
        if (inside)
                range(arg, from, pages);
        return 0;
}

static void print_range(void *arg, uint64_t from, uint64_t to)
{
        (void)arg;
        printf("%" PRIu64 "-%" PRIu64 "\n", from, to);
}

static void add_range(void *arg, uint64_t from, uint64_t to)
{
        json_array_append_new(arg, json_pack("[I,I]", (json_int_t)from, (json_int_t)to));
}

static int print_json_report(struct touch *t, const struct fl_stats *stats)
{
        json_t *object = stats_json(stats), *ranges = NULL;
        int status = 0;

        if (!object)
                return fail("--json", "print", "%s", strerror(ENOMEM));
        if (t->mincore) {
                ranges = json_array();
                status = resident_ranges(t, add_range, ranges);
        }
        json_object_set_new(object, "elapsed_ns", json_integer((json_int_t)t->access_ns));
        json_object_set_new(object, "accesses", json_integer((json_int_t)t->plan.count));
        json_object_set_new(object, "threads", json_integer((json_int_t)t->plan.threads));
        json_object_set_new(object, "access_errors", json_integer((json_int_t)t->access_errors));
        json_object_set_new(object, "msync_ns", json_integer((json_int_t)t->msync_ns));
        json_object_set_new(object, "msync_errors", json_integer((json_int_t)t->msync_errors));
        json_object_set_new(object, "verify_ns", json_integer((json_int_t)t->verify_ns));
        json_object_set_new(object, "verify_errors", json_integer((json_int_t)t->verify_errors));
        if (ranges)
                json_object_set_new(object, "resident", ranges);
        if (!print_json(stdout, object) && !status)
                status = fail("standard output", "write", "%s", strerror(errno));
        return status;
}

/* What the policy has made of the accesses. */
static void print_streams(struct touch *t, FILE *out)
{
        struct fl_mapping_info info = { .size = sizeof(info) };

        if (fl_mapping_info(t->session.engine, t->mapping, &info) == 0 && *info.streams)
                fprintf(out, "streams  %s\n", info.streams);
}

/* With --mincore standard output holds nothing but the ranges; the summary goes to stderr. */
static int print_report(struct touch *t, const struct fl_stats *stats)
{
        FILE *out = t->mincore ? stderr : stdout;
        char a[TEXT_MAX], b[TEXT_MAX], c[TEXT_MAX], d[TEXT_MAX];
        double seconds = (double)t->access_ns / 1e9;
        int status = 0;

        if (t->mincore)
                status = resident_ranges(t, print_range, NULL);
        fprintf(out, "%s %s, %" PRIu64 " thread%s: %s, %s/s\n", text_count(a, t->plan.count),
                t->write ? "stores" : "loads", t->plan.threads, t->plan.threads == 1 ? "" : "s",
                text_time(b, t->access_ns),
                text_count(c, seconds > 0 ? (uint64_t)((double)t->plan.count / seconds) : 0));
        fprintf(out, "faults   %s major, %s minor, %s write; %s copied\n",
                text_count(a, stats->faults_major), text_count(b, stats->faults_minor),
                text_count(c, stats->faults_write), text_count(d, stats->cow_copies));
        fprintf(out, "         median %s, 99%% below %s, longest %s\n",
                text_time(a, stats->fault_ns_p50), text_time(b, stats->fault_ns_p99),
                text_time(c, stats->fault_ns_max));
        if (stats->swap_outs || stats->swap_ins)
                fprintf(out, "swap     %s pages out, %s in\n", text_count(a, stats->swap_outs),
                        text_count(b, stats->swap_ins));
        fprintf(out, "I/O      %s read, %s written, %s requests\n",
                text_bytes(a, stats->read_bytes), text_bytes(b, stats->write_bytes),
                text_count(c, stats->requests));
        fprintf(out, "cache    %s now, %s at most, of %s\n", text_bytes(a, stats->cache_bytes),
                text_bytes(b, stats->cache_bytes_peak), text_bytes(c, stats->budget_bytes));
        print_streams(t, out);
        if (t->session.options->trace)
                fprintf(out, "trace    %s event%s lost\n", text_count(a, stats->trace_dropped),
                        stats->trace_dropped == 1 ? "" : "s");
        if (t->msync_ns)
                fprintf(out, "msync    %s\n", text_time(a, t->msync_ns));
        if (t->verify)
                fprintf(out, "verify   %s, %s wrong\n", text_time(a, t->verify_ns),
                        text_count(b, t->verify_errors));
        if (fflush(stdout) && !status)
                status = fail("standard output", "write", "%s", strerror(errno));
        return status;
}

static int advise(struct touch *t)
{
        static const struct {
                const char *name;
                int advice;
        } all[] = {
                { "normal", MADV_NORMAL },         { "random", MADV_RANDOM },
                { "sequential", MADV_SEQUENTIAL }, { "willneed", MADV_WILLNEED },
                { "dontneed", MADV_DONTNEED },
        };

        for (size_t i = 0; t->advice && i < sizeof(all) / sizeof(*all); i++)
                if (!strcmp(t->advice, all[i].name) &&
                    fl_madvise(t->session.engine, t->mapping, t->session.size, all[i].advice))
                        return fail_library();
        return 0;
}

/* In order of address, and read ahead accordingly: what was touched at random would otherwise be
 * read at random once more. */
static int verify(struct touch *t)
{
        struct access_plan plan = t->plan;
        int status = access_in_order(&plan, &t->plan);

        if (!status && t->plan.count) {
                bool dense = t->plan.count > t->plan.pages / 8;

                fl_madvise(t->session.engine, t->mapping, t->session.size,
                           dense ? MADV_SEQUENTIAL : MADV_RANDOM);
                status = run_phase(t, PHASE_VERIFY, &t->verify_ns);
        }
        access_free(&t->plan);
        t->plan = plan;
        return status;
}

/* The first failure decides the exit status; what can still be done is done. */
static int run_mapped(struct touch *t)
{
        struct fl_stats stats = { .size = sizeof(stats) };
        int status = advise(t), later;

        if (status)
                return status;
        status = run_phase(t, t->write ? PHASE_WRITE : PHASE_READ, &t->access_ns);
        if (t->write && !t->private && !t->anon) {
                later = sync_mapping(t);
                status = status ? status : later;
        }
        if (t->verify) {
                later = verify(t);
                status = status ? status : later;
        }
        if (fl_stats(t->session.engine, &stats))
                return fail_library();
        later = t->session.options->json ? print_json_report(t, &stats) : print_report(t, &stats);
        return status ? status : later;
}

static int touch(struct touch *t)
{
        struct session *s = &t->session;
        uint64_t size = s->size;
        int prot = PROT_READ | (t->write ? PROT_WRITE : 0), status;

        if (t->write || t->verify) /* a last page too short for a stamp is left alone */
                t->plan.pages = size < STAMP_SIZE ? 0 : (size - STAMP_SIZE) / PAGE_SIZE + 1;
        else
                t->plan.pages = size ? (size - 1) / PAGE_SIZE + 1 : 0;
        if (!t->plan.pages)
                return fail(s->uri, "touch", size ? "too short for a stamp" : "the file is empty");
        status = access_prepare(&t->plan);
        if (status)
                return status;
        t->mapping = fl_mmap(s->engine, NULL, size, prot,
                             t->anon      ? MAP_PRIVATE | MAP_ANONYMOUS
                             : t->private ? MAP_PRIVATE
                                          : MAP_SHARED,
                             s->file, 0);
        if (t->mapping == MAP_FAILED)
                return fail_library();
        status = run_mapped(t);
        if (fl_munmap(s->engine, t->mapping, size) && !status)
                status = fail_library();
        return status;
}

static int run(struct options *o, int argc, char **argv)
{
        struct touch t = { .plan = { .threads = 1, .seed = 1 } };
        const char *pattern = "seq";
        const struct option_spec own[] = {
                { "pattern", OPTION_STRING, &pattern, NULL, 0 },
                { "count", OPTION_COUNT, &t.plan.count, NULL, 1 },
                { "threads", OPTION_COUNT, &t.plan.threads, NULL, 1 },
                { "seed", OPTION_COUNT, &t.plan.seed, NULL, 0 },
                { "write", OPTION_FLAG, &t.write, NULL, 0 },
                { "verify", OPTION_FLAG, &t.verify, NULL, 0 },
                { "advice", OPTION_CHOICE, &t.advice, "normal|random|sequential|willneed|dontneed",
                  0 },
                { "private", OPTION_FLAG, &t.private, NULL, 0 },
                { "anon", OPTION_SIZE, &t.anon, NULL, PAGE_SIZE },
                { "mincore", OPTION_FLAG, &t.mincore, NULL, 0 },
                { 0 },
        };
        int status = options_parse(o, own, &argc, argv);

        if (status)
                return status;
        if (o->help)
                return print_command_help(o->command);
        if (t.anon && argc > 1)
                return fail_usage(o, "--anon SIZE or a URI, not both");
        if (!t.anon && argc != 2)
                return fail_usage(o, argc < 2 ? "no URI given" : "one URI, please");
        if (t.plan.threads > MAX_THREADS)
                return fail_usage(o, "--threads %" PRIu64 ": at most %d", t.plan.threads,
                                  MAX_THREADS);
        status = access_parse(&t.plan, o, pattern);
        if (status)
                return status;
        if (t.anon)
                status = session_open_anon(&t.session, o, t.anon);
        else
                status = session_open(&t.session, o, argv[1],
                                      t.write && !t.private ? O_RDWR : O_RDONLY, NULL);
        if (!status)
                status = touch(&t);
        access_free(&t.plan);
        return session_close(&t.session, status);
}

const struct command command_touch = {
        .name = "touch",
        .summary = "accesses to a mapping in a pattern, and what they cost",
        .help = "touch URI|--anon SIZE [--pattern seq|back|random|stride=SIZE|list=FILE]\n"
                "                [--count N] [--threads N] [--seed N] [--write] [--verify] "
                "[--private]\n"
                "                [--advice normal|random|sequential|willneed|dontneed] "
                "[--mincore]\n"
                "                [OPTIONS]\n"
                "\n"
                "Maps the whole file and touches one page an access.\n"
                "  --anon      memory without a file instead, which needs no URI; see --swap\n"
                "  --pattern   the order (seq); list=FILE: one page number a line\n"
                "  --count     accesses of all threads together (each page of the pattern once)\n"
                "  --threads   the count is split evenly; thread t draws from stream (seed, t)\n"
                "  --write     store instead of load: the page's number and a mix of it with the\n"
                "              seed, in its first 16 bytes; then msync, unless --private\n"
                "              or --anon. THIS CHANGES THE FILE\n"
                "  --verify    afterwards, walk the same accesses again and check those stamps\n"
                "  --private   MAP_PRIVATE: stores stay in this process\n"
                "  --mincore   print the resident pages, a-b (half open), one range a line;\n"
                "              the summary then goes to stderr\n"
                "\n"
                "Examples:\n"
                "  faultline touch data.bin --pattern random --count 10000 --advice random\n"
                "  faultline touch data.bin --pattern stride=256K --mincore   what was read "
                "ahead?\n"
                "  faultline touch scratch.bin --pattern random --count 200000 --threads 8 \\\n"
                "          --write --verify --cache 32M --json\n"
                "  faultline touch --anon 1G --swap /var/tmp/swap:2G --cache 64M --write --verify\n"
                "  faultline touch scratch.bin --verify --seed 1              are they still "
                "there?\n",
        .run = run,
};
