/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.c - the counters of an engine in OpenMetrics' text form: base units, `_total`, histograms
 * with `le`, `# EOF`. Names and labels are kept as they are: people's dashboards are made of them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "api/engine.h"

#define LE_FIRST 10u /* 2^10 ns is the first bound of a histogram, about a microsecond */
#define LE_LAST 34u  /* and 2^34 ns, 17 s, the last but infinity */

/* What a counter of the engine is called: one line a counter, those of one name together. */
static const struct metric {
        const char *name, *unit, *help, *labels; /* unit: NULL, or the end of the name */
        enum counter counter;
        unsigned scale; /* 0: 1 */
} counters[] = {
        { "faults", NULL, "Page faults served, by whether they waited for a read.",
          "kind=\"major\"", STAT_faults_major, 0 },
        { "faults", NULL, NULL, "kind=\"minor\"", STAT_faults_minor, 0 },
        { "write_faults", NULL, "Page faults by stores.", "", STAT_faults_write, 0 },
        { "cow_copies", NULL, "Private copies made of pages.", "", STAT_cow_copies, 0 },
        { "zero_fills", NULL, "Pages of zeros made for memory without a file.", "", STAT_zero_fills,
          0 },
        { "swap_in_bytes", "bytes", "Read back from the swap area.", "", STAT_swap_ins, PAGE_SIZE },
        { "swap_out_bytes", "bytes", "Written to the swap area.", "", STAT_swap_outs, PAGE_SIZE },
        { "readahead_bytes", "bytes", "Read ahead of the fault that asked for the window.", "",
          STAT_readahead_pages, PAGE_SIZE },
        { "readahead_hit_bytes", "bytes", "Read ahead, then used.", "", STAT_readahead_hits,
          PAGE_SIZE },
        { "readahead_wasted_bytes", "bytes", "Read ahead, and evicted without a use.", "",
          STAT_readahead_wasted, PAGE_SIZE },
        { "evicted_bytes", "bytes", "Given back to make room.", "", STAT_evicted_pages, PAGE_SIZE },
        { "writeback_bytes", "bytes", "Dirty pages written.", "", STAT_writeback_pages, PAGE_SIZE },
        { "bios", NULL, "Transfers asked for by file systems.", "", STAT_bios, 0 },
        { "requests", NULL, "Transfers that went to drivers.", "", STAT_requests, 0 },
        { "merges", NULL, "Transfers joined to a request, by the end they were joined at.",
          "end=\"back\"", STAT_merges_back, 0 },
        { "merges", NULL, NULL, "end=\"front\"", STAT_merges_front, 0 },
        { "flushes", NULL, "Flushes of devices.", "", STAT_flushes, 0 },
        { "read_bytes", "bytes", "Read by drivers.", "", STAT_read_bytes, 0 },
        { "written_bytes", "bytes", "Written by drivers.", "", STAT_write_bytes, 0 },
        { "io_errors", NULL, "Transfers that failed.", "", STAT_io_errors, 0 },
};

static void head(struct out *o, const char *name, const char *type, const char *unit,
                 const char *help)
{
        out_printf(o, "# TYPE faultline_%s %s\n", name, type);
        if (unit)
                out_printf(o, "# UNIT faultline_%s %s\n", name, unit);
        out_printf(o, "# HELP faultline_%s %s\n", name, help);
}

static void tell_counters(struct fl_engine *e, struct out *o)
{
        for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
                const struct metric *m = &counters[i];
                uint64_t n = stat_get(&e->trace.stats, m->counter) * (m->scale ? m->scale : 1);

                if (m->help)
                        head(o, m->name, "counter", m->unit, m->help);
                out_printf(o, "faultline_%s_total%s%s%s %" PRIu64 "\n", m->name,
                           *m->labels ? "{" : "", m->labels, *m->labels ? "}" : "", n);
        }
}

static void gauge(struct out *o, const char *name, const char *unit, const char *help, int64_t n)
{
        head(o, name, "gauge", unit, help);
        out_printf(o, "faultline_%s %" PRId64 "\n", name, n > 0 ? n : 0);
}

