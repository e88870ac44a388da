/* SPDX-License-Identifier: Apache-2.0
 *
 * shmem.c - see shmem.h. Linux's name for the same.
 */
#include "fs/shmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/swapfile.h"
#include "fs/inode.h"
#include "util/radix.h"

#define ENTRY_SHIFT 2
#define HOLDS (1u << 31)
#define SLOT_SECTORS (PAGE_SIZE >> SECTOR_SHIFT)

struct shmem_entry {
        _Atomic uint32_t value; /* shmem.h says whose it is to change */
};
_Static_assert(sizeof(struct shmem_entry) == 1 << ENTRY_SHIFT, "1024 entries a leaf");

struct shmem {
        struct super_block sb;
        struct swap_area *area;    /* (c) NULL: none */
        struct table_pool *tables; /* (c) */
        uint64_t next_ino;         /* [env] */
        _Atomic int64_t pages, slots;
};

struct shmem_inode {
        struct inode inode;
        struct radix map; /* page -> entry */
};

static struct shmem *to_shmem(struct super_block *sb)
{
        return container_of(sb, struct shmem, sb);
}

static struct radix *map_of(struct inode *inode)
{
        return &container_of(inode, struct shmem_inode, inode)->map;
}

/* ---- entries ---- */

static uint32_t slot_of(uint32_t entry)
{
        return entry & ~HOLDS;
}

static uint32_t get_entry(struct inode *inode, uint64_t index)
{
        struct shmem_entry *e = radix_get(map_of(inode), index, false);
        uint32_t value = e ? atomic_load(&e->value) : 0;

        if (e)
                radix_put(map_of(inode), e);
        return value;
}

/* => pinned */
static void change_entry(struct inode *inode, struct shmem_entry *e, uint32_t value)
{
        struct shmem *fs = to_shmem(inode->i_sb);
        uint32_t old = atomic_exchange(&e->value, value);

        if (!old && value)
                radix_use(map_of(inode), e);
        else if (old && !value)
                radix_unuse(map_of(inode), e);
        atomic_fetch_add(&fs->pages, (int)(value >> 31) - (int)(old >> 31));
        atomic_fetch_add(&fs->slots, (slot_of(value) != 0) - (slot_of(old) != 0));
        if (slot_of(old))
                swap_put(fs->area, slot_of(old), 1);
}

/* False: no memory for the table. */
static bool set_entry(struct inode *inode, uint64_t index, uint32_t value)
{
        struct shmem_entry *e = radix_get(map_of(inode), index, value != 0);

        if (!e)
                return value == 0;
        change_entry(inode, e, value);
        radix_put(map_of(inode), e);
        return true;
}

uint64_t shmem_next(struct inode *inode, uint64_t index, uint64_t end)
{
        struct radix *map = map_of(inode);
        struct shmem_entry *e;
        uint64_t stop;

        while ((e = radix_next_part(map, &index, end, &stop))) {
                struct shmem_entry *leaf = e;

                while (index < stop && !atomic_load(&e->value))
                        index++, e++;
                radix_put(map, leaf);
                if (index < stop)
                        return index;
        }
        return end;
}

uint32_t shmem_row(struct inode *inode, uint64_t index, uint64_t end)
{
        uint32_t slot = slot_of(get_entry(inode, index)), nr = slot ? 1 : 0;

        while (nr && index + nr < end && slot_of(get_entry(inode, index + nr)) == slot + nr)
                nr++;
        return nr;
}

bool shmem_holds(struct inode *inode, uint64_t index)
{
        return get_entry(inode, index) != 0;
}

int64_t shmem_pages(struct super_block *sb)
{
        return atomic_load(&to_shmem(sb)->pages);
}

int64_t shmem_slots(struct super_block *sb)
{
        return atomic_load(&to_shmem(sb)->slots);
}

uint32_t shmem_room(struct super_block *sb)
{
        struct swap_area *area = to_shmem(sb)->area;

        return area && !atomic_load(&area->broken) ? swap_free(area) : 0;
}

