/* SPDX-License-Identifier: Apache-2.0
 *
 * publish.c - what an engine tells of itself to processes of the same user (docs/live.md has it all):
 *
 *   /v1/engine                        counters, latencies, cache, devices, the hottest files, the
 *                                     slowest faults, as JSON
 *   /v1/file?id=ID&parts=N            which pages of a file are in the cache, as JSON
 *   /metrics                          OpenMetrics (metrics.c)
 *
 * Everything is read while the engine works, so figures of one answer need not add up to the last one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "api/engine.h"
#include "fs/inode.h"

#define FILES_TOLD 48
#define ID_MAX 704
#define PARTS_MAX 1024

/* A file's name for those who look for it from another process: the same for all who open it. */
static void file_id(const struct inode *inode, char *out, size_t size)
{
        const char *device = inode->i_sb->s_id, *inner = strchr(inode->name, '#');

        if (*device && inner)
                snprintf(out, size, "%s%.*s", device, (int)strcspn(inner, "?"), inner);
        else if (inode->i_dev & I_DEV_MEMFS)
                snprintf(out, size, "%s", inode->name);
        else if (inode->i_dev & I_DEV_BLOCK)
                snprintf(out, size, "block %u:%u", major(inode->i_dev & ~I_DEV_BLOCK),
                         minor(inode->i_dev & ~I_DEV_BLOCK));
        else
                snprintf(out, size, "file %ju:%ju", (uintmax_t)inode->i_dev,
                         (uintmax_t)inode->i_ino);
}

/* ---- one file ---- */

struct file_row {
        uint64_t number, size, pages, dirty, writeback, majors, minors, fault_ns;
        char uri[sizeof(((struct inode *)0)->name)], id[ID_MAX];
};

static uint64_t row_heat(const struct file_row *r)
{
        return r->majors + r->minors;
}

static void file_row(struct address_space *m, struct file_row *r)
{
        r->number = m->number;
        r->size = atomic_load(&m->host->i_size);
        r->pages = atomic_load(&m->nr_pages);
        r->dirty = atomic_load(&m->nr_dirty);
        r->writeback = atomic_load(&m->nr_writeback);
        r->majors = atomic_load_explicit(&m->majors, memory_order_relaxed);
        r->minors = atomic_load_explicit(&m->minors, memory_order_relaxed);
        r->fault_ns = atomic_load_explicit(&m->fault_ns, memory_order_relaxed);
        snprintf(r->uri, sizeof(r->uri), "%s", m->host->name);
        file_id(m->host, r->id, sizeof(r->id));
}

static void tell_row(struct out *o, const char *key, const struct file_row *r)
{
        json_open(o, key, '{');
        json_text(o, "uri", r->uri);
        json_text(o, "id", r->id);
        json_number(o, "size_bytes", r->size);
        json_number(o, "charged_pages", r->pages);
        json_number(o, "dirty_pages", r->dirty);
        json_number(o, "writeback_pages", r->writeback);
        json_number(o, "faults_major", r->majors);
        json_number(o, "faults_minor", r->minors);
        json_number(o, "fault_ns", r->fault_ns);
        json_close(o, '}');
}

/* ---- all files: the hottest, and the names of those with the slowest faults ---- */

struct files {
        uint64_t nr;
        unsigned nr_rows, nr_worst;
        struct file_row rows[FILES_TOLD], row; /* the hottest first */
        struct worst_fault worst[WORST_FAULTS];
        char worst_uri[WORST_FAULTS][sizeof(((struct inode *)0)->name)];
};

static void keep_row(struct files *f)
{
        unsigned at = f->nr_rows;

        while (at && row_heat(&f->row) > row_heat(&f->rows[at - 1]))
                at--;
        if (at == FILES_TOLD)
                return;
        f->nr_rows += f->nr_rows < FILES_TOLD;
        memmove(&f->rows[at + 1], &f->rows[at], (f->nr_rows - 1 - at) * sizeof(f->row));
        f->rows[at] = f->row;
}

