/* SPDX-License-Identifier: Apache-2.0
 *
 * time.c - the clock and the calling thread's id.
 */
#include "util/base.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Thread_local uint32_t cached_tid;

uint64_t now_ns(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint32_t thread_id(void)
{
        if (unlikely(!cached_tid))
                cached_tid = (uint32_t)syscall(SYS_gettid);
        return cached_tid;
}

/* A child of fork() keeps the thread-local storage of its parent but has an id of its own. */
static void forget_tid(void)
{
        cached_tid = 0;
}

__attribute__((constructor)) static void register_fork_handler(void)
{
        pthread_atfork(NULL, NULL, forget_tid);
}
