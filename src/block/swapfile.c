/* SPDX-License-Identifier: Apache-2.0
 *
 * swapfile.c - see swapfile.h. Slots are given out next-fit, in rows, so that what is written
 * together lies together and comes back in one read.
 */
#include "block/swapfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/quantity.h"
#include "util/say.h"
#include "util/text.h"

#define MAGIC "faultline swap 1\n"
#define MAX_WRITE_ERRORS 3
#define MIN_BYTES (64 * PAGE_SIZE)
#define MAX_SLOTS (1u << 30) /* 4 TiB */

/* --- slots -------------------------------------------------------------------------------- */

/* Free slots in a row from `slot` on, at most max. => lock */
static uint32_t free_row(const struct swap_area *a, uint32_t slot, uint32_t max)
{
        uint32_t n = 0;

        while (n < max && slot + n < a->slots && !a->users[slot + n])
                n++;
        return n;
}

/* The next row of `want`, or the longest one before `end` that is shorter. => lock */
static uint32_t find_row(const struct swap_area *a, uint32_t from, uint32_t end, uint32_t want,
                         uint32_t *nr)
{
        uint32_t best = 0;

        while (from < end) {
                uint32_t n = free_row(a, from, want);

                if (n > *nr) {
                        *nr = n;
                        best = from;
                        if (n == want)
                                break;
                }
                from += n + 1;
        }
        return best;
}

uint32_t swap_alloc(struct swap_area *a, uint32_t *nr)
{
        uint32_t want = *nr, slot = 0, behind;

        *nr = 0;
        if (swap_free(a) == 0 || atomic_load(&a->broken))
                return 0;
        mutex_lock(&a->lock);
        slot = find_row(a, a->next, a->slots, want, nr);
        if (*nr < want && (behind = find_row(a, 1, a->next, want, nr)))
                slot = behind;
        if (*nr) {
                memset(a->users + slot, 1, *nr);
                atomic_fetch_add(&a->in_use, *nr);
                a->next = slot + *nr < a->slots ? slot + *nr : 1;
        }
        mutex_unlock(&a->lock);
        return slot;
}

void swap_get(struct swap_area *a, uint32_t slot, uint32_t nr)
{
        mutex_lock(&a->lock);
        for (uint32_t i = slot; i < slot + nr; i++) {
                assert(a->users[i] > 0 && a->users[i] < UINT8_MAX);
                a->users[i]++;
        }
        mutex_unlock(&a->lock);
}

bool swap_share(struct swap_area *a, uint32_t slot)
{
        bool yes;

        mutex_lock(&a->lock);
        yes = a->users[slot] < UINT8_MAX / 2; /* the rest is for I/O */
        if (yes)
                a->users[slot]++;
        mutex_unlock(&a->lock);
        return yes;
}

void swap_put(struct swap_area *a, uint32_t slot, uint32_t nr)
{
        mutex_lock(&a->lock);
        for (uint32_t i = slot; i < slot + nr; i++) {
                assert(i > 0 && i < a->slots && a->users[i] > 0);
                if (--a->users[i] == 0)
                        atomic_fetch_sub(&a->in_use, 1);
        }
        mutex_unlock(&a->lock);
}

/* --- I/O ---------------------------------------------------------------------------------- */

void swap_count_write(struct swap_area *a, int error)
{
        bool whole = false;

        if (!error)
                atomic_store(&a->errors, 0);
        else if (atomic_fetch_add(&a->errors, 1) + 1 >= MAX_WRITE_ERRORS &&
                 atomic_compare_exchange_strong(&a->broken, &whole, true))
                say("faultline: %s: writing to the swap area: %s: not used any more", a->name,
                    strerrordesc_np(-error));
}

static void transfer_end(struct bio *bio)
{
        struct swap_transfer *t = bio->bi_private;

        t->error = bio->bi_status;
        if (!t->error && bio->bi_done < bio->bi_size)
                t->error = -EIO; /* it has been cut short */
        if ((bio->bi_opf & REQ_OP_MASK) == IO_WRITE)
                swap_count_write(t->area, t->error);
        t->end(t);
}

void swap_submit(struct swap_transfer *t, uint32_t opf, struct blk_plug *plug)
{
        uint64_t sector = (uint64_t)t->slot << (PAGE_SHIFT - SECTOR_SHIFT);
        struct bio *bio = bio_alloc(t->area->q, opf, sector, t->buf, t->nr << PAGE_SHIFT);

        if (!bio && plug) { /* perhaps many are in our own plug: let those go */
                blk_finish_plug(plug);
                blk_start_plug(plug);
                bio = bio_alloc(t->area->q, opf, sector, t->buf, t->nr << PAGE_SHIFT);
        }
        if (!bio) {
                t->error = -ENOMEM;
                t->end(t);
                return;
        }
        bio->bi_end_io = transfer_end;
        bio->bi_private = t;
        bio->bi_fault = t->fault;
        submit_bio(bio, plug);
}

/* --- opening ------------------------------------------------------------------------------ */

struct opening {
        char path[PATH_MAX];
        uint64_t size; /* 0: none given */
        int fd;
        struct stat st;
        bool fresh; /* no header yet */
        const char *why;
};

/* PATH[:SIZE]: what follows the last colon, if it is a size. */
static int parse_spec(struct opening *o, const char *spec)
{
        const char *colon = strrchr(spec, ':');
        size_t len =
                colon && parse_size(colon + 1, &o->size) ? (size_t)(colon - spec) : strlen(spec);

        if (len == strlen(spec))
                o->size = 0;
        o->why = "not of the form PATH[:SIZE]";
        if (len == 0 || len >= sizeof(o->path) || (len < strlen(spec) && o->size == 0))
                return -EINVAL;
        memcpy(o->path, spec, len);
        o->path[len] = 0;
        o->why = NULL;
        return 0;
}