static void look_at_files(struct fl_engine *e, struct files *f)
{
        struct address_space *m = NULL;

        f->nr_worst = worst_get(&e->trace.stats.worst, f->worst);
        for (unsigned i = 0; i < f->nr_worst; i++)
                snprintf(f->worst_uri[i], sizeof(f->worst_uri[i]), "%s",
                         f->worst[i].file ? "(closed)" : "(memory)");
        while ((m = mapping_next(e->cache, m))) {
                f->nr++;
                file_row(m, &f->row);
                keep_row(f);
                for (unsigned i = 0; i < f->nr_worst; i++)
                        if (f->worst[i].file == m->number)
                                memcpy(f->worst_uri[i], f->row.uri, sizeof(f->row.uri));
        }
}

static void tell_files(struct fl_engine *e, struct out *o)
{
        struct files *f = calloc(1, sizeof(*f));
        uint64_t now = now_ns();

        if (!f) {
                o->full = true;
                return;
        }
        look_at_files(e, f);
        json_number(o, "nr_files", f->nr);
        json_open(o, "files", '[');
        for (unsigned i = 0; i < f->nr_rows; i++)
                tell_row(o, NULL, &f->rows[i]);
        json_close(o, ']');
        json_open(o, "worst", '[');
        for (unsigned i = 0; i < f->nr_worst; i++) {
                const struct worst_fault *w = &f->worst[i];

                json_open(o, NULL, '{');
                json_number(o, "ns", w->ns);
                json_number(o, "age_ns", now > w->ended_ns ? now - w->ended_ns : 0);
                json_text(o, "uri", f->worst_uri[i]);
                json_number(o, "offset", w->index << PAGE_SHIFT);
                json_number(o, "tid", w->tid);
                json_number(o, "write", w->write);
                json_number(o, "major", w->major);
                json_close(o, '}');
        }
        json_close(o, ']');
        free(f);
}

/* ---- the engine ---- */

/* Pairs: the first value that does not belong any more, and how many do. */
static void tell_histogram(struct out *o, const char *key, struct histogram *h)
{
        json_open(o, key, '[');
        for (unsigned i = 0; i < HIST_SLOTS; i++) {
                uint64_t n = atomic_load_explicit(&h->slot[i], memory_order_relaxed);

                if (!n)
                        continue;
                json_open(o, NULL, '[');
                json_number(o, NULL, histogram_slot_end(i));
                json_number(o, NULL, n);
                json_close(o, ']');
        }
        json_close(o, ']');
}

static void tell_stats(struct fl_engine *e, struct out *o)
{
        struct fl_stats v = { .size = sizeof(v) };

        fl_stats(e, &v);
        json_open(o, "stats", '{');
#define X(name) json_number(o, #name, v.name);
        STATS_KEYS(X, X)
#undef X
        json_close(o, '}');
}

static uint64_t bytes_of(int64_t pages)
{
        return pages > 0 ? (uint64_t)pages << PAGE_SHIFT : 0;
}

static void tell_cache(struct fl_engine *e, struct out *o)
{
        struct page_cache *c = e->cache;

        json_open(o, "cache", '{');
        json_number(o, "bytes", bytes_of(atomic_load(&c->budget.charged)));
        json_number(o, "limit_bytes", bytes_of(atomic_load(&c->budget.limit)));
        json_number(o, "private_bytes", bytes_of(atomic_load(&c->budget.private_pages)));
        json_number(o, "dirty_bytes", bytes_of(atomic_load(&c->nr_dirty)));
        json_number(o, "dirty_limit_bytes", bytes_of(dirty_limit(c)));
        json_number(o, "writeback_bytes", bytes_of(atomic_load(&c->nr_writeback)));
        json_number(o, "reading_bytes", bytes_of(atomic_load(&c->nr_reading)));
        json_number(o, "faults_waiting", (uint64_t)atomic_load(&e->mm->nr_parked));
        json_close(o, '}');
}

static void tell_op(struct out *o, const char *key, const struct blk_op_stats *s)
{
        json_open(o, key, '{');
        json_number(o, "requests", s->requests);
        json_number(o, "bios", s->bios);
        json_number(o, "bytes", s->bytes);
        json_number(o, "queue_ns", s->queue_ns);
        json_number(o, "device_ns", s->device_ns);
        json_close(o, '}');
}

