/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_file.c - the file that the benchmarks read: made once, kept. And sparse files, of a worker's
 * own, which hold nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"

#define CHUNK (1024 * 1024UL)

/* xorshift64*: bytes that no disk compresses. */
static void fill_random(uint64_t *words, size_t n, uint64_t *state)
{
        uint64_t x = *state;

        for (size_t i = 0; i < n; i++) {
                x ^= x >> 12;
                x ^= x << 25;
                x ^= x >> 27;
                words[i] = x * 0x2545f4914f6cdd1du;
        }
        *state = x;
}

static int write_file(int fd, const char *path, uint64_t size)
{
        uint64_t *buf = malloc(CHUNK), state = 0x9e3779b97f4a7c15u;
        struct progress progress;
        int error = buf ? 0 : ENOMEM;

        progress_begin(&progress, "making the file", size);
        for (uint64_t at = 0; at < size && !error;) {
                size_t n = size - at < CHUNK ? size - at : CHUNK;
                ssize_t done;

                fill_random(buf, CHUNK / sizeof(*buf), &state);
                done = pwrite(fd, buf, n, (off_t)at);
                if (done < 0 && errno != EINTR)
                        error = errno;
                else if (done >= 0 && (size_t)done < n)
                        error = ENOSPC;
                at += n;
                progress_show(&progress, at);
        }
        progress_end(&progress);
        if (!error && fsync(fd))
                error = errno;
        free(buf);
        return error ? fail(path, "write", "%s", strerror(error)) : 0;
}

static int check_space(const char *folder, uint64_t size)
{
        struct statvfs vfs;

        if (statvfs(folder, &vfs))
                return fail(folder, "statvfs", "%s", strerror(errno));
        if ((uint64_t)vfs.f_bavail * vfs.f_frsize < size + size / 8)
                return fail(folder, "make the benchmark's file",
                            "%" PRIu64 " MiB are needed, too little is free (--size, --dir)",
                            size >> 20);
        return 0;
}

int bench_file(const char *folder, uint64_t size, char path[4096])
{
        char temporary[4120];
        struct stat st;
        int fd, status;

        snprintf(path, 4096, "%.4000s/faultline-bench-%" PRIu64 "M.dat", folder, size >> 20);
        if (!stat(path, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
                return 0;
        status = check_space(folder, size);
        if (status)
                return status;
        snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return fail(temporary, "create", "%s", strerror(errno));
        status = write_file(fd, temporary, size);
        if (close(fd) && !status)
                status = fail(temporary, "close", "%s", strerror(errno));
        if (!status && rename(temporary, path))
                status = fail(path, "rename", "%s", strerror(errno));
        if (status)
                unlink(temporary);
        return status;
}

void bench_own_name(const char *path, const char *kind, char own[4096])
{
        const char *slash = strrchr(path, '/');

        snprintf(own, 4096, "%.*sfaultline-bench-%d.%s", slash ? (int)(slash - path) + 1 : 0, path,
                 (int)getpid(), kind);
}

int bench_sparse_file(const char *path, uint64_t size, char own[4096])
{
        int fd, error = 0;

        bench_own_name(path, "sparse", own);
        fd = open(own, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return errno;
        while (ftruncate(fd, (off_t)size)) {
                error = errno;
                if (error != EFBIG || size <= PAGE_SIZE)
                        break;
                size = size / 2 / PAGE_SIZE * PAGE_SIZE; /* this file system's are not so large */
                error = 0;
        }
        close(fd);
        if (error)
                unlink(own);
        return error;
}
