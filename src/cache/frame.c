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
#include <sys/resource.h>
#include <unistd.h>

struct memfd {
        struct frames frames;
        int fd;
};

static int memfd_of(struct frames *f)
{
        return container_of(f, struct memfd, frames)->fd;
}

static int memfd_resize(struct frames *f, uint64_t size)
{
        uint64_t bytes = pages_of(size) << PAGE_SHIFT;
        struct rlimit limit;
        int error;

        /* The kernel would send SIGXFSZ, which ends the program. */
        if (!getrlimit(RLIMIT_FSIZE, &limit) && bytes > limit.rlim_cur)
                return -EFBIG;
        error = frame_map_close(&f->map, bytes);
        if (!error && ftruncate(memfd_of(f), (off_t)bytes) < 0)
                error = -errno;
        return error;
}

static int memfd_create_frames(struct frames **out, uint64_t size)
{
        struct memfd *m = calloc(1, sizeof(*m));
        int error;

        if (!m)
                return -ENOMEM;
        m->frames.ops = &memfd_frames;
        m->fd = memfd_create("faultline", MFD_CLOEXEC);
        error = m->fd < 0 ? -errno : memfd_resize(&m->frames, size);
        if (error) {
                if (m->fd >= 0)
                        close(m->fd);
                free(m);
                return error;
        }
        *out = &m->frames;
        return 0;
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
                ssize_t n = in ? pwrite(fd, buf, len, (off_t)pos) : pread(fd, buf, len, (off_t)pos);

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

int staging_init(struct staging *s, unsigned pages)
{
        memset(s, 0, sizeof(*s));
        mutex_init(&s->lock, LOCK_STAGING);
        waitq_init(&s->wq);
        s->pages = pages;
        s->base = mmap(NULL, (size_t)pages << PAGE_SHIFT, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (s->base == MAP_FAILED) {
                s->base = NULL;
                return -ENOMEM;
        }
        /* A forked child must not share buffers that a device writes into. */
        madvise(s->base, (size_t)pages << PAGE_SHIFT, MADV_DONTFORK);
        madvise(s->base, (size_t)pages << PAGE_SHIFT, MADV_DONTDUMP);
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
