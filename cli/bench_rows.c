/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_rows.c - the workloads of `faultline bench`, a row each.
 *
 * To add one: a row here; a pattern, setup or run of its own in bench_loads.c if none fits; its
 * line in the help (bench.c) and in docs/performance.md.
 */
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#define BIT(side) (1u << SIDE_##side)
#define MAPPINGS (BIT(FAULTLINE) | BIT(UNADVISED) | BIT(MMAP) | BIT(ADVISED))
#define CALLS (BIT(PREAD) | BIT(URING))
#define FIO (BIT(FIO_PSYNC) | BIT(FIO_URING))
#define ALL (MAPPINGS | CALLS | FIO)

/* Parts of rows. */
#define BESIDE_MMAP .sides = BIT(FAULTLINE) | BIT(MMAP), .beside = SIDE_MMAP
#define AT_RANDOM .block = PAGE_SIZE, .setup = setup_fill, .run = run_touches, .next = next_random
#define IN_ORDER                                                                                   \
        .unit = UNIT_BYTES, .sides = ALL, .beside = SIDE_ADVISED, .threads = 1, .depth = 8,        \
        .block = 256 * 1024, .advice = MADV_SEQUENTIAL, .setup = setup_map, .run = run_pass
/* All is in memory: half of the cache. */
#define HOT .threads = 1, .set = 500, .hot = true, .setup = setup_fill

/* Without a file; four caches of it go to swap. */
#define SWAPPED                                                                                    \
        .sides = BIT(FAULTLINE) | BIT(MMAP) | FIO, .beside = SIDE_MMAP, .threads = 1,              \
        .block = PAGE_SIZE, .set = 4000, .anon = true, .swaps = true, .write = true,               \
        .advice = MADV_NORMAL, .setup = setup_stored
/* Sixteen caches, 1 GiB unless --cache says otherwise. */
#define LARGE                                                                                      \
        BESIDE_MMAP, .threads = 1, .set = 16000, .hot = true, .unlimited = true,                   \
                     .advice = MADV_NORMAL, .setup = setup_nothing
/* Beside Faultline itself: what a larger case may cost. */
#define GROWS .beside = SIDE_SMALL, .threads = 1, .sides = BIT(FAULTLINE) | BIT(SMALL)

#define RANDOM_READ(count, percent)                                                                \
        {                                                                                          \
                .name = "rand-read-" #count, .title = "random 4 KiB reads", .sides = ALL,          \
                .beside = SIDE_ADVISED, .floor = percent, .threads = count, AT_RANDOM,             \
                .advice = MADV_RANDOM, .fio = "randread",                                          \
        }

/* The same where faults are served by the thread that has them. */
#define RANDOM_READ_INLINE(count, kind, text, nanoseconds)                                         \
        {                                                                                          \
                .name = "rand-read-" #count "-" kind,                                              \
                .title = "random 4 KiB reads, faults served in the thread" text,                   \
                .spin = nanoseconds,                                                               \
                .sides = BIT(FAULTLINE) | BIT(ADVISED) | BIT(URING) | BIT(FIO_PSYNC),              \
                .beside = SIDE_ADVISED, .threads = count, AT_RANDOM, .advice = MADV_RANDOM,        \
                .mmu = "sigbus", .fio = "randread",                                                \
        }

/* With a trace beside itself without: what it costs, and what it loses. */
#define TRACED .sides = BIT(FAULTLINE) | BIT(UNTRACED), .beside = SIDE_UNTRACED, .traced = true

#define ZIPF(text, thousandths)                                                                    \
        .sides = MAPPINGS | BIT(PREAD), .beside = SIDE_ADVISED, .threads = 1, .block = PAGE_SIZE,  \
        .set = thousandths, .advice = MADV_RANDOM, .steady = true, .setup = setup_zipf,            \
        .run = run_touches, .next = next_zipf, .title = "Zipf over " text " of the cache"

