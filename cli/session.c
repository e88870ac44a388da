/* SPDX-License-Identifier: Apache-2.0
 *
 * session.c - opening and closing what most commands need: one engine, one file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "guard.h"
#include "util/lockdep.h"

int session_open_engine(struct session *s, const struct options *o, const char *uri)
{
        struct fl_engine_config engine = {
                .size = sizeof(engine),
                .cache = o->cache,
                .mmu = o->mmu,
                .policy = o->policy,
                .tune = o->tune,
                .driver = o->driver,
                .elevator = o->elevator,
                .readahead = o->readahead,
                .page_size = o->pagesize,
                .faults = o->faults,
                .trace = o->trace,
                .metrics = o->metrics,
                .publish = o->publish,
                .spin = o->spin,
                .pagers = (unsigned)min_u64(o->pagers, UINT32_MAX),
                .perturb = o->perturb,
                .watchdog = o->watchdog,
                .swap = o->swap,
                .on_error = o->error,
                .fork = o->fork,
                .flags = FL_ENGINE_QUIET, /* guard.c sees the signal, and the command says why */
        };
        int error;

        *s = (struct session){ .options = o, .uri = uri };
        if (o->stats)
                lock_stats_start();
        error = guard_install();
        if (error)
                return fail(uri, "catch SIGBUS", "%s", strerror(-error));
        s->engine = fl_engine_open(&engine);
        return s->engine ? 0 : fail_library();
}

int session_open_anon(struct session *s, const struct options *o, uint64_t size)
{
        int status = session_open_engine(s, o, "anonymous memory");

        s->size = size;
        return status;
}

int session_open(struct session *s, const struct options *o, const char *uri, int flags,
                 const struct fl_file_config *config)
{
        int status = session_open_engine(s, o, uri);

        if (status)
                return status;
        s->file = fl_file_open(s->engine, uri, flags, config);
        if (!s->file)
                return fail_library();
        return session_refresh(s);
}

int session_refresh(struct session *s)
{
        struct stat st;

        if (fl_fstat(s->file, &st))
                return fail_library();
        s->size = (uint64_t)st.st_size;
        return 0;
}

static uint64_t trace_lost(struct fl_engine *engine)
{
        struct fl_stats stats = { .size = sizeof(stats) };

        return fl_stats(engine, &stats) ? 0 : stats.trace_dropped;
}

int session_close(struct session *s, int status)
{
        uint64_t lost;

        if (s->engine)
                print_stats(s->options, s->engine);
        if (s->file && fl_file_close(s->file) && !status)
                status = fail_library();
        lost = s->engine && s->options->trace ? trace_lost(s->engine) : 0;
        if (s->engine && fl_engine_close(s->engine) && !status)
                status = fail_library();
        if (lost)
                fprintf(stderr, "faultline: %s: %" PRIu64 " events were lost\n", s->options->trace,
                        lost);
        s->file = NULL;
        s->engine = NULL;
        return status;
}

const char *session_reason(struct session *s, uint64_t offset, bool private_store)
{
        char byte;
        ssize_t got;

        if (!s->file)
                return "it does not fit into the cache and the swap area (--cache, --swap)";
        got = fl_pread(s->file, &byte, 1, (off_t)offset);

        if (got < 0)
                return strerror(errno);
        if (got == 0)
                return "the file ends before it; was it cut short?";
        if (private_store)
                return "its private copy does not fit into the cache (--cache)";
        return strerror(EIO);
}
