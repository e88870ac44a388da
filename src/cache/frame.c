/* SPDX-License-Identifier: Apache-2.0
 *
 * frame.c - frames in a memfd, and the staging pool. See frame.h.
 */
#include "cache/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_BYTES (UINT64_C(2) << 20)

struct memfd {
        struct frames frames;
        int fd;
};

static int memfd_of(struct frames *f)
{
        return container_of(f, struct memfd, frames)->fd;
}

/* Who makes a file so long, or writes behind that, is sent SIGXFSZ, which ends the program. */
static bool beyond_limit(uint64_t bytes)
{
        struct rlimit limit;

        return !getrlimit(RLIMIT_FSIZE, &limit) && bytes > limit.rlim_cur;
}

static int memfd_resize(struct frames *f, uint64_t size)
{
        uint64_t bytes = pages_of(size) << PAGE_SHIFT;
        struct stat st;
        int error;

        /* Shorter it must become: a fault between the two ends would never end. */
        if (beyond_limit(bytes) && (fstat(memfd_of(f), &st) || bytes > (uint64_t)st.st_size))
                return -EFBIG;
        error = frame_map_close(&f->map, bytes);
        if (!error && ftruncate(memfd_of(f), (off_t)bytes) < 0)
                error = -errno;
        return error;
}

/* fd: becomes the frames'; or -errno. */
static int create(struct frames **out, const struct frame_ops *ops, int fd, uint64_t size)
{
        struct memfd *m = fd < 0 ? NULL : calloc(1, sizeof(*m));
        int error;

        if (!m) {
                if (fd >= 0)
                        close(fd);
                return fd < 0 ? fd : -ENOMEM;
        }
        m->frames.ops = ops;
        m->fd = fd;
        error = memfd_resize(&m->frames, size);
        if (error) {
                close(m->fd);
                free(m);
                return error;
        }
        *out = &m->frames;
        return 0;
}

static int memfd_create_frames(struct frames **out, uint64_t size)
{
        int fd = memfd_create("faultline", MFD_CLOEXEC);

        return create(out, &memfd_frames, fd < 0 ? -errno : fd, size);
}

static void memfd_destroy(struct frames *f)
{
        struct memfd *m = container_of(f, struct memfd, frames);

        frame_map_destroy(&f->map);
        close(m->fd);
        free(m);
}

/* Moves all of len or fails. */
static int transfer(bool in, int fd, char *buf, size_t len, uint64_t pos)
{
        while (len) {
                ssize_t n;

                if (in && beyond_limit(pos + 1)) /* what reaches beyond it is cut there */
                        return -EFBIG;
                n = in ? pwrite(fd, buf, len, (off_t)pos) : pread(fd, buf, len, (off_t)pos);
                if (n < 0 && (errno == EINTR || errno == EAGAIN))
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -EIO; /* beyond the memfd's end: its size and the file's differ */
                buf += n;
                pos += (uint64_t)n;
                len -= (size_t)n;
        }
        return 0;
}

static int memfd_copy_in(struct frames *f, uint64_t pos, const void *buf, size_t len)
{
        return transfer(true, memfd_of(f), (char *)buf, len, pos);
}

static int memfd_copy_out(struct frames *f, uint64_t pos, void *buf, size_t len)
{
        return transfer(false, memfd_of(f), buf, len, pos);
}

static int memfd_fill(struct frames *f, uint64_t index, const void *buf, uint64_t nr)
{
        return memfd_copy_in(f, index << PAGE_SHIFT, buf, nr << PAGE_SHIFT);
}

static int memfd_release(struct frames *f, uint64_t index, uint64_t nr)
{
        int r;

        do {
                r = fallocate(memfd_of(f), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              (off_t)(index << PAGE_SHIFT), (off_t)(nr << PAGE_SHIFT));
        } while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : 0;
}

/* ---- folios ---- */

#define FOLIO_PAGES (HUGE_BYTES >> PAGE_SHIFT)

