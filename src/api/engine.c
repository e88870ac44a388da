/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.c - opening an engine, bottom layer first, and closing it, top layer first.
 */
#include "api/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/module.h"
#include "fs/shmem.h"
#include "util/perturb.h"

#define MAX_PAGE_SIZE 65536
#define MAX_TABLES (1u << 22) /* 16 GiB of addresses: trees of 64 GiB of cached pages and more */
#define DRIVER_DEPTH 128
#define MOST_READAHEAD (UINT64_C(1) << 40) /* what is more is no more: windows are clamped */
#define MAX_PAGERS 64

int copy_config(void *to, size_t size, const void *from)
{
        const unsigned char *bytes = from;
        size_t has;

        memset(to, 0, size);
        if (!from)
                return 0;
        memcpy(&has, from, sizeof(has));
        if (has < sizeof(has))
                return -EINVAL;
        for (size_t i = size; i < has; i++)
                if (bytes[i])
                        return -E2BIG;
        memcpy(to, from, has < size ? has : size);
        return 0;
}

static int check_page_size(const struct fl_engine_config *cfg)
{
        uint64_t size = cfg->page_size;
        char text[32];

        if (size == 0 || size == PAGE_SIZE)
                return 0;
        snprintf(text, sizeof(text), "%" PRIu64 " bytes", size);
        if (size % PAGE_SIZE || (size & (size - 1)) || size > MAX_PAGE_SIZE)
                return fl_fail(EINVAL, text, "choosing a page size",
                               "must be a power of two from 4096 to 65536");
        if (!policy_find(cfg->policy)->segvn)
                return fl_fail(EINVAL, text, "choosing a page size",
                               "a page of this policy is 4096 bytes");
        return 0;
}

/* 0, or -EINVAL and why. */
static int read_tune(const struct fl_engine_config *cfg, struct policy_tune *tune, char *why,
                     size_t size)
{
        const struct vm_policy_ops *policy = policy_find(cfg->policy);
        uint64_t page = cfg->page_size ? cfg->page_size : policy->page_pages * PAGE_SIZE;

        if (cfg->tune && *cfg->tune && !policy->tunable) {
                snprintf(why, size, "the policy %s has none", policy->name);
                return -EINVAL;
        }
        return tune_parse(cfg->tune, cfg->cache / page, (uint32_t)page, tune, why, size);
}

/* What names nothing that there is. */
static int check_names(const struct fl_engine_config *cfg)
{
        if (cfg->driver && strcmp(cfg->driver, "auto") != 0 && strcmp(cfg->driver, "uring") != 0 &&
            strcmp(cfg->driver, "posix") != 0)
                return fl_fail(EINVAL, cfg->driver, "choosing a driver",
                               "no driver of that name; there are: auto, uring, posix");
        if (elevator_check(cfg->elevator))
                return fl_fail(EINVAL, cfg->elevator, "choosing an elevator",
                               "no elevator of that name; there are: " BLK_ELEVATORS);
        if (cfg->fork && strcmp(cfg->fork, "dontfork") != 0 && strcmp(cfg->fork, "inherit") != 0)
                return fl_fail(EINVAL, cfg->fork, "choosing what a forked child gets",
                               "must be dontfork or inherit");
        if (cfg->publish && strcmp(cfg->publish, "on") != 0 && strcmp(cfg->publish, "off") != 0)
                return fl_fail(EINVAL, cfg->publish, "choosing whether to be seen",
                               "must be on or off");
        return 0;
}

