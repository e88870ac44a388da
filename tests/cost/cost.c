/* SPDX-License-Identifier: Apache-2.0
 *
 * cost.c - the hot paths, run so that their instructions can be counted (scripts/cost, ./dev cost).
 *
 * What is counted has to be the same each time and everywhere: so the disk is memory (ram:), which is
 * done before submit returns; the MMU does nothing; the clock, the allocator and the system calls are
 * the C library's and are not counted; and one thread does all of it, the only one that is counted.
 * Under callgrind each path becomes a dump of its own, named "PATH OPERATIONS". Without valgrind the
 * program just runs through, which shows that the paths do what they are named for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <valgrind/callgrind.h>

#include "api/engine.h"
#include "vm/fault.h"

#define PAGES 4096u /* of the file */
#define CACHE (64u << 20)
#define APART 16u /* pages, as far as one fault looks around */
#define SMALL 64u /* pages of a mapping among many */
#define MAPS 4096u
#define BIOS 16u
#define TABLE_SPAN (2u << 20) /* addresses that one page table covers */

#define check(condition)                                                                           \
        ((condition) ? (void)0                                                                     \
                     : (fprintf(stderr, "cost: line %d: %s: not so\n", __LINE__, #condition),      \
                        exit(1)))

/* ---- an MMU that does nothing, and remembers what it would show ---- */

struct fake_mmu {
        struct mmu mmu;
        uint64_t base; /* of the mapping of the file */
        bool shown[PAGES];
};

static struct fake_mmu *fake_of(struct mmu *m)
{
        return container_of(m, struct fake_mmu, mmu);
}

static void show(struct mmu *m, uint64_t addr, uint64_t nr, bool shown)
{
        struct fake_mmu *f = fake_of(m);
        uint64_t first = (addr - f->base) >> PAGE_SHIFT;

        if (addr >= f->base && first < PAGES)
                memset(f->shown + first, shown, min_u64(nr, PAGES - first));
}

static int fake_reserve(struct mmu *m, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
                        uint64_t offset)
{
        void *p = mmap((void *)(uintptr_t)*addr, len, PROT_NONE,
                       (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) | MAP_PRIVATE | MAP_ANONYMOUS |
                               MAP_NORESERVE,
                       -1, 0);

        (void)m, (void)prot, (void)fd, (void)offset;
        if (p == MAP_FAILED)
                return -errno;
        *addr = (uintptr_t)p;
        return 0;
}

static int fake_release(struct mmu *m, uint64_t addr, uint64_t len)
{
        show(m, addr, len >> PAGE_SHIFT, false);
        return munmap((void *)(uintptr_t)addr, len) ? -errno : 0;
}

static int fake_protect(struct mmu *m, uint64_t addr, uint64_t len, int prot)
{
        (void)m, (void)addr, (void)len, (void)prot;
        return 0;
}

static int fake_map_run(struct mmu *m, uint64_t addr, uint64_t nr, bool wp, bool *existed)
{
        (void)wp;
        show(m, addr, nr, true);
        *existed = false;
        return 0;
}

static int fake_copy(struct mmu *m, uint64_t addr, const void *pages, uint64_t nr, bool wp,
                     uint64_t *done)
{
        (void)m, (void)addr, (void)pages, (void)wp;
        if (done)
                *done = nr;
        return 0;
}

static int fake_zero(struct mmu *m, uint64_t addr, uint64_t nr, uint64_t *own)
{
        (void)m, (void)addr;
        *own = 0;
        return (int)nr;
}

static uint64_t fake_read(struct mmu *m, uint64_t addr, uint64_t nr, char *buf)
{
        (void)m, (void)addr, (void)nr, (void)buf;
        return 0;
}

static int fake_run(struct mmu *m, uint64_t addr, uint64_t nr)
{
        (void)m, (void)addr, (void)nr;
        return 0;
}

static int fake_unmap(struct mmu *m, const struct iovec *runs, unsigned nr)
{
        for (unsigned i = 0; i < nr; i++)
                show(m, (uintptr_t)runs[i].iov_base, runs[i].iov_len >> PAGE_SHIFT, false);
        return 0;
}

static int fake_blank(struct mmu *m, uint64_t addr, int prot, const void *bytes)
{
        (void)m, (void)addr, (void)prot, (void)bytes;
        return 0;
}

static const struct mmu_ops fake_ops = {
        .name = "fake",
        .reserve = fake_reserve,
        .release = fake_release,
        .protect = fake_protect,
        .map_run = fake_map_run,
        .copy = fake_copy,
        .zero = fake_zero,
        .read = fake_read,
        .write_protect = fake_run,
        .unprotect = fake_run,
        .unmap = fake_unmap,
        .poison = fake_run,
        .blank = fake_blank,
        .wake = fake_run,
};

/* ---- the ground ---- */

static struct fl_engine *engine;
static struct fl_file *file, *other; /* other: of the small mappings */
static struct fake_mmu fake = { .mmu.ops = &fake_ops };
static struct mmu *real;
static char *map;     /* of the file, shared */
static char *private; /* of the file, private */
static char *anon;
static char *small[MAPS]; /* a mapping each, far apart */
static struct block_pool *pool;
static struct request_queue *queue;
static char page[BIOS * PAGE_SIZE];

static struct address_space *mapping(void)
{
        return file->file->mapping;
}

static uint64_t evict_all(void)
{
        return evict_range(mapping(), 0, PAGES, UINT32_MAX);
}

/* All pages of which `index % step` is 0 are cached. Nothing is mapped. */
static void cache_pages(unsigned step)
{
        struct wait_on on;
        struct blk_plug plug;

        evict_all();
        check(atomic_load(&mapping()->nr_pages) == 0);
        for (unsigned i = 0; i < PAGES; i += step) {
                blk_start_plug(&plug);
                check(read_one_page(mapping(), i, false, 0, &plug, &on) == 0);
                blk_finish_plug(&plug);
        }
        check(atomic_load(&mapping()->nr_pages) == PAGES / step);
}

static void all_clean(void)
{
        check(fl_msync(engine, map, PAGES * PAGE_SIZE, MS_SYNC) == 0);
        check(atomic_load(&mapping()->nr_dirty) == 0);
}

static void touch(const char *addr, bool write, uint32_t kind)
{
        struct mmu_client *client = &engine->mm->client;
        struct mmu_fault fault = { .address = (uintptr_t)addr, .write = write, .kind = kind };

        check(client->fault(client, &fault) == MMU_SERVED);
}

static char *page_of(char *base, unsigned index)
{
        return base + (size_t)index * PAGE_SIZE;
}

static uint64_t major_faults(void)
{
        return stat_get(&engine->trace.stats, STAT_faults_major);
}

/* ---- the paths: what is counted is run() alone ---- */

static void cached_apart(void)
{
        cache_pages(APART);
}

static void cached(void)
{
        cache_pages(1);
}

/* Of one page, whose neighbours are not cached. */
static void fault_minor(unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                touch(page_of(map, i * APART), false, MMU_FAULT_MINOR);
}

static void fault_store(unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                touch(page_of(map, i * APART), true, MMU_FAULT_MINOR);
}

static void shown(void)
{
        cached_apart();
        fault_minor(PAGES / APART);
}

static void fault_protected(unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                touch(page_of(map, i * APART), true, MMU_FAULT_WP);
}

static void fault_copy(unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                touch(page_of(private, i * APART), true, MMU_FAULT_MINOR);
}

static void fault_anonymous(unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                touch(page_of(anon, i * 2), true, MMU_FAULT_MISSING);
}

static void random_advice(void)
{
        evict_all();
        check(fl_madvise(engine, map, PAGES * PAGE_SIZE, MADV_RANDOM) == 0);
}

static void fault_major(unsigned n)
{
        uint64_t before = major_faults();

        for (unsigned i = 0; i < n; i++)
                touch(page_of(map, i * APART), false, MMU_FAULT_MISSING);
        check(major_faults() - before == n);
}

static void sequential_advice(void)
{
        evict_all();
        check(fl_madvise(engine, map, PAGES * PAGE_SIZE, MADV_SEQUENTIAL) == 0);
}

/* Per page: the faults, the windows and the reads of a program that goes on in order. */
static void scan(unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                if (!fake.shown[i])
                        touch(page_of(map, i), false, MMU_FAULT_MISSING);
}

static void pread_hit(unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                check(fl_pread(file, page, PAGE_SIZE, (off_t)(i * 5 % PAGES) << PAGE_SHIFT) ==
                      (ssize_t)PAGE_SIZE);
}

/* Read before: then no lock is taken. */
static void in_use(void)
{
        cached();
        for (int i = 0; i < 3; i++)
                pread_hit(PAGES);
}

static void nothing_cached(void)
{
        evict_all();
        check(fl_madvise(engine, map, PAGES * PAGE_SIZE, MADV_NORMAL) == 0);
}

/* In descending order: nothing is read ahead. */
static void pread_miss(unsigned n)
{
        for (unsigned i = n; i--;)
                check(fl_pread(file, page, PAGE_SIZE, (off_t)(i * APART) << PAGE_SHIFT) ==
                      (ssize_t)PAGE_SIZE);
}

static void pwrite_hit(unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                check(fl_pwrite(file, page, PAGE_SIZE, (off_t)i << PAGE_SHIFT) ==
                      (ssize_t)PAGE_SIZE);
}

static void dirty_apart(void)
{
        cached_apart();
        fault_store(PAGES / APART);
}

static void msync_apart(unsigned n)
{
        check(atomic_load(&mapping()->nr_dirty) == n);
        all_clean();
}

static void dirty_run(void)
{
        cached();
        for (unsigned i = 0; i < 512; i++)
                touch(page_of(map, i), true, MMU_FAULT_MINOR);
}

static void evict_run(unsigned n)
{
        check(evict_all() == n);
}

static void mapped(void)
{
        cached();
        for (unsigned i = 0; i < PAGES; i += APART)
                touch(page_of(map, i), false, MMU_FAULT_MINOR);
        check(fake.shown[PAGES - 1]);
}

/* What the reclaimer does, until so many pages are gone. */
static void reclaim(unsigned n)
{
        struct page_cache *c = engine->cache;
        unsigned gone = 0;

        mutex_lock(&c->evict_lock);
        while (gone < n)
                gone += shrink_list(c, n - gone < 64 ? n - gone : 64).evicted;
        mutex_unlock(&c->evict_lock);
}

static void find_one(unsigned n)
{
        struct mm *mm = engine->mm;

        rwlock_read_lock(&mm->lock);
        for (unsigned i = 0; i < n; i++) {
                const char *p = small[i * 1031 % MAPS];
                const struct vma *v = find_vma(mm, (uintptr_t)p + PAGE_SIZE);

                check(v && v->vm_start == (uintptr_t)p);
        }
        rwlock_read_unlock(&mm->lock);
}

static void map_unmap(unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                char *p = fl_mmap(engine, NULL, SMALL * PAGE_SIZE, PROT_READ, MAP_SHARED, file, 0);

                check(p != MAP_FAILED);
                check(fl_munmap(engine, p, SMALL * PAGE_SIZE) == 0);
        }
}