/* A file in a tmpfs of its own, which nobody has a name for, and which is gone with it. */
static int folio_file(void)
{
        int fs = fsopen("tmpfs", FSOPEN_CLOEXEC), mount = -1, fd = -1, error;

        if (fs < 0)
                return -errno;
        if (!fsconfig(fs, FSCONFIG_SET_STRING, "huge", "advise", 0) &&
            !fsconfig(fs, FSCONFIG_SET_STRING, "size", "0", 0) &&
            !fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
                mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
        if (mount >= 0)
                fd = openat(mount, "faultline", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        error = fd < 0 ? -errno : 0;
        if (fd >= 0)
                unlinkat(mount, "faultline", 0);
        if (mount >= 0)
                close(mount);
        close(fs);
        return error ? error : fd;
}

static int folio_create_frames(struct frames **out, uint64_t size)
{
        return create(out, &folio_frames, folio_file(), size);
}

/* A huge page is what the kernel makes in a mapping that is advised so; what is written otherwise comes in
 * single pages. Nothing is stored through it: a file that is cut short meanwhile would be a signal. If there is
 * none, nothing has been done, or some of it, and the rest will be single pages. */
static void make_whole(int fd, uint64_t index)
{
        char *p = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                       (off_t)(index << PAGE_SHIFT));

        if (p == MAP_FAILED)
                return;
        if (!madvise(p, HUGE_BYTES, MADV_HUGEPAGE) && !madvise(p, HUGE_BYTES, MADV_DONTFORK))
                madvise(p, HUGE_BYTES, MADV_POPULATE_WRITE);
        munmap(p, HUGE_BYTES);
}

static int folio_fill(struct frames *f, uint64_t index, const void *buf, uint64_t nr)
{
        if (nr == FOLIO_PAGES && index % FOLIO_PAGES == 0)
                make_whole(memfd_of(f), index);
        return memfd_copy_in(f, index << PAGE_SHIFT, buf, nr << PAGE_SHIFT);
}

const struct frame_ops folio_frames = {
        .name = "folios",
        .create = folio_create_frames,
        .destroy = memfd_destroy,
        .fill = folio_fill,
        .copy_out = memfd_copy_out,
        .copy_in = memfd_copy_in,
        .release = memfd_release,
        .resize = memfd_resize,
        .fd = memfd_of,
        .folio = FOLIO_PAGES,
};

const struct frame_ops memfd_frames = {
        .name = "memfd",
        .create = memfd_create_frames,
        .destroy = memfd_destroy,
        .fill = memfd_fill,
        .copy_out = memfd_copy_out,
        .copy_in = memfd_copy_in,
        .release = memfd_release,
        .resize = memfd_resize,
        .fd = memfd_of,
};

#define WORD_BITS 64u

/* Memory that begins where a huge page does, or NULL. */
static char *map_aligned(size_t bytes)
{
        size_t all = bytes + HUGE_BYTES;
        char *p = mmap(NULL, all, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        size_t front;

        if (p == MAP_FAILED)
                return NULL;
        front = (size_t)(round_up_u64((uintptr_t)p, HUGE_BYTES) - (uintptr_t)p);
        if (front)
                munmap(p, front);
        munmap(p + front + bytes, all - front - bytes);
        return p + front;
}

int staging_init(struct staging *s, unsigned pages)
{
        size_t bytes = (size_t)pages << PAGE_SHIFT;

        memset(s, 0, sizeof(*s));
        mutex_init(&s->lock, LOCK_STAGING);
        waitq_init(&s->wq);
        s->pages = pages;
        s->base = map_aligned(bytes);
        if (!s->base)
                return -ENOMEM;
        /* A device is told where each page of a buffer lies that is none of a huge one, which halves what
         * a virtual disk gives, and cuts a read of 1 MiB in two. (Refused where there are none.) */
        madvise(s->base, bytes, MADV_HUGEPAGE);
        /* A forked child must not share buffers that a device writes into. */
        madvise(s->base, bytes, MADV_DONTFORK);
        madvise(s->base, bytes, MADV_DONTDUMP);
        s->bitmap = calloc((pages + WORD_BITS - 1) / WORD_BITS, sizeof(*s->bitmap));
        return s->bitmap ? 0 : -ENOMEM;
}

void staging_destroy(struct staging *s)
{
        if (s->base)
                munmap(s->base, (size_t)s->pages << PAGE_SHIFT);
        free(s->bitmap);
        s->base = NULL;
        s->bitmap = NULL;
}

static bool taken(const struct staging *s, unsigned i)
{
        return s->bitmap[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

static void mark(struct staging *s, unsigned from, unsigned nr, bool on)
{
        for (unsigned i = from; i < from + nr; i++) {
                if (on)
                        s->bitmap[i / WORD_BITS] |= 1ull << (i % WORD_BITS);
                else
                        s->bitmap[i / WORD_BITS] &= ~(1ull << (i % WORD_BITS));
        }
}

/* => s->lock held. The lowest run of `want` pages, or else the longest there is. */
static unsigned find_run(const struct staging *s, unsigned want, unsigned *start)
{
        unsigned best = 0, run = 0;

        mutex_assert_held(&s->lock);
        for (unsigned i = 0; i < s->pages; i++) {
                if (run == 0 && i % WORD_BITS == 0 && s->bitmap[i / WORD_BITS] == ~0ull) {
                        i += WORD_BITS - 1;
                        continue;
                }
                run = taken(s, i) ? 0 : run + 1;
                if (run > best) {
                        best = run;
                        *start = i + 1 - run;
                        if (best == want)
                                break;
                }
        }
        return best;
}

/* => s->lock held. Pages that this kind of I/O may still take. */
static unsigned room(const struct staging *s, bool write)
{
        unsigned left = s->pages - s->in_use;

        mutex_assert_held(&s->lock);
        if (write)
                return left < s->pages / 2 - s->writing ? left : s->pages / 2 - s->writing;
        return left;
}

char *staging_get(struct staging *s, unsigned *nr, bool write)
{
        unsigned start = 0, got;

        mutex_lock(&s->lock);
        got = *nr < room(s, write) ? *nr : room(s, write);
        if (got)
                got = find_run(s, got, &start);
        if (got) {
                mark(s, start, got, true);
                s->in_use += got;
                if (write)
                        s->writing += got;
        }
        mutex_unlock(&s->lock);
        *nr = got;
        return got ? s->base + ((size_t)start << PAGE_SHIFT) : NULL;
}

void staging_put(struct staging *s, char *buf, unsigned nr, bool write)
{
        unsigned start = (unsigned)((size_t)(buf - s->base) >> PAGE_SHIFT);

        mutex_lock(&s->lock);
        mark(s, start, nr, false);
        s->in_use -= nr;
        if (write)
                s->writing -= nr;
        mutex_unlock(&s->lock);
        waitq_wake(&s->wq, NULL);
}

bool staging_available(struct staging *s, bool write)
{
        bool yes;

        mutex_lock(&s->lock);
        yes = room(s, write) > 0;
        mutex_unlock(&s->lock);
        return yes;
}

bool staging_in_use(struct staging *s)
{
        bool yes;

        mutex_lock(&s->lock);
        yes = s->in_use > 0;
        mutex_unlock(&s->lock);
        return yes;
}