static int check_config(struct fl_engine_config *cfg)
{
        enum on_error on_error;
        struct policy_tune tune;
        char why[128];

        if (cfg->cache == 0)
                cfg->cache = default_cache_bytes();
        if (cfg->cache < CACHE_MIN_PAGES * PAGE_SIZE)
                return fl_fail(EINVAL, NULL, "opening an engine",
                               "the cache must be at least 64 pages (256K)");
        if (cfg->flags & ~FL_ENGINE_QUIET || cfg->pagers > MAX_PAGERS)
                return fl_fail(EINVAL, NULL, "opening an engine",
                               "unknown flags, or more than 64 pagers");
        if (!policy_find(cfg->policy))
                return fl_fail(EINVAL, cfg->policy, "choosing a policy",
                               "no policy of that name; there are: " POLICY_NAMES);
        if (check_page_size(cfg))
                return -1;
        if (read_tune(cfg, &tune, why, sizeof(why)))
                return fl_fail(EINVAL, cfg->tune, "choosing the policy's parameters", why);
        if (cfg->readahead && cfg->readahead < PAGE_SIZE)
                return fl_fail(EINVAL, NULL, "opening an engine", FL_SMALL_WINDOW);
        if (check_names(cfg))
                return -1;
        if (cfg->on_error && on_error_of(cfg->on_error, &on_error))
                return -1;
        if (cfg->faults && *cfg->faults && faults_check(cfg->faults))
                return fl_fail(EINVAL, cfg->faults, "reading the faults to inject",
                               "not of the form eio@OFF+LEN[*COUNT], enospc@OFF+LEN, "
                               "delay=TIME[@OFF+LEN], seed=N");
        return 0;
}

static int open_lower(struct fl_engine *e, const struct fl_engine_config *cfg)
{
        unsigned staging = (unsigned)min_u64((cfg->cache >> PAGE_SHIFT) / 16 + 8, 4096);
        int error = loop_create(&e->loop, cfg->pagers ? cfg->pagers : 1, "fl-pager");

        if (error)
                return error;
        loop_set_spin(e->loop, cfg->spin);
        if (cfg->faults && *cfg->faults && !(e->faults = strdup(cfg->faults)))
                return -ENOMEM;
        e->drivers = (struct driver_env){
                .loop = e->loop,
                .trace = &e->trace,
                .depth = DRIVER_DEPTH,
                .driver = !cfg->driver                        ? "auto"
                          : strcmp(cfg->driver, "uring") == 0 ? "uring"
                          : strcmp(cfg->driver, "posix") == 0 ? "posix"
                                                              : "auto",
                .faults = e->faults,
                .spin.most_ns = cfg->spin,
                .core = &fl_core_table,
        };
        error = block_pool_create(&e->block_pool, 4 * staging + 256);
        if (error)
                return error;
        block_pool_set_elevator(e->block_pool, cfg->elevator);
        fs_env_init(&e->fs, &e->drivers, e->block_pool, &e->trace);
        e->fs.readahead = min_u64(cfg->readahead, MOST_READAHEAD);
        return table_pool_init(&e->tables, MAX_TABLES);
}

/* Says itself what is wrong with it. */
static int open_swap(struct fl_engine *e, const struct fl_engine_config *cfg)
{
        const char *why = NULL;
        int error;

        if (!cfg->swap || !*cfg->swap || strcmp(cfg->swap, "off") == 0)
                return 0;
        error = swap_area_open(&e->swap, &e->drivers, e->block_pool, &e->trace, cfg->swap, &why);
        return error ? fl_fail(-error, cfg->swap, "opening the swap area", why) : 0;
}