static unsigned ended;

static void end_io(struct bio *bio)
{
        ended += bio->bi_status == 0;
}

static void submit(unsigned n, unsigned at_once)
{
        const unsigned sectors = PAGE_SIZE >> SECTOR_SHIFT;
        struct blk_plug plug;

        ended = 0;
        for (unsigned i = 0; i < n; i += at_once) {
                blk_start_plug(&plug);
                for (unsigned k = 0; k < at_once; k++) {
                        struct bio *bio = bio_alloc(queue, IO_READ, k * sectors,
                                                    page + k * PAGE_SIZE, PAGE_SIZE);

                        bio->bi_end_io = end_io;
                        submit_bio(bio, &plug);
                }
                blk_finish_plug(&plug);
        }
        check(ended == n);
}

static void bio_alone(unsigned n)
{
        submit(n, 1);
}

static void bio_merged(unsigned n)
{
        submit(n, BIOS);
}

static const struct path {
        const char *name;
        void (*prepare)(void);
        void (*run)(unsigned n);
        unsigned n;
        void (*after)(void);
} paths[] = {
        { "find_vma", NULL, find_one, 1024, NULL },
        { "map_unmap", NULL, map_unmap, 64, NULL },
        { "fault_minor", cached_apart, fault_minor, PAGES / APART, NULL },
        { "fault_minor_around", cached, fault_minor, PAGES / APART, NULL },
        { "fault_store", cached_apart, fault_store, PAGES / APART, all_clean },
        { "fault_protected", shown, fault_protected, PAGES / APART, all_clean },
        { "fault_copy", cached_apart, fault_copy, PAGES / APART, NULL },
        { "fault_anonymous", NULL, fault_anonymous, 256, NULL },
        { "fault_major", random_advice, fault_major, PAGES / APART, NULL },
        { "scan_page", sequential_advice, scan, PAGES, NULL },
        { "pread_first", cached, pread_hit, 1024, NULL },
        { "pread_hit", in_use, pread_hit, 1024, NULL },
        { "pread_miss", nothing_cached, pread_miss, PAGES / APART, NULL },
        { "pwrite_hit", cached, pwrite_hit, 256, all_clean },
        { "msync_apart", dirty_apart, msync_apart, PAGES / APART, NULL },
        { "msync_run", dirty_run, msync_apart, 512, NULL },
        { "evict_unmapped", cached, evict_run, PAGES, NULL },
        { "evict_mapped", mapped, evict_run, PAGES, NULL },
        { "reclaim_mapped", mapped, reclaim, PAGES / 2, NULL },
        { "bio_alone", NULL, bio_alone, 1024, NULL },
        { "bio_merged", NULL, bio_merged, 1024, NULL },
};

