/* SPDX-License-Identifier: Apache-2.0
 *
 * stat_host.c - what the host's kernel tells of a file: mincore(2), FIEMAP.
 */
#include "stat.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel tells only who may write to a file, or owns it; to others it says that all is there. */
static bool may_know(int fd)
{
        char path[32];
        struct stat st;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return !fstat(fd, &st) && (geteuid() == 0 || st.st_uid == geteuid() ||
                                   faccessat(-1, path, W_OK, AT_EACCESS) == 0);
}

#define WINDOW (1ull << 18) /* pages looked at in one go: 1 GiB */

static bool look_at_window(int fd, uint64_t index, uint64_t nr, unsigned char *vec,
                           struct residency *out)
{
        void *p = mmap(NULL, nr << PAGE_SHIFT, PROT_NONE, MAP_SHARED, fd,
                       (off_t)(index << PAGE_SHIFT));
        bool ok = p != MAP_FAILED && !mincore(p, nr << PAGE_SHIFT, vec);

        if (p != MAP_FAILED)
                munmap(p, nr << PAGE_SHIFT);
        for (uint64_t i = 0; ok && i < nr; i++) {
                out->pages += vec[i] & 1;
                out->part[(index + i) / out->each] += vec[i] & 1;
        }
        return ok;
}

void host_residency(int fd, uint64_t size, struct residency *out)
{
        uint64_t pages = pages_of(size);
        unsigned char *vec;

        *out = (struct residency){ .each = pages_per_part(pages) };
        if (!may_know(fd)) {
                out->why_not = "the kernel tells only who may write to the file";
                return;
        }
        vec = malloc(WINDOW);
        out->known = vec;
        for (uint64_t index = 0; out->known && index < pages; index += WINDOW)
                out->known = look_at_window(fd, index, min_u64(WINDOW, pages - index), vec, out);
        if (!out->known)
                out->why_not = strerror(errno);
        free(vec);
}

/* ---- where it lies ---- */

bool extents_add(struct extents *e, const struct extent *more)
{
        struct extent *last = e->count ? &e->item[e->count - 1] : NULL, *grown;

        if (last && last->offset + last->bytes == more->offset && last->somewhere &&
            more->somewhere && last->at + last->bytes == more->at) {
                last->bytes += more->bytes;
                return true;
        }
        if (e->count == EXTENTS_MAX) {
                e->more = true;
                return false;
        }
        if (!e->item || !(e->count & (e->count - 1))) { /* room for a power of two */
                grown = realloc(e->item, (e->count ? 2 * e->count : 1) * sizeof(*grown));
                if (!grown) {
                        e->more = true;
                        return false;
                }
                e->item = grown;
        }
        e->item[e->count++] = *more;
        return true;
}

#define ASKED_AT_ONCE 256

void host_extents(int fd, struct extents *out)
{
        struct fiemap *map = calloc(1, sizeof(*map) + ASKED_AT_ONCE * sizeof(map->fm_extents[0]));
        uint64_t next = 0;
        bool more = true;

        *out = (struct extents){ .why_not = map ? NULL : strerror(ENOMEM) };
        while (map && more) {
                *map = (struct fiemap){ .fm_start = next,
                                        .fm_length = FIEMAP_MAX_OFFSET - next,
                                        .fm_extent_count = ASKED_AT_ONCE,
                                        .fm_flags = FIEMAP_FLAG_SYNC };
                if (ioctl(fd, FS_IOC_FIEMAP, map)) {
                        out->why_not = errno == EOPNOTSUPP || errno == ENOTTY
                                               ? "its file system does not tell"
                                               : strerror(errno);
                        break;
                }
                more = map->fm_mapped_extents > 0;
                for (unsigned i = 0; more && i < map->fm_mapped_extents; i++) {
                        const struct fiemap_extent *f = &map->fm_extents[i];
                        struct extent e = {
                                .offset = f->fe_logical,
                                .at = f->fe_physical,
                                .bytes = f->fe_length,
                                .somewhere = !(f->fe_flags &
                                               (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DATA_INLINE)),
                        };

                        next = f->fe_logical + f->fe_length;
                        more = extents_add(out, &e) && !(f->fe_flags & FIEMAP_EXTENT_LAST);
                }
        }
        free(map);
}