static void tell_gauges(struct fl_engine *e, struct out *o)
{
        struct page_cache *c = e->cache;

        gauge(o, "cache_bytes", "bytes", "Memory that is charged to the budget.",
              atomic_load(&c->budget.charged) << PAGE_SHIFT);
        gauge(o, "cache_peak_bytes", "bytes", "The most that was ever charged.",
              atomic_load(&c->budget.peak) << PAGE_SHIFT);
        gauge(o, "cache_budget_bytes", "bytes", "The budget.",
              (int64_t)atomic_load(&c->budget_bytes));
        gauge(o, "metadata_bytes", "bytes", "Tables beside the budget.",
              (int64_t)cache_meta_bytes(c));
        gauge(o, "private_bytes", "bytes", "Of the cache, memory without a file and copies.",
              atomic_load(&c->budget.private_pages) << PAGE_SHIFT);
        gauge(o, "dirty_bytes", "bytes", "Stored to, and not being written yet.",
              atomic_load(&c->nr_dirty) << PAGE_SHIFT);
        gauge(o, "dirty_limit_bytes", "bytes", "Where those who store begin to wait.",
              dirty_limit(c) << PAGE_SHIFT);
        gauge(o, "being_written_bytes", "bytes", "Dirty pages on their way to a device.",
              atomic_load(&c->nr_writeback) << PAGE_SHIFT);
        gauge(o, "being_read_bytes", "bytes", "Pages on their way from a device.",
              atomic_load(&c->nr_reading) << PAGE_SHIFT);
        gauge(o, "waiting_faults", NULL, "Page faults that wait for something.",
              (int64_t)atomic_load(&e->mm->nr_parked));
        gauge(o, "open_files", NULL, "Files that the program has open.",
              (int64_t)atomic_load(&e->nr_files));
        head(o, "trace_dropped_events", "counter", NULL, "Events that found no room in the trace.");
        out_printf(o, "faultline_trace_dropped_events_total %" PRIu64 "\n",
                   trace_dropped(&e->trace));
}

/* ---- latencies ---- */

/* Of the slots that end at or before the bound; of `less` those are left out. Counters move while they
 * are read, and what is left out may seem to be more. */
static uint64_t count_below(struct histogram *h, struct histogram *less, unsigned *slot,
                            uint64_t bound)
{
        uint64_t n = 0;

        for (; *slot < HIST_SLOTS && histogram_slot_end(*slot) <= bound; (*slot)++) {
                uint64_t all = atomic_load_explicit(&h->slot[*slot], memory_order_relaxed);
                uint64_t out =
                        less ? atomic_load_explicit(&less->slot[*slot], memory_order_relaxed) : 0;

                n += all > out ? all - out : 0;
        }
        return n;
}