static void measure(const struct path *p)
{
        char name[64];

        if (p->prepare)
                p->prepare();
        snprintf(name, sizeof name, "%s %u", p->name, p->n);
        CALLGRIND_ZERO_STATS;
        CALLGRIND_TOGGLE_COLLECT;
        p->run(p->n);
        CALLGRIND_TOGGLE_COLLECT;
        CALLGRIND_DUMP_STATS_AT(name);
        if (p->after)
                p->after();
}

/* Always at the same addresses, of which much depends: what a fault maps around it, tables, the tree. */
static char *map_file(int flags, uint64_t pages, struct fl_file *f)
{
        static uintptr_t next = 1ull << 38;
        void *p = fl_mmap(engine, (void *)next, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
                          flags | MAP_FIXED_NOREPLACE, f, 0);

        check(p == (void *)next);
        next += round_up_u64(pages * PAGE_SIZE + 1, TABLE_SPAN);
        return p;
}

static void set_up(void)
{
        struct fl_engine_config config = {
                .size = sizeof config,
                .cache = CACHE,
                .mmu = "sigsegv", /* needs nothing, and gives way to the fake */
                .policy = "linux",
        };
        struct device *ram;

        engine = fl_engine_open(&config);
        check(engine);
        real = engine->mm->mmu;
        engine->mm->mmu = &fake.mmu;
        file = fl_file_open(engine, "ram:16M", O_RDWR, NULL);
        other = fl_file_open(engine, "ram:16M", O_RDWR, NULL);
        check(file && other && other->file->mapping != mapping());
        map = map_file(MAP_SHARED, PAGES, file);
        fake.base = (uintptr_t)map;
        private = map_file(MAP_PRIVATE, PAGES, file);
        anon = map_file(MAP_PRIVATE | MAP_ANONYMOUS, PAGES, NULL);
        for (unsigned i = 0; i < MAPS; i++)
                small[i] = map_file(i & 1 ? MAP_SHARED : MAP_PRIVATE, SMALL, other);
        check(device_open_ram(&engine->drivers, 1 << 20, &ram) == 0);
        check(block_pool_create(&pool, 64) == 0);
        check(blk_queue_create(&queue, ram, pool, &engine->trace) == 0);
}

static void tear_down(void)
{
        blk_queue_destroy(queue);
        block_pool_destroy(pool);
        check(fl_munmap(engine, map, PAGES * PAGE_SIZE) == 0);
        check(fl_munmap(engine, private, PAGES * PAGE_SIZE) == 0);
        check(fl_munmap(engine, anon, PAGES * PAGE_SIZE) == 0);
        for (unsigned i = 0; i < MAPS; i++)
                check(fl_munmap(engine, small[i], SMALL * PAGE_SIZE) == 0);
        check(fl_file_close(file) == 0 && fl_file_close(other) == 0);
        engine->mm->mmu = real;
        check(fl_engine_close(engine) == 0);
}

int main(void)
{
        set_up();
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
                measure(&paths[i]);
        tear_down();
        return 0;
}