static int open_upper(struct fl_engine *e, const struct fl_engine_config *cfg, char *why)
{
        struct mm_config mm_cfg = {
                .mmu = cfg->mmu,
                .loop = e->loop,
                .tables = &e->tables,
                .trace = &e->trace,
                .why = why,
                .quiet = cfg->flags & FL_ENGINE_QUIET,
        };
        struct cache_config cache_cfg = {
                .bytes = cfg->cache,
                .tables = &e->tables,
                .trace = &e->trace,
                .policy = policy_find(cfg->policy),
                .page_pages = (uint32_t)(cfg->page_size >> PAGE_SHIFT),
                .m_ops = &vm_mapping_ops,
        };
        int error = read_tune(cfg, &cache_cfg.tune, why, 256);
        size_t bytes;
        void *staging;

        if (!error)
                error = shmem_mount(&e->fs, e->swap, &e->tables, &cache_cfg.shmem);
        if (!error)
                error = mm_create(&e->mm, &mm_cfg);
        if (!error)
                error = cache_create(&e->cache, &cache_cfg);
        if (error)
                return error;
        cache_staging(e->cache, &staging, &bytes);
        driver_env_add_memory(&e->drivers, staging, bytes);
        e->mm->rules = default_rules();
        if (cfg->on_error)
                on_error_of(cfg->on_error, &e->mm->rules.on_error);
        error = mm_set_cache(e->mm, e->cache, e->swap);
        if (!error)
                error = mm_fork_start(e->mm, cfg->fork && strcmp(cfg->fork, "inherit") == 0);
        if (error == -ENOTSUP)
                snprintf(why, 256,
                         "a forked child can inherit mappings only with userfaultfd: the MMUs uffd "
                         "and sigbus; here it is %s; see faultline doctor",
                         e->mm->mmu->ops->name);
        if (!error)
                error = watchdog_start(e->mm, cfg->watchdog);
        if (error)
                return error;
        return task_create(&e->task, e->mm);
}

/* For the trace: trace_counters.counters. */
static void count_for_trace(void *arg, struct trace_counters *out)
{
        struct fl_engine *e = arg;
        struct page_cache *c = e->cache;
        int64_t dirty = atomic_load(&c->nr_dirty) + atomic_load(&c->nr_writeback);

        *out = (struct trace_counters){
                .cache = (uint64_t)atomic_load(&c->budget.charged) << PAGE_SHIFT,
                .dirty = dirty > 0 ? (uint64_t)dirty << PAGE_SHIFT : 0,
                .queue = block_pool_in_flight(e->block_pool),
                .budget = atomic_load(&c->budget_bytes),
        };
}

/* Everything is unmapped and closed, or was never made. */
static void dispose(struct fl_engine *e)
{
        trace_stop(&e->trace); /* it looks at what goes now */
        if (e->mm) {
                mm_fork_stop(e->mm);
                watchdog_stop(e->mm);
        }
        if (e->task)
                task_destroy(e->task);
        if (e->cache)
                cache_stop(e->cache); /* it may be about to swap something of the mm's out */
        if (e->mm)
                mm_destroy(e->mm);
        if (e->cache)
                cache_destroy(e->cache);
        if (e->swap)
                swap_area_close(e->swap);
        fs_env_destroy(&e->fs);
        driver_env_destroy(&e->drivers);
        if (e->loop)
                loop_destroy(e->loop);
        if (e->block_pool)
                block_pool_destroy(e->block_pool);
        table_pool_destroy(&e->tables);
        perturb_put(e->perturb);
        free(e->faults);
        free(e);
}

struct fl_engine *fl_engine_open(const struct fl_engine_config *config)
{
        struct fl_engine_config cfg;
        struct fl_engine *e;
        char why[256] = "";
        int error;

        begin_call();
        error = copy_config(&cfg, sizeof(cfg), config);
        if (error) {
                fl_fail(-error, NULL, "opening an engine",
                        "the config has a wrong size, or options this library does not know");
                return NULL;
        }
        if (check_config(&cfg))
                return NULL;
        e = calloc(1, sizeof(*e));
        if (!e) {
                fl_fail(ENOMEM, NULL, "opening an engine", NULL);
                return NULL;
        }
        trace_init(&e->trace);
        e->opened_ns = now_ns();
        e->perturb = cfg.perturb;
        perturb_get(cfg.perturb);
        e->trace.quiet = cfg.flags & FL_ENGINE_QUIET;
        if (cfg.trace && (error = trace_start(&e->trace, cfg.trace))) {
                fl_fail(-error, cfg.trace, "creating the trace", NULL);
                perturb_put(e->perturb);
                free(e);
                return NULL;
        }
        error = open_lower(e, &cfg);
        if (!error && open_swap(e, &cfg)) {
                error = errno;
                dispose(e);
                errno = error;
                return NULL;
        }
        if (!error)
                error = open_upper(e, &cfg, why);
        if (error) {
                dispose(e);
                if (error == -ENOMEM && !*why)
                        snprintf(why, sizeof(why), "Cannot allocate memory; see faultline doctor");
                fl_fail(-error, NULL, "opening an engine", why);
                return NULL;
        }
        if (publish_start(e, &cfg)) {
                error = errno;
                dispose(e);
                errno = error;
                return NULL;
        }
        trace_set_counters(&e->trace, count_for_trace, e);
        return e;
}

