/* SPDX-License-Identifier: Apache-2.0
 *
 * frame.h - the memory behind cached pages, and the staging memory that I/O goes through.
 *
 * Frames sit behind a small table, so that other sources of memory can be tried against the
 * memfd. A frame comes into being when it is filled, whole: no mapping can show a frame that
 * does not hold the file's bytes yet.
 */
#ifndef FL_CACHE_FRAME_H
#define FL_CACHE_FRAME_H

#include "cache/frame_map.h"
#include "util/wait.h"

struct frames;

struct frame_ops {
        const char *name;
        int (*create)(struct frames **out, uint64_t size);
        void (*destroy)(struct frames *);
        /* Fill nr whole frames from buf. 0 or -errno (ENOMEM, ENOSPC: the kernel has none). */
        int (*fill)(struct frames *, uint64_t index, const void *buf, uint64_t nr);
        /* Bytes within frames that exist. 0 or -errno. */
        int (*copy_out)(struct frames *, uint64_t pos, void *buf, size_t len);
        int (*copy_in)(struct frames *, uint64_t pos, const void *buf, size_t len);
        /* Give the memory of [index, index+nr) back to the kernel. 0 or -errno. */
        int (*release)(struct frames *, uint64_t index, uint64_t nr);
        /* The file grows or shrinks; no frame_map_want() meanwhile. */
        int (*resize)(struct frames *, uint64_t size);
        /* What to map to show frames: a descriptor, the offset being the file's. */
        int (*fd)(struct frames *);
        /* Pages that are cheap to fill, and to give back, all at once: as many, from a multiple of that. 0:
         * there are none such. */
        uint64_t folio;
};

struct frames {
        const struct frame_ops *ops;
        struct frame_map map;
};
extern const struct frame_ops memfd_frames;
/* A file of a tmpfs that is mounted nowhere, with huge pages; create: -errno where that is not permitted. */
extern const struct frame_ops folio_frames;

/* Staging memory: one pool an engine, whose size is taken off the budget at the start. */
struct staging {
        struct mutex lock;
        char *base;       /* (c) */
        uint64_t *bitmap; /* [staging] 1 = taken */
        unsigned pages;   /* (c) */
        unsigned in_use;  /* [staging] */
        unsigned writing; /* [staging] pages held by write-back: never more than half */
        struct waitq wq;
};

int staging_init(struct staging *s, unsigned pages);
void staging_destroy(struct staging *s);
/* Up to *nr contiguous pages (at least one); *nr becomes what was got. NULL: none free. */
char *staging_get(struct staging *s, unsigned *nr, bool write);
void staging_put(struct staging *s, char *buf, unsigned nr, bool write);
bool staging_available(struct staging *s, bool write);
bool staging_in_use(struct staging *s);

#endif