/* An export that takes a millisecond for each read, as one in the next town does. */
#define REMOTE_RANDOM(count)                                                                       \
        .title = "random 4 KiB loads, " #count                                                     \
                 " threads, of an NBD export that answers after 1 ms",                             \
        .sides = BIT(FAULTLINE) | BIT(FIO_NBD), .beside = SIDE_FIO_NBD, .threads = count,          \
        .block = PAGE_SIZE, .remote = true, .delay_ms = 1, .advice = MADV_RANDOM,                  \
        .setup = setup_map, .run = run_touches, .next = next_random, .fio = "randread"

const struct workload bench_rows[] = {
        RANDOM_READ(1, 50),
        RANDOM_READ(2, 0),
        RANDOM_READ(8, 30),
        RANDOM_READ(32, 0),
        RANDOM_READ_INLINE(1, "inline", "", 0),
        RANDOM_READ_INLINE(8, "inline", "", 0),
        RANDOM_READ_INLINE(1, "spin", ", which polls before it sleeps", 100000),
        RANDOM_READ_INLINE(8, "spin", ", which polls before it sleeps", 100000),
        {
                .name = "rand-noadvice-1",
                .title = "random 4 KiB reads without advice",
                BESIDE_MMAP,
                .floor = 80,
                .threads = 1,
                AT_RANDOM,
                .advice = MADV_NORMAL,
        },
        {
                .name = "rand-write",
                .title = "random stores, msync after every 64",
                .sides = ALL,
                .beside = SIDE_ADVISED,
                .threads = 1,
                .depth = 32, /* the 64 are independent */
                AT_RANDOM,
                .advice = MADV_RANDOM,
                .write = true,
                .fio = "randwrite",
        },
        {
                .name = "rand-write-8",
                .title = "random stores, 8 threads, one msync at the end; the time of both",
                .sides = BIT(FAULTLINE) | BIT(ADVISED),
                .beside = SIDE_ADVISED,
                .threads = 8,
                AT_RANDOM,
                .advice = MADV_RANDOM,
                .write = true,
                .sync_last = true,
        },
        {
                .name = "msync-64",
                .title = "msync of 64 pages stored to, anywhere in four times the cache",
                .sides = MAPPINGS,
                .beside = SIDE_ADVISED,
                .threads = 1,
                .set = 4000,
                .setup = setup_fill,
                .run = run_msync,
                .advice = MADV_RANDOM,
                .write = true,
        },
        {
                .name = "rand-tail-8",
                .title = "99 of 100 random loads, 8 threads, while another stores and syncs",
                .sides = BIT(FAULTLINE) | BIT(ADVISED),
                .beside = SIDE_ADVISED,
                .threads = 8,
                AT_RANDOM,
                .advice = MADV_RANDOM,
                .write = true,
                .tail = true,
        },
        {
                .name = "seq",
                .title = "the whole file in order, every byte",
                IN_ORDER,
                .floor = 25,
                .fio = "read",
        },
        {
                .name = "seq-write",
                .title = "the whole file stored in order, then msync",
                IN_ORDER,
                .write = true,
                .fio = "write",
        },
        {
                .name = "backward",
                .title = "the last page first, one load a page",
                /* madvise() has no word for it. */
                .sides = ALL & ~(BIT(ADVISED) | BIT(UNADVISED)),
                .beside = SIDE_MMAP,
                .threads = 1,
                .block = PAGE_SIZE,
                .advice = MADV_NORMAL,
                .setup = setup_map,
                .run = run_touches,
                .next = next_backward,
                .fio = "read:-8k",
        },
        {
                .name = "stride",
                .title = "one load every 256 KiB",
                .sides = ALL,
                .beside = SIDE_ADVISED,
                .threads = 1,
                .block = PAGE_SIZE,
                .advice = MADV_RANDOM,
                .setup = setup_map,
                .run = run_touches,
                .next = next_stride,
                .fio = "read:252k",
        },
        {
                .name = "stride-noadvice",
                .title = "one load every 256 KiB, without advice",
                BESIDE_MMAP,
                .threads = 1,
                .block = PAGE_SIZE,
                .advice = MADV_NORMAL,
                .setup = setup_map,
                .run = run_touches,
                .next = next_stride,
        },
        {
                .name = "four-streams",
                .title = "a quarter of the file each in order, taking turns, a load a page",
                BESIDE_MMAP,
                .threads = 1,
                .block = PAGE_SIZE,
                .advice = MADV_NORMAL,
                .setup = setup_map,
                .run = run_touches,
                .next = next_of_four,
        },
        {
                .name = "hot-set",
                .title = "random loads over 0.9 of the cache's size, all of it in use",
                BESIDE_MMAP,
                .threads = 1,
                .block = PAGE_SIZE,
                .set = 900,
                .steady = true,
                .advice = MADV_NORMAL,
                .setup = setup_fill,
                .run = run_touches,
                .next = next_random,
        },
        { .name = "zipf-0.9", ZIPF("0.9", 900) },
        { .name = "zipf-1.1", ZIPF("1.1", 1100) },
        { .name = "zipf-scan", ZIPF("0.9", 900) ", beside a scan of the file", .scan = true },
        {
                .name = "many-maps",
                .title = "random loads over thousands of mappings of 64 KiB",
                .sides = MAPPINGS,
                .beside = SIDE_ADVISED,
                .threads = 1,
                .advice = MADV_RANDOM,
                .setup = setup_parts,
                .run = run_touches,
                .next = next_random,
        },
        {
                .name = "map-unmap",
                .title = "map 64 KiB, load from a cached page, unmap",
                BESIDE_MMAP,
                HOT,
                .advice = MADV_NORMAL,
                .run = run_map_unmap,
        },
        {
                .name = "refault",
                .title = "pages in the cache but not mapped: a load each",
                BESIDE_MMAP,
                HOT,
                .advice = MADV_NORMAL,
                .run = run_refault,
        },
        {
                .name = "anon-random",
                .title = "random stores to anonymous memory of four times the cache",
                SWAPPED,
                .run = run_touches,
                .next = next_random,
                .fio = "randrw",
        },
        {
                .name = "anon-seq",
                .title = "anonymous memory of four times the cache stored to in order, every byte",
                .unit = UNIT_BYTES,
                SWAPPED,
                .run = run_pass,
                .fio = "rw",
        },
        {
                .name = "first-touch",
                .title = "a first store to each page of anonymous memory that fits",
                LARGE,
                .anon = true,
                .budget = 20,
                .write = true,
                .floor = 50,
                .mmu = "sigbus",
                .run = run_first_touch,
        },
        {
                .name = "map-large",
                .title = "map and unmap anonymous memory, untouched",
                LARGE,
                .anon = true,
                .write = true,
                .floor = 20,
                .run = run_map_large,
        },
        {
                .name = "map-large-file",
                .title = "map and unmap a part of a large file, untouched",
                LARGE,
                .far = true,
                .floor = 20,
                .run = run_map_large,
        },
        {
                .name = "maps-50000",
                .title = "minor faults over 50,000 mappings, beside those over one",
                GROWS,
                .floor = 77, /* 1 / 1.3 */
                .set = 500,
                .hot = true,
                .advice = MADV_NORMAL,
                .setup = setup_maps,
                .run = run_maps,
        },
        {
                .name = "far-apart",
                .title = "random loads over a sparse file of 16 TiB - 4 KiB, beside one of 1 GiB",
                GROWS,
                .floor = 84, /* 1 / 1.2 */
                AT_RANDOM,
                .far = true,
                .advice = MADV_RANDOM,
        },
        {
                .name = "pread-hit",
                .title = "fl_pread of 4 KiB at random, all in the cache",
                .sides = BIT(FAULTLINE) | BIT(PREAD),
                .beside = SIDE_PREAD,
                HOT,
                .block = PAGE_SIZE,
                .calls = true,
                .advice = MADV_RANDOM,
                .run = run_touches,
                .next = next_random,
        },
        {
                .name = "pread-miss",
                .title = "fl_pread of 4 KiB at random, over the whole file",
                .sides = BIT(FAULTLINE) | CALLS | FIO,
                .beside = SIDE_PREAD,
                .threads = 1,
                AT_RANDOM,
                .calls = true,
                .advice = MADV_RANDOM,
                .fio = "randread",
        },
        {
                .name = "rand-read-8-traced",
                .title = "random 4 KiB reads while a trace is written, beside those without",
                TRACED,
                .floor = 95,
                .threads = 8,
                AT_RANDOM,
                .advice = MADV_RANDOM,
        },
        {
                .name = "minor-60000-traced",
                .title = "60,000 minor faults a second while a trace is written: none may be lost",
                TRACED,
                .floor = 95,
                .threads = 1,
                .set = 500,
                .hot = true,
                .setup = setup_paced,
                .rate = 62000, /* who is late does not make up for it */
                .advice = MADV_RANDOM,
                .mmu = "sigbus",
                .run = run_paced,
        },
        {
                .name = "nbd-seq",
                .title = "an NBD export in memory, in order, every byte",
                .unit = UNIT_BYTES,
                .sides = BIT(FAULTLINE) | BIT(NBDCOPY),
                .beside = SIDE_NBDCOPY,
                .floor = 80,
                .threads = 1,
                .remote = true,
                .advice = MADV_SEQUENTIAL,
                .setup = setup_map,
                .run = run_pass,
        },
        { .name = "remote-rand-8", REMOTE_RANDOM(8) },
        { .name = "remote-rand-64", REMOTE_RANDOM(64) },
        {
                .name = "remote-seq",
                .title = "an NBD export that answers after 1 ms, in order, every byte",
                .unit = UNIT_BYTES,
                .sides = BIT(FAULTLINE) | BIT(NBDCOPY),
                .beside = SIDE_NBDCOPY,
                .threads = 1,
                .remote = true,
                .delay_ms = 1,
                .advice = MADV_SEQUENTIAL,
                .setup = setup_map,
                .run = run_pass,
        },
        {
                .name = "remote-prefetch",
                .title = "pages of such an export by one fl_prefetch",
                .sides = BIT(FAULTLINE) | BIT(FIO_NBD),
                .beside = SIDE_FIO_NBD,
                .threads = 1,
                .depth = 64,
                .block = PAGE_SIZE,
                .budget = 3,
                .remote = true,
                .delay_ms = 1,
                .advice = MADV_RANDOM,
                .setup = setup_nothing,
                .run = run_prefetch,
                .next = next_random,
                .fio = "randread",
        },
        {
                .name = "mapped",
                .title = "memory that is all mapped, every byte",
                .unit = UNIT_BYTES,
                .sides = BIT(FAULTLINE) | BIT(MMAP) | BIT(MALLOC),
                .beside = SIDE_MALLOC,
                .floor = 98,
                HOT,
                .advice = MADV_NORMAL,
                .run = run_mapped,
        },
        {
                .name = "block-read-32",
                .title = "random 4 KiB reads through the block layer, 32 in flight",
                .sides = BIT(FAULTLINE) | BIT(FIO_URING),
                .beside = SIDE_FIO_URING,
                .floor = 95,
                .threads = 1,
                .depth = 32,
                .block = PAGE_SIZE,
                .advice = MADV_RANDOM,
                .setup = setup_nothing,
                .run = run_block_reads,
                .next = next_random,
                .fio = "randread",
        },
        {
                .name = "prefetch",
                .title = "100,000 pages at random by one fl_prefetch, into a cache of three times "
                         "the size",
                .sides = BIT(FAULTLINE) | BIT(FIO_URING),
                .beside = SIDE_FIO_URING,
                .floor = 95,
                .threads = 1,
                .depth = 32,
                .block = PAGE_SIZE,
                .budget = 3,
                .advice = MADV_RANDOM,
                .setup = setup_nothing,
                .run = run_prefetch,
                .next = next_random,
                .fio = "randread",
        },
        {
                .name = "block-ram",
                .title = "4 KiB writes to memory, two a request, beside the driver alone",
                GROWS,
                .block = PAGE_SIZE,
                .hot = true,
                .advice = MADV_NORMAL,
                .setup = setup_nothing,
                .run = run_block_ram,
        },
};
const unsigned bench_nr_rows = sizeof(bench_rows) / sizeof(*bench_rows);

const struct workload *bench_find_row(const char *name)
{
        for (unsigned i = 0; i < bench_nr_rows; i++)
                if (!strcmp(bench_rows[i].name, name))
                        return &bench_rows[i];
        return NULL;
}
