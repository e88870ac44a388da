/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.h - one engine: every layer, put together. The only place that knows them all.
 */
#ifndef FL_API_ENGINE_H
#define FL_API_ENGINE_H

#include <faultline/faultline.h>

#include "block/swapfile.h"
#include "cache/filemap.h"
#include "live/server.h"
#include "util/signals.h"
#include "vm/mm.h"

struct fl_engine {
        struct trace trace;
        struct loop *loop;
        struct table_pool tables;
        struct driver_env drivers;
        struct block_pool *block_pool;
        struct fs_env fs;
        struct swap_area *swap; /* NULL: none */
        struct mm *mm;
        struct task *task;
        struct page_cache *cache;
        struct live_server *live; /* NULL: it tells nobody */
        uint64_t opened_ns;
        _Atomic unsigned nr_files;      /* handles not closed yet */
        _Atomic unsigned nr_prefetches; /* likewise */
        char *faults;
        uint64_t perturb;
};

struct fl_file {
        struct file *file;
        struct fl_engine *engine;
        int oflags;
};

/* Begins every public function that may lock something: from here to its end the thread is inside the
 * library, and its signals wait (util/signals.h). */
#define begin_call()                                                                               \
        struct signals_held call_ __attribute__((cleanup(signals_release)));                       \
        signals_hold(&call_)

/* Sets errno and the thread's sentence; returns -1. error: positive errno. */
int fl_fail(int error, const char *uri, const char *tried, const char *why);
#define FL_SMALL_WINDOW "a read-ahead window is at least 4096 bytes"
/* For results of the layers below: 0, or -errno. */
int fl_result(int result, const char *uri, const char *tried);
/* True, and EPERM: this is a child of the process that opened it, and has nothing but a copy. */
bool fl_refuse(const struct fl_engine *e, const char *tried);
/* As the layers below have it: what no program can have lies behind the spaces of its children. */
static inline uint64_t address_of(const void *p)
{
        uint64_t addr = (uint64_t)(uintptr_t)p;

        return space_of(addr) ? addr | 1ull << 63 : addr;
}
/* mapping.c: "sigbus", "zero", "retry". 0, or -1 and errno. */
int on_error_of(const char *name, enum on_error *out);
struct vma_rules default_rules(void);
uint64_t default_cache_bytes(void);
/* publish.c: the engine can be asked how it does, as the config says. 0, or -1 and errno. */
int publish_start(struct fl_engine *e, const struct fl_engine_config *cfg);
/* metrics.c: everything in OpenMetrics' text form. */
void metrics_text(struct fl_engine *e, struct out *o);
/* A config struct of the caller's, which begins with its size and may be shorter (older) or longer
 * (newer) than ours of `size` bytes. NULL is all zeros. 0, -EINVAL (no size), -E2BIG (what we do
 * not know of is not zero). */
int copy_config(void *to, size_t size, const void *from);

#endif