static void tell_devices(struct fl_engine *e, struct out *o)
{
        struct blk_queue_state state;
        struct blk_queue_stats s;
        char name[64];

        json_open(o, "devices", '[');
        for (unsigned i = 0; i < 64 && block_pool_stats(e->block_pool, i, name, &s, &state); i++) {
                json_open(o, NULL, '{');
                json_text(o, "name", name);
                json_number(o, "queued", state.queued[0] + state.queued[1] + state.queued[2]);
                json_number(o, "in_flight", state.in_flight);
                tell_op(o, "read", &s.op[BLK_READ]);
                tell_op(o, "write", &s.op[BLK_WRITE]);
                tell_op(o, "flush", &s.op[BLK_FLUSH]);
                json_close(o, '}');
        }
        json_close(o, ']');
}

static int get_engine(struct fl_engine *e, struct out *o)
{
        json_open(o, NULL, '{');
        json_number(o, "faultline", 1);
        json_text(o, "version", FAULTLINE_VERSION);
        json_number(o, "pid", (uint64_t)getpid());
        json_text(o, "program", program_invocation_short_name);
        json_text(o, "mmu", e->mm->mmu->ops->name);
        json_text(o, "policy", e->cache->policy->name);
        json_number(o, "time_ns", now_ns());
        json_number(o, "page_size", PAGE_SIZE);
        tell_stats(e, o);
        tell_cache(e, o);
        tell_histogram(o, "fault_ns", &e->trace.stats.fault_ns);
        tell_histogram(o, "major_ns", &e->trace.stats.major_ns);
        tell_devices(e, o);
        tell_files(e, o);
        json_close(o, '}');
        out_printf(o, "\n");
        return 200;
}

/* ---- what is in memory of one file ---- */

static struct address_space *find_file(struct fl_engine *e, const char *id)
{
        struct address_space *m = NULL;
        char other[ID_MAX];

        while ((m = mapping_next(e->cache, m))) {
                file_id(m->host, other, sizeof(other));
                if (strcmp(id, other) == 0)
                        break;
        }
        return m;
}

static int get_file(struct fl_engine *e, const struct http_request *rq, struct out *o)
{
        uint64_t parts[PARTS_MAX] = { 0 }, pages, each, resident;
        char id[ID_MAX], text[16];
        struct address_space *m;
        struct file_row row;
        long nr = 0;

        if (!http_param(rq->query, "id", id, sizeof(id)))
                return 400;
        if (http_param(rq->query, "parts", text, sizeof(text)))
                nr = strtol(text, NULL, 10);
        if (nr < 0 || nr > PARTS_MAX)
                return 400;
        m = find_file(e, id);
        if (!m)
                return 404;
        pages = mapping_pages(m);
        each = nr ? max_u64((pages + (uint64_t)nr - 1) / (uint64_t)nr, 1) : 1;
        resident = mapping_resident(m, 0, pages, each, nr ? parts : NULL);
        file_row(m, &row);
        mapping_unuse(m);
        json_open(o, NULL, '{');
        json_number(o, "faultline", 1);
        json_number(o, "pid", (uint64_t)getpid());
        json_text(o, "program", program_invocation_short_name);
        json_number(o, "resident_pages", resident);
        json_number(o, "pages_per_part", each);
        tell_row(o, "file", &row);
        json_open(o, "parts", '[');
        for (uint64_t i = 0; nr && i * each < pages; i++)
                json_number(o, NULL, parts[i]);
        json_close(o, ']');
        json_close(o, '}');
        out_printf(o, "\n");
        return 200;
}

/* ---- */

static int get(void *arg, const struct http_request *rq, bool all, struct out *o, const char **type)
{
        struct fl_engine *e = arg;

        if (strcmp(rq->path, "/metrics") == 0) {
                *type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                metrics_text(e, o);
                return 200;
        }
        *type = "application/json";
        if (all && strcmp(rq->path, "/v1/engine") == 0)
                return get_engine(e, o);
        if (all && strcmp(rq->path, "/v1/file") == 0)
                return get_file(e, rq, o);
        return 404;
}

int publish_start(struct fl_engine *e, const struct fl_engine_config *cfg)
{
        const struct live_ops ops = { .get = get, .arg = e };
        const char *how = cfg->publish, *why = NULL;
        int error;

        if (!how)
                how = secure_getenv("FAULTLINE_PUBLISH");
        error = live_start(&e->live, !how || strcmp(how, "off") != 0, cfg->metrics, &ops, &why);
        return error ? fl_fail(-error, cfg->metrics, "choosing where to tell metrics", why) : 0;
}