/* ---- address_space_operations ---- */

static void read_done(struct fs_run *run)
{
        struct stats *s = &run->inode->i_sb->env->trace->stats;
        uint64_t nr = 0;

        if (!run->error && run->valid < fs_run_bytes(run))
                run->error = -EIO; /* the area has been cut short */
        for (uint32_t i = 0; !run->error && i < run->nr_pages; i++)
                nr += slot_of(get_entry(run->inode, run->index + i)) != 0;
        if (nr)
                stat_add(s, STAT_swap_ins, nr);
}

/* Zeros, or a row of slots. Pages; 0: an error. */
static uint32_t read_row(struct fs_run *run, uint32_t n, struct blk_plug *plug)
{
        struct swap_area *area = to_shmem(run->inode->i_sb)->area;
        uint64_t index = run->index + n;
        uint32_t entry = get_entry(run->inode, index), nr, offset = n << PAGE_SHIFT;

        if (!entry) {
                memset(run->buf + offset, 0, PAGE_SIZE);
                return 1;
        }
        nr = shmem_row(run->inode, index, run->index + run->nr_pages);
        if (nr == 0) { /* its bytes should be in memory */
                fs_run_error(run, -EIO);
                return 0;
        }
        return fs_run_bio(run, area->q, (uint64_t)slot_of(entry) * SLOT_SECTORS, offset,
                          nr << PAGE_SHIFT, plug)
                       ? 0
                       : nr;
}

static void shmem_readahead(struct fs_run *run, struct blk_plug *plug)
{
        uint32_t n = 0, nr;

        fs_run_begin(run);
        run->done = read_done;
        while (n < run->nr_pages && (nr = read_row(run, n, plug)))
                n += nr;
        fs_run_end(run);
}

static void write_done(struct fs_run *run)
{
        /* No slot to be had is not the area's failure. */
        if (run->error != -ENOSPC)
                swap_count_write(to_shmem(run->inode->i_sb)->area, run->error);
}

/* Slots for pages of the run from n on, and their write. Pages; 0: an error. */
static uint32_t write_row(struct fs_run *run, uint32_t n, struct blk_plug *plug)
{
        struct swap_area *area = to_shmem(run->inode->i_sb)->area;
        uint32_t nr = run->nr_pages - n, slot = area ? swap_alloc(area, &nr) : 0;

        if (!slot) {
                fs_run_error(run, -ENOSPC);
                return 0;
        }
        for (uint32_t i = 0; i < nr; i++)
                set_entry(run->inode, run->index + n + i, HOLDS | (slot + i)); /* it is there */
        return fs_run_bio(run, area->q, (uint64_t)slot * SLOT_SECTORS, n << PAGE_SHIFT,
                          nr << PAGE_SHIFT, plug)
                       ? 0
                       : nr;
}

static void shmem_writepages(struct fs_run *run, struct blk_plug *plug)
{
        uint32_t n = 0, nr;

        fs_run_begin(run);
        run->done = write_done;
        /* From a write that failed, or that was overtaken by a store. */
        for (uint32_t i = 0; i < run->nr_pages; i++)
                set_entry(run->inode, run->index + i, HOLDS);
        while (n < run->nr_pages && (nr = write_row(run, n, plug)))
                n += nr;
        fs_run_end(run);
}

/* A clean page becomes dirty: what is in its slot is old. */
static int shmem_write_begin(struct inode *inode, uint64_t pos, uint64_t len)
{
        for (uint64_t i = pos >> PAGE_SHIFT; i < pages_of(pos + len); i++)
                if (!set_entry(inode, i, HOLDS))
                        return -ENOMEM;
        return 0;
}

static void shmem_freepage(struct inode *inode, uint64_t index)
{
        set_entry(inode, index, 0);
}