/* Files that were closed with pages that could not be written get a last chance. */
static int release_mappings(struct page_cache *c)
{
        struct address_space *m;
        int error = 0;

        mutex_lock(&c->open_lock);
        while ((m = TAILQ_FIRST(&c->mappings))) {
                struct inode *inode = m->host;
                int r = mapping_release(m);

                if (r) {
                        error = error ? error : r;
                        truncate_pages(m, 0); /* said; there is nowhere to keep it */
                        mapping_destroy(m);
                        inode_put(inode);
                }
        }
        mutex_unlock(&c->open_lock);
        return error;
}

int fl_engine_close(struct fl_engine *e)
{
        int error = 0, r;

        begin_call();
        if (!e)
                return 0;
        if (fl_refuse(e, "closing an engine"))
                return -1;
        if (atomic_load(&e->nr_files))
                return fl_fail(EBUSY, NULL, "closing an engine",
                               "files opened through it are still open");
        if (atomic_load(&e->nr_prefetches))
                return fl_fail(EBUSY, NULL, "closing an engine",
                               "what it prefetches has not been ended");
        mm_fork_stop(e->mm); /* the children first */
        mm_unmap(e->mm, 0, SPACE_SIZE);
        mm_drain(e->mm);
        error = release_mappings(e->cache);
        live_stop(e->live); /* with what all that has counted */
        r = trace_stop(&e->trace);
        dispose(e);
        if (error)
                return fl_fail(-error, NULL, "writing the last dirty pages", NULL);
        return fl_result(r, NULL, "writing the trace");
}

const char *fl_engine_mmu(const struct fl_engine *e)
{
        return e->mm->mmu->ops->name;
}

int fl_engine_tune(const struct fl_engine *e, char *buf, size_t size)
{
        const struct vm_policy_ops *policy = e->cache->policy;
        struct policy_tune all = { .given = 0 };

        if (policy->tunable)
                all = tune_complete(&e->cache->tune,
                                    (uint64_t)atomic_load(&e->cache->budget.limit) /
                                            e->cache->page_pages,
                                    e->cache->page_pages * PAGE_SIZE);
        return tune_text(&all, buf, size);
}

int fl_engine_set_cache(struct fl_engine *e, uint64_t bytes)
{
        begin_call();
        if (fl_refuse(e, "setting the cache's size"))
                return -1;
        if (bytes < CACHE_MIN_PAGES * PAGE_SIZE)
                return fl_fail(EINVAL, NULL, "setting the cache's size",
                               "the cache must be at least 64 pages (256K)");
        return fl_result(cache_resize(e->cache, bytes), NULL, "setting the cache's size");
}

#define X(name) +1
_Static_assert(sizeof(struct fl_stats) == sizeof(size_t) + sizeof(uint64_t) * (0 STATS_KEYS(X, X)),
               "STATS_KEYS lists every member of struct fl_stats");
#undef X

static void tell_spins(struct fl_stats *v, struct spin *s)
{
        v->spins += atomic_load_explicit(&s->spins, memory_order_relaxed);
        v->spin_hits += atomic_load_explicit(&s->hits, memory_order_relaxed);
        v->spin_ns += atomic_load_explicit(&s->ns, memory_order_relaxed);
}

