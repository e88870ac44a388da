/* SPDX-License-Identifier: Apache-2.0
 *
 * write_cache.h - the volatile write cache of a disk that may lose its power (faulty.c, power.c):
 * the writes it has taken and not yet written, in their order, and what of them a cut leaves.
 *
 * Memory is reserved when the device is opened and given out from front to back; it begins at the
 * front again when nothing is kept any more. No I/O here, and no lock: power.c has both.
 */
#ifndef FL_DRIVER_WRITE_CACHE_H
#define FL_DRIVER_WRITE_CACHE_H

#include "driver/driver.h"

#define WCACHE_BYTES (4u << 20)
#define WCACHE_WRITES 1024 /* kept at once */

struct wcache_write {
        uint64_t seq; /* the how manyeth write of the engine it is */
        uint64_t offset;
        uint64_t len;
        uint32_t flags; /* DRIVER_; with FUA a cut does not take it */
        bool gone;      /* it has been written */
        bool cut;       /* the power went while it came: nobody was told that it is done */
        uint64_t
                told; /* when its caller was told that it is done, by power.c's clock; 0: not yet */
        char *data;
};

struct wcache {
        char *memory;         /* WCACHE_BYTES, page aligned */
        uint64_t used;        /* bytes */
        unsigned count, left; /* writes kept, and those of them that are not gone */
        struct wcache_write write[WCACHE_WRITES];
};

int wcache_init(struct wcache *c);
void wcache_destroy(struct wcache *c);
bool wcache_has_room(const struct wcache *c, uint64_t len);
/* Room for the I/O, which the caller then copies. There is room. */
struct wcache_write *wcache_add(struct wcache *c, const struct driver_io *io, uint64_t seq);
/* The write has gone out; the memory is free when all have. */
void wcache_gone(struct wcache *c, struct wcache_write *w);
/* What was read of [offset, offset+len) into iov becomes what the kept writes made of it. */
void wcache_overlay(const struct wcache *c, const struct iovec *iov, unsigned iovcnt,
                    uint64_t offset, uint64_t len);
/* Does w share bytes with a younger write for which `chosen` holds? */
bool wcache_overlaps_younger(const struct wcache *c, const struct wcache_write *w,
                             bool (*chosen)(const struct wcache_write *, uint64_t), uint64_t arg);

/* What the cut leaves of a write. */
struct wcache_cut {
        uint64_t seed;       /* 0: all writes before the cut reach the disk, in their order */
        uint64_t at;         /* the number of the write during which the power went */
        bool torn;           /* writes may reach the disk in part */
        uint32_t meta_block; /* metadata only whole blocks of this size */
};
/* The next bytes of w, from *from on, that reach the disk: [*from, *to), offsets in w. False: no more. */
bool wcache_survives(const struct wcache_cut *cut, const struct wcache_write *w, uint64_t *from,
                     uint64_t *to);

/* Copies `len` bytes between `buf` and what lies `skip` bytes behind the start of iov. */
void iov_copy(const struct iovec *iov, unsigned iovcnt, uint64_t skip, char *buf, uint64_t len,
              bool to_iov);

#endif
