/* SPDX-License-Identifier: Apache-2.0
 *
 * base.h - sizes and small helpers that every layer shares.
 *
 * page   = 4 KiB of a file or of an address space
 * sector = 512 bytes, the unit of the block layer
 */
#ifndef FL_UTIL_BASE_H
#define FL_UTIL_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096UL
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define SECTOR_SHIFT 9
#define SECTOR_SIZE 512UL

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
/* atomic_thread_fence(), of which gcc's ThreadSanitizer knows nothing and says so: there it is the compiler's,
 * which is all that loads from loads and stores from stores need on x86. */
#ifdef __SANITIZE_THREAD__
#define memory_fence(order) atomic_signal_fence(order)
#else
#define memory_fence(order) atomic_thread_fence(order)
#endif

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
        return a < b ? a : b;
}
static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
        return a > b ? a : b;
}
static inline uint64_t round_up_u64(uint64_t v, uint64_t to)
{
        return (v + to - 1) / to * to;
}
static inline uint64_t round_down_u64(uint64_t v, uint64_t to)
{
        return v / to * to;
}
/* Pages that hold `bytes` bytes. */
static inline uint64_t pages_of(uint64_t bytes)
{
        return (bytes >> PAGE_SHIFT) + ((bytes & (PAGE_SIZE - 1)) != 0);
}

/* Monotonic nanoseconds; async-signal-safe. */
uint64_t now_ns(void);
/* The kernel's id of the calling thread, cached; async-signal-safe. */
uint32_t thread_id(void);

#endif
