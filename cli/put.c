/* SPDX-License-Identifier: Apache-2.0
 *
 * put.c - `faultline put`: a file's bytes, stored through a shared mapping, then msync.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "guard.h"

#define CHUNK (256 * 1024UL)
#define WINDOW (64 * 1024 * 1024UL) /* mapped and synced at a time */

struct source {
        const char *path;
        int fd;
        struct stat st;
};

static int open_source(struct source *source, const char *path)
{
        /* A FIFO without a writer must not make us wait. */
        *source = (struct source){ .path = path,
                                   .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) };
        if (source->fd < 0)
                return fail(path, "open", "%s", strerror(errno));
        if (fstat(source->fd, &source->st))
                return fail(path, "fstat", "%s", strerror(errno));
        if (S_ISDIR(source->st.st_mode))
                return fail(path, "read", "%s", strerror(EISDIR));
        if (!S_ISREG(source->st.st_mode))
                return fail(path, "read", "not a regular file");
        return 0;
}

/* Exactly n bytes; 0, an errno, or -1 at the end of the file. */
static int read_all(int fd, char *buf, size_t n)
{
        while (n) {
                ssize_t got = read(fd, buf, n);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        return got ? errno : -1;
                buf += got;
                n -= (size_t)got;
        }
        return 0;
}

/* Why a store at p, offset `at` of the file, was refused. */
static const char *store_reason(struct session *s, char *p, uint64_t at)
{
        struct fl_error_info info = { .size = sizeof(info) };

        if (fl_error(s->engine, p - (uintptr_t)p % PAGE_SIZE, PAGE_SIZE, &info) == 1)
                return strerror(info.error);
        return session_reason(s, at, false);
}

/* Stores n bytes at the file's offset `at`, to `to` in the mapping. */
static int store_chunk(struct session *s, struct source *source, uint64_t at, char *to, size_t n,
                       char *buf)
{
        int error = read_all(source->fd, buf, n);
        size_t stored;

        if (error)
                return fail(source->path, "read", "%s",
                            error < 0 ? "the file became shorter" : strerror(error));
        stored = guard_copy(to, buf, n, to);
        if (stored < n)
                return fail(s->uri, "store through the mapping", "offset %" PRIu64 ": %s",
                            at + stored, store_reason(s, to + stored, at + stored));
        return 0;
}

static int store_window(struct session *s, struct source *source, uint64_t at, size_t size,
                        char *buf, struct progress *progress)
{
        char *mapping = fl_mmap(s->engine, NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->file,
                                (off_t)at);
        int status = 0;

        if (mapping == MAP_FAILED)
                return fail_library();
        if (fl_madvise(s->engine, mapping, size, MADV_SEQUENTIAL))
                status = fail_library();
        for (size_t done = 0; done < size && !status; done += CHUNK) {
                size_t n = size - done < CHUNK ? size - done : CHUNK;

                status = store_chunk(s, source, at + done, mapping + done, n, buf);
                progress_show(progress, at + done + n);
        }
        if (!status && fl_msync(s->engine, mapping, size, MS_SYNC))
                status = fail_library();
        if (fl_munmap(s->engine, mapping, size) && !status)
                status = fail_library();
        return status;
}

/* A device has the size it has. */
static int set_size(struct session *s, const struct stat *st, uint64_t size)
{
        if (S_ISBLK(st->st_mode))
                return size <= (uint64_t)st->st_size ? 0
                                                     : fail(s->uri, "put", "%s", strerror(ENOSPC));
        /* To nothing first: the old pages need not be read before they are overwritten. */
        if (fl_ftruncate(s->file, 0) || fl_ftruncate(s->file, (off_t)size))
                return fail_library();
        return 0;
}

static int put(struct session *s, struct source *source)
{
        uint64_t size = (uint64_t)source->st.st_size;
        struct progress progress;
        struct stat st;
        char *buf;
        int status = 0;

        if (fl_fstat(s->file, &st))
                return fail_library();
        if (st.st_dev == source->st.st_dev && st.st_ino == source->st.st_ino)
                return fail(s->uri, "put", "it is the same file as %s", source->path);
        if (set_size(s, &st, size))
                return EXIT_FAILED;
        buf = malloc(CHUNK);
        if (!buf)
                return fail(s->uri, "put", "%s", strerror(ENOMEM));
        progress_begin(&progress, "put", size);
        for (uint64_t at = 0; at < size && !status; at += WINDOW)
                status = store_window(s, source, at, size - at < WINDOW ? size - at : WINDOW, buf,
                                      &progress);
        progress_end(&progress);
        if (!status && fl_fsync(s->file))
                status = fail_library();
        free(buf);
        return status;
}

static int run(struct options *o, int argc, char **argv)
{
        struct source source;
        struct session s = { 0 };
        int status = options_parse(o, NULL, &argc, argv);

        if (status)
                return status;
        if (o->help)
                return print_command_help(o->command);
        if (argc != 3)
                return fail_usage(o, "two operands, please: FILE and URI");
        status = open_source(&source, argv[1]);
        if (!status) {
                struct fl_file_config config = { .size = sizeof(config),
                                                 .mode = source.st.st_mode & 0777 };

                status = session_open(&s, o, argv[2], O_RDWR | O_CREAT, &config);
                if (!status)
                        status = put(&s, &source);
                status = session_close(&s, status);
        }
        if (source.fd >= 0)
                close(source.fd);
        return status;
}

const struct command command_put = {
        .name = "put",
        .summary = "store a file's bytes through a shared mapping, and msync them",
        .help = "put FILE URI [OPTIONS]\n"
                "\n"
                "URI becomes FILE's bytes. A host file is created, or cut to FILE's size, as cp\n"
                "would; a file in an image must be there, and gets that size. Then it is mapped\n"
                "shared, the bytes are stored into the mapping, and msync(MS_SYNC) and fsync put\n"
                "them on the disk before the command returns.\n"
                "\n"
                "Examples:\n"
                "  faultline put data.bin copy.bin && cmp data.bin copy.bin\n"
                "  faultline put data.bin copy.bin --cache 1M --stats\n"
                "  faultline put data.bin copy.bin --faults enospc@0+1M    is the error seen?\n",
        .run = run,
};