int fl_stats(struct fl_engine *e, struct fl_stats *out)
{
        struct stats *s = &e->trace.stats;
        struct fl_stats v = { .size = out->size };
        size_t size = out->size;

        begin_call();
        if (fl_refuse(e, "reading the statistics"))
                return -1;
        if (size < sizeof(size_t))
                return fl_fail(EINVAL, NULL, "reading the statistics", "size is not set");
#define X(name) v.name = stat_get(s, STAT_##name);
        STATS(X)
#undef X
        v.cache_bytes = (uint64_t)atomic_load(&e->cache->budget.charged) << PAGE_SHIFT;
        v.cache_bytes_peak = (uint64_t)atomic_load(&e->cache->budget.peak) << PAGE_SHIFT;
        v.meta_bytes = cache_meta_bytes(e->cache);
        v.budget_bytes = e->cache->budget_bytes;
        v.fault_ns_p50 = histogram_quantile(&s->fault_ns, 500);
        v.fault_ns_p99 = histogram_quantile(&s->fault_ns, 990);
        v.fault_ns_max = atomic_load(&s->fault_ns.max);
        v.elapsed_ns = now_ns() - e->opened_ns;
        v.trace_dropped = trace_dropped(&e->trace);
        tell_spins(&v, loop_spin(e->loop));
        tell_spins(&v, &e->drivers.spin);
        memcpy(out, &v, size < sizeof(v) ? size : sizeof(v));
        out->size = size;
        return 0;
}

static struct fl_io_stats io_stats(const struct blk_op_stats *s)
{
        return (struct fl_io_stats){
                .requests = s->requests,
                .bios = s->bios,
                .bytes = s->bytes,
                .queue_ns = s->queue_ns,
                .device_ns = s->device_ns,
        };
}

static struct fl_latency latency(struct histogram *h)
{
        return (struct fl_latency){
                .p50_ns = histogram_quantile(h, 500),
                .p99_ns = histogram_quantile(h, 990),
                .max_ns = atomic_load(&h->max),
        };
}

static void device_latency(void *arg, const char *device, enum blk_stat op, struct blk_latency *l)
{
        struct fl_device_stats *v = arg;

        (void)device;
        if (op == BLK_READ) {
                v->read_total = latency(&l->q2c);
                v->read_device = latency(&l->d2c);
        } else if (op == BLK_WRITE) {
                v->write_total = latency(&l->q2c);
                v->write_device = latency(&l->d2c);
        }
}

int fl_device_stats(struct fl_engine *e, unsigned index, struct fl_device_stats *out)
{
        struct fl_device_stats v = { .size = out->size };
        struct blk_queue_state state;
        struct blk_queue_stats s;
        size_t size = out->size;

        begin_call();
        if (fl_refuse(e, "reading a device's statistics"))
                return -1;
        if (size < sizeof(size_t))
                return fl_fail(EINVAL, NULL, "reading a device's statistics", "size is not set");
        if (!block_pool_stats(e->block_pool, index, v.name, &s, &state) ||
            !block_pool_latencies(e->block_pool, index, device_latency, &v))
                return fl_fail(ENOENT, NULL, "reading a device's statistics",
                               "there are not so many devices");
        v.read = io_stats(&s.op[BLK_READ]);
        v.write = io_stats(&s.op[BLK_WRITE]);
        v.flush = io_stats(&s.op[BLK_FLUSH]);
        v.discard = io_stats(&s.op[BLK_DISCARD]);
        v.write_zeroes = io_stats(&s.op[BLK_WRITE_ZEROES]);
        memcpy(out, &v, size < sizeof(v) ? size : sizeof(v));
        return 0;
}

int fl_engine_check(struct fl_engine *e)
{
        int error;

        begin_call();
        if (fl_refuse(e, "checking the engine"))
                return -1;
        error = mm_check(e->mm);
#ifndef NDEBUG
        if (!error)
                error = cache_check(e->cache);
#endif
        return fl_result(error, NULL, "checking the engine");
}
