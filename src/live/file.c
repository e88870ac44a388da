/* SPDX-License-Identifier: Apache-2.0
 *
 * file.c - the figures in a file: whole under another name, then put in its place, so that a reader sees
 * the old ones or the new. Nothing of the user's is written over, and nothing stops the program: neither
 * a full disk nor a limit on the size of files.
 */
#include "live/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "live/listen.h"
#include "util/say.h"

#define NEW_MAX 64 /* behind FILE, of the name it has until it is whole */

static const char file_begin[] = "# TYPE faultline";

/* Not over something else that somebody has named by mistake. 0 or -errno. */
static int check_file(const char *path)
{
        char head[sizeof(file_begin) - 1];
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat st;
        ssize_t n;
        int error = 0;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(fd, &st))
                error = -errno;
        else if (!S_ISREG(st.st_mode))
                error = -EINVAL;
        if (!error && (n = read(fd, head, sizeof(head))) != 0 &&
            (n != (ssize_t)sizeof(head) || memcmp(head, file_begin, sizeof(head)) != 0))
                error = n < 0 ? -errno : -EEXIST;
        close(fd);
        return error;
}

/* A file beside it that is ours alone; its name goes into path_new. The descriptor or -errno. */
static int make_new(struct metrics_file *f)
{
        uint64_t random;
        int fd;

        if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
                random = now_ns();
        snprintf(f->path_new, strlen(f->path) + NEW_MAX, "%s.%d-%016" PRIx64 ".new", f->path,
                 (int)getpid(), random);
        fd = open(f->path_new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        return fd < 0 ? -errno : fd;
}

static int write_whole(int fd, const char *text, size_t len)
{
        int error = 0;

        while (len && !error) {
                ssize_t n = write(fd, text, len);

                if (n > 0) {
                        text += n;
                        len -= (size_t)n;
                } else if (n == 0 || errno != EINTR) {
                        error = n == 0 ? -ENOSPC : -errno;
                }
        }
        if (close(fd) && !error)
                error = -errno;
        return error;
}

void metrics_file_write(struct metrics_file *f, const char *text, size_t len)
{
        int fd = make_new(f), error = fd < 0 ? fd : write_whole(fd, text, len);

        if (!error)
                error = check_file(f->path);
        if (!error && rename(f->path_new, f->path))
                error = -errno;
        if (error && fd >= 0)
                unlink(f->path_new);
        if (error && !f->said)
                say("faultline: %s: writing metrics: %s; going on without", f->path,
                    strerror(-error));
        f->said |= error != 0;
}

int metrics_file_use(struct metrics_file *f, const char *path)
{
        int error = check_file(path);

        if (error)
                return error;
        f->path = absolute_path(path);
        f->path_new = f->path ? malloc(strlen(f->path) + NEW_MAX) : NULL;
        if (f->path_new)
                return 0;
        metrics_file_end(f);
        return -ENOMEM;
}

void metrics_file_end(struct metrics_file *f)
{
        free(f->path);
        free(f->path_new);
        *f = (struct metrics_file){ .path = NULL };
}
