/* SPDX-License-Identifier: Apache-2.0
 *
 * mapping.c - fl_mapping_set and fl_mapping_info: what belongs to a mapping and not to the engine;
 * fl_error and fl_error_clear: what went wrong there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "api/engine.h"

#define RETRIES 5
#define RETRY_NS 1000000000ull

static const char tried[] = "setting a mapping's rules";

static const char *const on_error_names[] = {
        [ON_ERROR_SIGBUS] = "sigbus",
        [ON_ERROR_ZERO] = "zero",
        [ON_ERROR_RETRY] = "retry",
};

int on_error_of(const char *name, enum on_error *out)
{
        for (unsigned i = 0; i < ARRAY_SIZE(on_error_names); i++)
                if (strcmp(name, on_error_names[i]) == 0) {
                        *out = (enum on_error)i;
                        return 0;
                }
        return fl_fail(EINVAL, name, "choosing what follows an error",
                       "must be sigbus, zero or retry");
}

struct vma_rules default_rules(void)
{
        return (struct vma_rules){
                .on_error = ON_ERROR_SIGBUS,
                .retry_then = ON_ERROR_SIGBUS,
                .retries = RETRIES,
                .retry_ns = RETRY_NS,
        };
}

static int error_rules_of(const struct fl_mapping_config *cfg, struct vma_rules *rules)
{
        if (cfg->on_error && on_error_of(cfg->on_error, &rules->on_error))
                return -1;
        if (cfg->retry_then && on_error_of(cfg->retry_then, &rules->retry_then))
                return -1;
        if (rules->retry_then == ON_ERROR_RETRY)
                return fl_fail(EINVAL, NULL, tried, "after retries come sigbus or zero");
        if (cfg->retries)
                rules->retries = cfg->retries;
        if (cfg->retry_time)
                rules->retry_ns = cfg->retry_time;
        return 0;
}

/* 0 and *rules, or -1 and errno. */
static int rules_of(struct fl_engine *e, const struct fl_mapping_config *cfg,
                    struct vma_rules *rules)
{
        uint64_t most = (uint64_t)atomic_load(&e->cache->budget.limit) / 8;

        *rules = e->mm->rules;
        if (!policy_find(cfg->policy))
                return fl_fail(EINVAL, cfg->policy, "choosing a mapping's policy",
                               "no policy of that name; there are: " POLICY_NAMES);
        if (cfg->policy && *cfg->policy && policy_find(cfg->policy) != e->cache->policy)
                return fl_fail(EINVAL, cfg->policy, "choosing a mapping's policy",
                               "a mapping has the policy of its engine");
        if (cfg->readahead && cfg->readahead < PAGE_SIZE)
                return fl_fail(EINVAL, NULL, tried, FL_SMALL_WINDOW);
        rules->ra_pages = (uint32_t)min_u64(cfg->readahead >> PAGE_SHIFT, most);
        /* More than there is stays more than there is. */
        rules->share = pages_of(min_u64(cfg->share, 1ull << 48));
        return error_rules_of(cfg, rules);
}

/* NULL: what the errno says is enough. */
static const char *why_not(int error, const struct vma_rules *rules)
{
        if (error != -ENOMEM)
                return NULL;
        return rules->share ? "an address is not mapped, or the shares together leave too little "
                              "of the cache"
                            : "an address is not mapped";
}

int fl_mapping_set(struct fl_engine *e, void *addr, size_t len,
                   const struct fl_mapping_config *config)
{
        struct fl_mapping_config cfg;
        struct vma_rules rules;
        int error;

        begin_call();
        error = copy_config(&cfg, sizeof(cfg), config);
        if (fl_refuse(e, tried))
                return -1;
        if (error)
                return fl_fail(
                        -error, NULL, tried,
                        "the config has a wrong size, or members this library does not know");
        if (rules_of(e, &cfg, &rules))
                return -1;
        error = mm_set_rules(e->mm, address_of(addr), len, &rules);
        return error ? fl_fail(-error, NULL, tried, why_not(error, &rules)) : 0;
}

static void describe_streams(struct fl_engine *e, struct file *f, struct fl_mapping_info *info)
{
        struct streams streams;

        if (!e->cache->policy->describe)
                return;
        mutex_lock(&f->ra_lock);
        streams = f->ra.streams;
        mutex_unlock(&f->ra_lock);
        e->cache->policy->describe(&streams, info->streams, sizeof(info->streams));
}

static void fill_in(struct fl_engine *e, const struct mapping_report *r,
                    struct fl_mapping_info *info)
{
        info->addr = (void *)(uintptr_t)r->start;
        info->len = r->end - r->start;
        info->offset = (off_t)r->offset;
        info->prot = r->prot;
        info->max_prot = r->maxprot;
        info->flags = r->shared ? MAP_SHARED : MAP_PRIVATE;
        info->policy = e->cache->policy->name;
        info->on_error = on_error_names[r->rules.on_error];
        info->retry_then = on_error_names[r->rules.retry_then];
        info->retries = r->rules.retries;
        info->retry_time = r->rules.retry_ns;
        if (r->file) {
                uint32_t ra = r->rules.ra_pages ? r->rules.ra_pages : r->file->ra_pages;

                info->readahead = (uint64_t)ra << PAGE_SHIFT;
                info->share = r->rules.share << PAGE_SHIFT;
                info->cached = atomic_load(&r->file->mapping->nr_pages) << PAGE_SHIFT;
                describe_streams(e, r->file, info);
        }
}

int fl_mapping_info(struct fl_engine *e, const void *addr, struct fl_mapping_info *out)
{
        struct fl_mapping_info info = { .size = out->size };
        struct mapping_report r;
        size_t size = out->size;

        begin_call();
        if (fl_refuse(e, "looking at a mapping"))
                return -1;
        if (size < sizeof(size_t))
                return fl_fail(EINVAL, NULL, "looking at a mapping", "size is not set");
        if (!mm_report(e->mm, address_of(addr), &r))
                return fl_fail(ENOMEM, NULL, "looking at a mapping", "nothing is mapped there");
        fill_in(e, &r, &info);
        if (r.file)
                file_put(r.file);
        memcpy(out, &info, size < sizeof(info) ? size : sizeof(info));
        return 0;
}

int fl_error(struct fl_engine *e, const void *addr, size_t len, struct fl_error_info *out)
{
        struct fl_error_info info = { .size = out->size };
        size_t size = out->size;
        struct failure f;
        int r;

        begin_call();
        if (fl_refuse(e, "looking for errors"))
                return -1;
        if (size < sizeof(size_t))
                return fl_fail(EINVAL, NULL, "looking for errors", "size is not set");
        r = mm_error(e->mm, address_of(addr), len, &f);
        if (r <= 0)
                return fl_result(r, NULL, "looking for errors");
        info.addr = (void *)(uintptr_t)f.addr;
        info.offset = (off_t)f.offset;
        info.error = f.error;
        info.writing = f.writing;
        info.dirty = f.dirty;
        info.zeroed = f.zeroed;
        snprintf(info.file, sizeof(info.file), "%s", f.name);
        memcpy(out, &info, size < sizeof(info) ? size : sizeof(info));
        return 1;
}

int fl_error_clear(struct fl_engine *e, void *addr, size_t len)
{
        begin_call();
        if (fl_refuse(e, "clearing errors"))
                return -1;
        return fl_result(mm_error_clear(e->mm, address_of(addr), len), NULL, "clearing errors");
}
