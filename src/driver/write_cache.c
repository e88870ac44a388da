/* SPDX-License-Identifier: Apache-2.0
 *
 * write_cache.c - see write_cache.h.
 *
 * Whatever is drawn is a function of the seed and of the number of the write, and of nothing else:
 * the same writes and the same seed leave the same disk.
 */
#include "driver/write_cache.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int wcache_init(struct wcache *c)
{
        void *p = mmap(NULL, WCACHE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                       0);

        if (p == MAP_FAILED)
                return -errno;
        c->memory = p;
        return 0;
}

void wcache_destroy(struct wcache *c)
{
        if (c->memory)
                munmap(c->memory, WCACHE_BYTES);
}

/* ---- keeping writes ---- */

bool wcache_has_room(const struct wcache *c, uint64_t len)
{
        return c->count < WCACHE_WRITES && len <= WCACHE_BYTES - c->used;
}

struct wcache_write *wcache_add(struct wcache *c, const struct driver_io *io, uint64_t seq)
{
        struct wcache_write *w = &c->write[c->count++];

        *w = (struct wcache_write){
                .seq = seq,
                .offset = io->offset,
                .len = io->len,
                .flags = io->flags,
                .data = c->memory + c->used,
        };
        /* Page aligned, so that it can go to the disk directly. */
        c->used = min_u64(round_up_u64(c->used + io->len, PAGE_SIZE), WCACHE_BYTES);
        c->left++;
        return w;
}

void wcache_gone(struct wcache *c, struct wcache_write *w)
{
        w->gone = true;
        if (--c->left == 0)
                c->count = 0, c->used = 0;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
        return a < b + b_len && b < a + a_len;
}

bool wcache_overlaps_younger(const struct wcache *c, const struct wcache_write *w,
                             bool (*chosen)(const struct wcache_write *, uint64_t), uint64_t arg)
{
        for (const struct wcache_write *y = w + 1; y < c->write + c->count; y++)
                if (!y->gone && overlap(w->offset, w->len, y->offset, y->len) && chosen(y, arg))
                        return true;
        return false;
}

void iov_copy(const struct iovec *iov, unsigned iovcnt, uint64_t skip, char *buf, uint64_t len,
              bool to_iov)
{
        for (unsigned i = 0; i < iovcnt && len; i++) {
                uint64_t n;

                if (skip >= iov[i].iov_len) {
                        skip -= iov[i].iov_len;
                        continue;
                }
                n = min_u64(iov[i].iov_len - skip, len);
                if (to_iov)
                        memcpy((char *)iov[i].iov_base + skip, buf, n);
                else
                        memcpy(buf, (char *)iov[i].iov_base + skip, n);
                buf += n;
                len -= n;
                skip = 0;
        }
}

void wcache_overlay(const struct wcache *c, const struct iovec *iov, unsigned iovcnt,
                    uint64_t offset, uint64_t len)
{
        for (const struct wcache_write *w = c->write; w < c->write + c->count; w++) {
                uint64_t from = max_u64(w->offset, offset);
                uint64_t to = min_u64(w->offset + w->len, offset + len);

                if (!w->gone && from < to)
                        iov_copy(iov, iovcnt, from - offset, w->data + (from - w->offset),
                                 to - from, true);
        }
}

/* ---- what a cut leaves ---- */

/* A number for each question that is asked of a seed (splitmix64). */
static uint64_t draw(uint64_t seed, uint64_t seq, uint64_t question)
{
        uint64_t z = seed * 0x9e3779b97f4a7c15u + seq * 0xbf58476d1ce4e5b9u + question;

        for (int i = 0; i < 2; i++) {
                z += 0x9e3779b97f4a7c15u;
                z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
                z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
                z ^= z >> 31;
        }
        return z;
}

enum question { Q_SHARE, Q_SURVIVES, Q_TORN, Q_GRAIN, Q_SHAPE, Q_SPLIT, Q_PIECES };

/* All of the write, a part of it, or nothing? */
enum left { NOTHING, PART, ALL };

static enum left what_is_left(const struct wcache_cut *cut, const struct wcache_write *w)
{
        uint64_t quarters; /* so many of the writes survive this cut, about */

        if (!w->cut && (w->flags & DRIVER_FUA))
                return ALL;
        if (!cut->seed)
                return !w->cut ? ALL : cut->torn ? PART : NOTHING;
        quarters = draw(cut->seed, cut->at, Q_SHARE) % 5;
        if (w->cut && cut->torn)
                return PART;
        if (draw(cut->seed, w->seq, Q_SURVIVES) % 4 >= quarters)
                return NOTHING;
        return cut->torn && draw(cut->seed, w->seq, Q_TORN) % 2 ? PART : ALL;
}

/* Disks write sectors, file systems count on blocks. */
static uint64_t grain_of(const struct wcache_cut *cut, const struct wcache_write *w)
{
        if (w->flags & DRIVER_META)
                return cut->meta_block;
        return draw(cut->seed, w->seq, Q_GRAIN) % 2 ? SECTOR_SIZE : PAGE_SIZE;
}

/* Does the grain survive? Either those before a point do, or each by itself. */
static bool grain_survives(const struct wcache_cut *cut, const struct wcache_write *w,
                           uint64_t number, uint64_t grains)
{
        if (!cut->seed || draw(cut->seed, w->seq, Q_SHAPE) % 2)
                return number < draw(cut->seed, w->seq, Q_SPLIT) % (grains + 1);
        return draw(cut->seed, w->seq, Q_PIECES + number) % 2;
}

bool wcache_survives(const struct wcache_cut *cut, const struct wcache_write *w, uint64_t *from,
                     uint64_t *to)
{
        enum left left = what_is_left(cut, w);
        uint64_t grain, first, grains, end = w->offset + w->len, at = w->offset + *from;

        if (left == NOTHING || *from >= w->len)
                return false;
        *to = w->len;
        if (left == ALL)
                return true;
        grain = grain_of(cut, w);
        first = w->offset / grain;
        grains = (end - 1) / grain + 1 - first;
        while (at < end && !grain_survives(cut, w, at / grain - first, grains))
                at = (at / grain + 1) * grain;
        if (at >= end)
                return false;
        *from = at - w->offset;
        while (at < end && grain_survives(cut, w, at / grain - first, grains))
                at = (at / grain + 1) * grain;
        *to = min_u64(at, end) - w->offset;
        return true;
}