static int64_t shmem_bmap(struct inode *inode, uint64_t index)
{
        return (int64_t)slot_of(get_entry(inode, index)) * SLOT_SECTORS;
}

/* ---- inode_operations ---- */

static int shmem_fsync(struct inode *inode, bool datasync)
{
        (void)inode, (void)datasync;
        return 0; /* there is nowhere that it could last */
}

static void shmem_getattr(struct inode *inode, struct stat *st)
{
        *st = (struct stat){
                .st_dev = inode->i_dev,
                .st_ino = inode->i_ino,
                .st_mode = S_IFREG | 0600,
                .st_size = (off_t)atomic_load(&inode->i_size),
                .st_blksize = PAGE_SIZE,
        };
}

/* ---- super block, files ---- */

static void shmem_evict_inode(struct inode *inode)
{
        struct radix *map = map_of(inode);
        uint64_t end = pages_of(atomic_load(&inode->i_size));

        for (uint64_t i = 0; (i = shmem_next(inode, i, end)) < end; i++)
                set_entry(inode, i, 0);
        radix_destroy(map);
        free(container_of(inode, struct shmem_inode, inode));
}

static void shmem_put_super(struct super_block *sb)
{
        free(to_shmem(sb));
}

static const struct super_operations shmem_super_ops;
static const struct inode_operations shmem_inode_ops;
static const struct address_space_operations shmem_aops;
static const struct file_operations shmem_file_ops;

int shmem_mount(struct fs_env *env, struct swap_area *area, struct table_pool *tables,
                struct super_block **out)
{
        struct shmem *fs = calloc(1, sizeof *fs);

        if (!fs)
                return -ENOMEM;
        fs->sb.s_op = &shmem_super_ops;
        fs->sb.type = "shmem";
        fs->sb.env = env;
        fs->area = area;
        fs->tables = tables;
        mutex_lock(&env->lock);
        super_insert_locked(env, &fs->sb);
        mutex_unlock(&env->lock);
        *out = &fs->sb;
        return 0;
}

int shmem_new_inode(struct super_block *sb, uint64_t size, struct inode **out)
{
        struct shmem_inode *s = calloc(1, sizeof *s);
        struct inode *inode = &s->inode;

        if (!s)
                return -ENOMEM;
        radix_init(&s->map, to_shmem(sb)->tables, ENTRY_SHIFT);
        inode->i_op = &shmem_inode_ops;
        inode->a_ops = &shmem_aops;
        inode->f_op = &shmem_file_ops;
        inode->i_sb = sb;
        inode->i_dev = I_DEV_MEMFS | (uintptr_t)sb;
        inode->i_size = size;
        inode->writable = true;
        mutex_lock(&sb->env->lock);
        inode->i_ino = ++to_shmem(sb)->next_ino;
        inode_insert_locked(sb->env, inode, "shared anonymous memory");
        mutex_unlock(&sb->env->lock);
        *out = inode;
        return 0;
}

#ifndef NDEBUG
void shmem_count(struct inode *inode, int64_t *pages, int64_t *slots)
{
        uint64_t end = pages_of(atomic_load(&inode->i_size));

        for (uint64_t i = 0; (i = shmem_next(inode, i, end)) < end; i++) {
                ++*pages;
                *slots += slot_of(get_entry(inode, i)) != 0;
        }
}
#endif

static const struct super_operations shmem_super_ops = {
        .evict_inode = shmem_evict_inode,
        .put_super = shmem_put_super,
};

static const struct inode_operations shmem_inode_ops = {
        .fsync = shmem_fsync,
        .getattr = shmem_getattr,
};

static const struct address_space_operations shmem_aops = {
        .readahead = shmem_readahead,
        .writepages = shmem_writepages,
        .write_begin = shmem_write_begin,
        .freepage = shmem_freepage,
        .bmap = shmem_bmap,
        .swap_backed = true,
        .signal_safe = true,
};

static const struct file_operations shmem_file_ops = {
        .map = generic_file_map,
};