/* May it be written over? */
static int check_contents(struct opening *o)
{
        static const char zeros[PAGE_SIZE];
        char page[PAGE_SIZE] = { 0 };
        ssize_t n = pread(o->fd, page, sizeof(page), 0);

        if (n < 0)
                return -errno;
        if (n == (ssize_t)sizeof(page) && !memcmp(page, MAGIC, strlen(MAGIC)))
                return 0;
        o->fresh = true;
        if (n == 0 || (S_ISBLK(o->st.st_mode) && !memcmp(page, zeros, sizeof(page))))
                return 0;
        o->why = "it is not empty, and has not been a swap area: it would be overwritten";
        return -EEXIST;
}

static int make_size(struct opening *o)
{
        uint64_t has = (uint64_t)o->st.st_size;
        off_t end;

        if (S_ISBLK(o->st.st_mode)) {
                end = lseek(o->fd, 0, SEEK_END);
                has = end > 0 ? (uint64_t)end : 0;
                o->size = o->size && o->size < has ? o->size : has;
                return o->size < MIN_BYTES ? -EINVAL : 0;
        }
        if (!o->size)
                o->size = has;
        if (!o->size) {
                o->why = "it is new, and no size is given: PATH:SIZE";
                return -EINVAL;
        }
        o->size = round_down_u64(o->size, PAGE_SIZE);
        if (o->size < MIN_BYTES) {
                o->why = "a swap area has at least 64 pages (256K)";
                return -EINVAL;
        }
        if (o->size == has)
                return 0;
        if (o->size < has)
                return ftruncate(o->fd, (off_t)o->size) ? -errno : 0;
        /* Space that is there now cannot be missing when a page has to go. */
        if (fallocate(o->fd, 0, 0, (off_t)o->size) == 0)
                return 0;
        if (errno != EOPNOTSUPP)
                return -errno;
        return ftruncate(o->fd, (off_t)o->size) ? -errno : 0;
}

static int write_header(struct opening *o)
{
        char page[PAGE_SIZE] = MAGIC;
        ssize_t n;

        if (!o->fresh)
                return 0;
        n = pwrite(o->fd, page, sizeof(page), 0);
        if (n < 0)
                return -errno;
        return n == (ssize_t)sizeof(page) ? 0
                                          : -ENOSPC; /* cut short: why, is told by the next only */
}

static int open_host_file(struct opening *o)
{
        bool made = false;
        int error = 0;

        o->fd = open(o->path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (o->fd < 0 && errno == ENOENT && o->size) {
                o->fd = open(o->path, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, 0600);
                made = o->fd >= 0;
        }
        if (o->fd < 0)
                return -errno;
        if (fstat(o->fd, &o->st))
                error = -errno;
        else if (!S_ISREG(o->st.st_mode) && !S_ISBLK(o->st.st_mode))
                error = -EINVAL, o->why = "neither a file nor a block device";
        else if (flock(o->fd, LOCK_EX | LOCK_NB))
                error = -EBUSY, o->why = "another engine uses it";
        if (!error)
                error = check_contents(o);
        if (!error)
                error = make_size(o);
        if (!error)
                error = write_header(o);
        if (error && made)
                unlink(o->path);
        return error;
}

static int open_device(struct opening *o, struct driver_env *drivers, struct device **dev)
{
        char link[32];
        int error;

        if (strcmp(o->path, "ram") == 0)
                return o->size < MIN_BYTES ? -EINVAL : device_open_ram(drivers, o->size, dev);
        error = open_host_file(o);
        if (error)
                return error;
        snprintf(link, sizeof(link), "/proc/self/fd/%d", o->fd);
        error = device_open_file(drivers, link, O_RDWR, dev);
        return error == -ENOENT ? device_open_file(drivers, o->path, O_RDWR, dev) : error;
}

static int make_area(struct swap_area *a, struct opening *o, struct device *dev,
                     struct block_pool *pool)
{
        int error;

        mutex_init(&a->lock, LOCK_SWAP);
        a->slots = (uint32_t)min_u64(o->size >> PAGE_SHIFT, MAX_SLOTS);
        a->next = 1;
        a->users = calloc(a->slots, 1);
        error = a->users ? blk_queue_create(&a->q, dev, pool, a->trace) : -ENOMEM;
        if (error)
                free(a->users);
        return error;
}

/* The end of the path, if it is long. */
static void name_area(struct swap_area *a, const char *path)
{
        size_t len = strlen(path), room = sizeof(a->name) - 1;

        strcpy(a->name, len > room ? path + len - room : path);
        text_one_line(a->name);
}

int swap_area_open(struct swap_area **out, struct driver_env *drivers, struct block_pool *pool,
                   struct trace *trace, const char *spec, const char **why)
{
        struct swap_area *a = calloc(1, sizeof(*a));
        struct opening o = { .fd = -1 };
        struct device *dev = NULL;
        int error = a ? parse_spec(&o, spec) : -ENOMEM;

        if (!error)
                error = open_device(&o, drivers, &dev);
        if (!error) {
                a->trace = trace;
                name_area(a, o.path);
                error = make_area(a, &o, dev, pool);
        }
        *why = o.why;
        if (!error) {
                a->fd = o.fd;
                *out = a;
                return 0;
        }
        if (dev)
                device_close(dev);
        if (o.fd >= 0)
                close(o.fd);
        free(a);
        return error;
}

void swap_area_close(struct swap_area *a)
{
        blk_queue_destroy(a->q);
        if (a->fd >= 0)
                close(a->fd);
        free(a->users);
        free(a);
}
