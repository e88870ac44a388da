/* SPDX-License-Identifier: Apache-2.0
 *
 * waits.c - how often the policy adaptive leaves a reader waiting who is faster than the device: once for
 * a window at most. Every read takes its time (--faults delay=), and the trace tells which fault waited
 * for which page; waits are counted by the window that brought the page, and nothing is timed.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"
#include "trace/reader.h"

#define PAGE TEST_PAGE
#define PAGES 16384ul
#define DELAY "delay=2ms"

static const char *name;

/* Touches `nr` pages, `step` apart, from `first` on. */
struct pattern {
        const char *name;
        int64_t first, step;
        unsigned nr;
        uint64_t cache;
        unsigned most_windows; /* or else each would be too small for the device */
        /* For one window. The pages of a strided one come one by one, and which of them is the last so far
         * depends on when the fault looks. */
        unsigned most_waits;
};

/* What the trace tells. A window has a number; 0 is none. */
struct seen {
        unsigned window_of[PAGES]; /* the last that was to bring the page */
        unsigned waits[PAGES];     /* by window */
        unsigned windows, all_waits, most_waits;
        uint64_t start, nr; /* of the last */
        uint64_t page;      /* the last that was waited for */
};

static void note_window(struct seen *s, uint64_t step)
{
        for (uint64_t i = 0; i < s->nr && s->start + i * step < PAGES; i++)
                s->window_of[s->start + i * step] = s->windows;
}

/* However often the fault has to look again, or comes again since the thread had been woken meanwhile: the
 * page is one that has not come yet. */
static void note_wait(struct seen *s, uint64_t page)
{
        unsigned n;

        if (page == s->page)
                return;
        s->page = page;
        n = ++s->waits[s->window_of[page]];
        s->all_waits++;
        s->most_waits = n > s->most_waits ? n : s->most_waits;
}

static void note(struct seen *s, const struct trace_record *r)
{
        switch (r->event) {
        case TRACE_PAGE_CACHE_RA:
                s->windows++;
                s->start = r->arg[0];
                s->nr = r->arg[1];
                note_window(s, 1);
                break;
        case TRACE_STREAM: /* it goes with the window, and tells what lies between its pages */
                if ((int64_t)r->arg[0] < -1 || (int64_t)r->arg[0] > 1)
                        note_window(s, (uint64_t)llabs((int64_t)r->arg[0]));
                break;
        case TRACE_RETRY:
                note_wait(s, r->arg[1]);
                break;
        default:
                break;
        }
}

static struct seen *read_trace(const char *path)
{
        struct seen *s = calloc(1, sizeof(*s));
        struct trace_reader *reader;
        struct trace_record *r;
        const char *why;
        size_t nr;

        require(s, "memory");
        s->page = PAGES;
        require(!trace_reader_open(&reader, path, &why), "%s", path);
        require(!trace_reader_load(reader, &r, &nr), "%s", path);
        expect(trace_reader_dropped(reader) == 0, "events were lost");
        for (size_t i = 0; i < nr; i++)
                note(s, &r[i]);
        free(r);
        trace_reader_close(reader);
        return s;
}

static void run(const struct pattern *p)
{
        const char *trace = test_file("trace", 0);
        struct fl_engine_config cfg = {
                .cache = p->cache, .policy = "adaptive", .faults = DELAY, .trace = trace
        };
        struct fl_engine *e = open_engine_with(cfg);
        struct fl_file *f = open_file(e, name, O_RDONLY);
        const char *m = map_file(e, f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        struct seen *s;

        test_at(p->name);
        for (unsigned i = 0; i < p->nr; i++) {
                uint64_t at = (uint64_t)(p->first + p->step * (int64_t)i);
                const char *wrong = stamp_wrong(m + at * PAGE, at, 0);

                expect(!wrong, "%s: %s", p->name, wrong);
        }
        check_engine(e);
        expect(fl_munmap(e, (void *)m, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
        s = read_trace(trace);
        expect(s->most_waits <= p->most_waits, "%s: waited %u times for one window", p->name,
               s->most_waits);
        expect(s->all_waits && s->all_waits <= s->windows * p->most_waits,
               "%s: %u waits, %u windows", p->name, s->all_waits, s->windows);
        expect(s->windows <= p->most_windows, "%s: %u windows for %u pages", p->name, s->windows,
               p->nr);
        free(s);
}

int main(int argc, char **argv)
{
        static const struct pattern patterns[] = {
                { "forward", 0, 1, PAGES / 2, 8 << 20, PAGES / 2 / 16, 1 },
                { "forward, large windows", 0, 1, PAGES, 64 << 20, PAGES / 80, 1 },
                { "backward", PAGES - 1, -1, PAGES / 2, 8 << 20, PAGES / 2 / 16, 1 },
                { "backward, large windows", PAGES - 1, -1, PAGES, 64 << 20, PAGES / 80, 1 },
                { "stride", 3, 64, PAGES / 64, 8 << 20, 32, 4 },
                { "stride, backward", PAGES - 1, -31, PAGES / 31, 8 << 20, 48, 4 },
        };

        test_begin(argc, argv, 0, 0, 60);
        name = test_stamped_file("waits", PAGES);
        for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
                run(&patterns[i]);
        return test_end();
}
