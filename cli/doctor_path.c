/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor_path.c - does the file system take O_DIRECT? Asked of the file; in a folder, of a file
 * without a name that is gone when it is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "doctor.h"

/* The mount's type and place, from the device's number. The last line wins: it hides the others. */
static void find_mount(struct direct_findings *d, dev_t device)
{
        FILE *f = fopen("/proc/self/mountinfo", "re");
        char line[4096], where[256], type[32];
        unsigned major_nr, minor_nr;

        while (f && fgets(line, sizeof(line), f)) {
                const char *rest = strstr(line, " - ");

                if (!rest || sscanf(rest, " - %31s", type) != 1 ||
                    sscanf(line, "%*u %*u %u:%u %*s %255s", &major_nr, &minor_nr, where) != 3)
                        continue;
                if (major_nr != major(device) || minor_nr != minor(device))
                        continue;
                snprintf(d->type, sizeof(d->type), "%s", type);
                snprintf(d->mount, sizeof(d->mount), "%s", where);
        }
        if (f)
                fclose(f);
}

/* What statx says; where it says nothing, one aligned read tells. */
static int try_direct(struct direct_findings *d, int fd)
{
        void *page;
        ssize_t got;
        int error;

#ifdef STATX_DIOALIGN
        struct statx sx;

        if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && sx.stx_mask & STATX_DIOALIGN) {
                d->memory_align = sx.stx_dio_mem_align;
                d->offset_align = sx.stx_dio_offset_align;
                return d->offset_align ? 0 : EOPNOTSUPP;
        }
#endif
        page = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
        if (!page)
                return ENOMEM;
        got = pread(fd, page, PAGE_SIZE, 0);
        error = got < 0 ? errno : 0;
        free(page);
        return error == EINVAL ? EOPNOTSUPP : error;
}

int doctor_path(struct findings *f)
{
        struct direct_findings *d = &f->direct;
        struct stat st;
        int fd;

        if (stat(f->path, &st))
                return fail(f->path, "look at", "%s", strerror(errno));
        find_mount(d, st.st_dev);
        if (S_ISDIR(st.st_mode))
                fd = open(f->path, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
        else if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
                fd = open(f->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        else
                return fail(f->path, "look at", "neither a file, a folder nor a block device");
        if (fd < 0) {
                /* EINVAL is the word for "no O_DIRECT here"; EOPNOTSUPP that for no O_TMPFILE. */
                d->error = errno == EINVAL ? EOPNOTSUPP : errno == EOPNOTSUPP ? ENOSYS : errno;
                return 0;
        }
        d->error = try_direct(d, fd);
        close(fd);
        return 0;
}