static void seconds(struct out *o, uint64_t ns)
{
        out_printf(o, "%" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

/* name: of the metric; labels: those it has beside `le`. */
static void tell_histogram(struct out *o, const char *name, const char *labels, struct histogram *h,
                           struct histogram *less)
{
        uint64_t sum = atomic_load_explicit(&h->sum, memory_order_relaxed), n = 0;
        uint64_t out = less ? atomic_load_explicit(&less->sum, memory_order_relaxed) : 0;
        unsigned slot = 0;

        for (unsigned i = LE_FIRST; i <= LE_LAST; i++) {
                uint64_t bound = 1ull << i;

                n += count_below(h, less, &slot, bound);
                out_printf(o,
                           "faultline_%s_bucket{%s,le=\"%" PRIu64 ".%09" PRIu64 "\"} %" PRIu64 "\n",
                           name, labels, bound / 1000000000, bound % 1000000000, n);
        }
        n += count_below(h, less, &slot, UINT64_MAX);
        out_printf(o, "faultline_%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, n);
        out_printf(o, "faultline_%s_count{%s} %" PRIu64 "\n", name, labels, n);
        out_printf(o, "faultline_%s_sum{%s} ", name, labels);
        seconds(o, sum > out ? sum - out : 0);
}

static void tell_latencies(struct fl_engine *e, struct out *o)
{
        struct stats *s = &e->trace.stats;

        head(o, "fault_seconds", "histogram", "seconds",
             "From the delivery of a page fault until its thread goes on.");
        tell_histogram(o, "fault_seconds", "kind=\"major\"", &s->major_ns, NULL);
        tell_histogram(o, "fault_seconds", "kind=\"minor\"", &s->fault_ns, &s->major_ns);
}

/* ---- devices ---- */

#define DEVICES_TOLD 64
#define LABELS_MAX 320
static const char *const op_names[BLK_STATS] = { "read", "write", "flush", "discard",
                                                 "write-zeroes" };

struct device_row {
        char name[64];
        struct blk_queue_stats s;
        struct blk_queue_state state;
};

static void device_labels(struct out *o, unsigned index, const char *device, const char *op)
{
        out_printf(o, "number=\"%u\",device=", index);
        out_quoted(o, device, false);
        if (op)
                out_printf(o, ",op=\"%s\"", op);
}

static void device_sample(struct out *o, const char *metric, unsigned index,
                          const struct device_row *d, const char *op)
{
        out_printf(o, "faultline_device_%s{", metric);
        device_labels(o, index, d->name, op);
        out_printf(o, "} ");
}

static const struct device_metric {
        const char *name, *unit, *help;
        size_t at; /* in struct blk_op_stats */
} device_metrics[] = {
        { "requests", NULL, "Requests that a device has completed.",
          offsetof(struct blk_op_stats, requests) },
        { "moved_bytes", "bytes", "Moved by these.", offsetof(struct blk_op_stats, bytes) },
        { "queue_seconds", "seconds", "In sum, until a request went to the driver.",
          offsetof(struct blk_op_stats, queue_ns) },
        { "busy_seconds", "seconds", "In sum, from there to its end.",
          offsetof(struct blk_op_stats, device_ns) },
};

static void tell_device_metric(struct out *o, const struct device_metric *m,
                               const struct device_row *rows, unsigned nr)
{
        char name[64];

        snprintf(name, sizeof(name), "device_%s", m->name);
        head(o, name, "counter", m->unit, m->help);
        snprintf(name, sizeof(name), "%s_total", m->name);
        for (unsigned i = 0; i < nr; i++)
                for (unsigned op = 0; op < BLK_STATS; op++) {
                        const char *s = (const char *)&rows[i].s.op[op];
                        uint64_t n = *(const uint64_t *)(s + m->at);

                        device_sample(o, name, i, &rows[i], op_names[op]);
                        if (m->unit && *m->unit == 's')
                                seconds(o, n);
                        else
                                out_printf(o, "%" PRIu64 "\n", n);
                }
}

static const struct latency_metric {
        const char *name, *help;
        size_t at; /* in struct blk_latency */
} latency_metrics[] = {
        { "device_request_seconds",
          "A request, from its first bio until it has ended (what btt calls Q2C).",
          offsetof(struct blk_latency, q2c) },
        { "device_service_seconds",
          "A request, from the driver until it has ended (what btt calls D2C).",
          offsetof(struct blk_latency, d2c) },
};

struct latency_out {
        struct out *o;
        const struct latency_metric *m;
        unsigned index;
};

/* Of what a device has done: most know no discard. */
static void tell_latency(void *arg, const char *device, enum blk_stat op,
                         struct blk_latency *latency)
{
        const struct latency_out *l = arg;
        struct histogram *h = (struct histogram *)((char *)latency + l->m->at);
        char text[LABELS_MAX];
        struct out labels = { .buf = text, .size = sizeof(text) };

        if (!atomic_load_explicit(&h->count, memory_order_relaxed))
                return;
        device_labels(&labels, l->index, device, op_names[op]);
        tell_histogram(l->o, l->m->name, text, h, NULL);
}

static void tell_device_latencies(struct fl_engine *e, struct out *o)
{
        for (unsigned i = 0; i < ARRAY_SIZE(latency_metrics); i++) {
                struct latency_out l = { .o = o, .m = &latency_metrics[i] };

                head(o, l.m->name, "histogram", "seconds", l.m->help);
                while (l.index < DEVICES_TOLD &&
                       block_pool_latencies(e->block_pool, l.index, tell_latency, &l))
                        l.index++;
        }
}

static void tell_devices(struct fl_engine *e, struct out *o)
{
        struct device_row rows[DEVICES_TOLD];
        unsigned nr = 0;

        while (nr < DEVICES_TOLD &&
               block_pool_stats(e->block_pool, nr, rows[nr].name, &rows[nr].s, &rows[nr].state))
                nr++;
        for (unsigned i = 0; i < ARRAY_SIZE(device_metrics); i++)
                tell_device_metric(o, &device_metrics[i], rows, nr);
        head(o, "device_queued_requests", "gauge", NULL, "Requests that wait for the device.");
        for (unsigned i = 0; i < nr; i++) {
                device_sample(o, "queued_requests", i, &rows[i], NULL);
                out_printf(o, "%u\n",
                           rows[i].state.queued[0] + rows[i].state.queued[1] +
                                   rows[i].state.queued[2]);
        }
        head(o, "device_requests_in_flight", "gauge", NULL, "Requests that are at the driver.");
        for (unsigned i = 0; i < nr; i++) {
                device_sample(o, "requests_in_flight", i, &rows[i], NULL);
                out_printf(o, "%u\n", rows[i].state.in_flight);
        }
}

void metrics_text(struct fl_engine *e, struct out *o)
{
        head(o, "engine", "info", NULL, "The engine these figures are of.");
        out_printf(o, "faultline_engine_info{version=\"" FAULTLINE_VERSION "\",pid=\"%d\",",
                   getpid());
        out_printf(o, "mmu=\"%s\",policy=\"%s\"} 1\n", e->mm->mmu->ops->name,
                   e->cache->policy->name);
        head(o, "uptime_seconds", "gauge", "seconds", "Since the engine was opened.");
        out_printf(o, "faultline_uptime_seconds ");
        seconds(o, now_ns() - e->opened_ns);
        tell_counters(e, o);
        tell_gauges(e, o);
        tell_latencies(e, o);
        tell_devices(e, o);
        tell_device_latencies(e, o);
        out_printf(o, "# EOF\n");
}
