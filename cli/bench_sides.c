/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_sides.c - who serves a workload: Faultline, the kernel's mmap, calls, plain memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "guard.h"

/* ---- Faultline ---- */

static uint64_t anon_bytes(const struct work *w)
{
        return w->job->cache / 1000 * w->load->set / PAGE_SIZE * PAGE_SIZE;
}

/* Where nobody has named a swap area: a file of our own. */
static void choose_swap(struct work *w)
{
        char name[4096];

        if (!w->load->swaps || w->engine.swap)
                return;
        bench_own_name(w->job->path, "swap", name);
        snprintf(w->swap, sizeof(w->swap), "%s:%llu", name,
                 (unsigned long long)(anon_bytes(w) / 4 * 5 + 256 * PAGE_SIZE));
        w->engine.swap = w->swap;
}

/* The area is open; the file goes with it. */
static void hide_swap(struct work *w)
{
        char name[4096];

        if (!*w->swap)
                return;
        bench_own_name(w->job->path, "swap", name);
        unlink(name);
}

static int engine_open(struct work *w)
{
        struct fl_file_config file = { .size = sizeof(file) };
        int status;

        w->engine = *w->options;
        w->engine.cache = w->job->cache * (w->load->budget ? w->load->budget : 1);
        choose_swap(w);
        bench_trace_name(w);
        if (w->load->anon)
                status = session_open_anon(&w->session, &w->engine, anon_bytes(w));
        else
                status = session_open(&w->session, &w->engine, w->path,
                                      w->load->write ? O_RDWR : O_RDONLY, &file);
        hide_swap(w);
        bench_trace_hide(w);
        w->size = w->session.size;
        return status;
}

static int engine_close(struct work *w, int status)
{
        if (w->trace_fd >= 0)
                close(w->trace_fd);
        return session_close(&w->session, status);
}

/* For both. */
static int map_prot(const struct work *w)
{
        return PROT_READ | (w->load->write ? PROT_WRITE : 0);
}

static int map_flags(const struct work *w)
{
        return w->load->anon ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
}

static void *engine_map(struct work *w, uint64_t offset, uint64_t len)
{
        return fl_mmap(w->session.engine, NULL, len, map_prot(w), map_flags(w), w->session.file,
                       (off_t)offset);
}

static int engine_unmap(struct work *w, void *at, uint64_t len)
{
        return fl_munmap(w->session.engine, at, len);
}

static int engine_advise(struct work *w, void *at, uint64_t len, int advice)
{
        return fl_madvise(w->session.engine, at, len, advice);
}

static int engine_sync(struct work *w)
{
        return fl_msync(w->session.engine, w->memory, w->mapped, MS_SYNC);
}

static ssize_t engine_read(struct work *w, void *buf, size_t n, uint64_t at)
{
        return fl_pread(w->session.file, buf, n, (off_t)at);
}

static ssize_t engine_write(struct work *w, const void *buf, size_t n, uint64_t at)
{
        return fl_pwrite(w->session.file, buf, n, (off_t)at);
}

/* ---- the kernel ---- */

static int open_with(struct work *w, int flags)
{
        struct stat st = { .st_size = (off_t)anon_bytes(w) };
        int error;

        if (!w->load->anon) {
                w->fd = open(w->path, (w->load->write ? O_RDWR : O_RDONLY) | O_CLOEXEC | flags);
                if (w->fd < 0 || fstat(w->fd, &st))
                        return fail(w->path, "open", "%s", strerror(errno));
        }
        w->size = (uint64_t)st.st_size;
        error = guard_install();
        return error ? fail(w->path, "catch SIGBUS", "%s", strerror(-error)) : 0;
}

static int host_open(struct work *w)
{
        return open_with(w, 0);
}

/* The descriptor is told what a mapping would be told. */
static int pread_open(struct work *w)
{
        int status = open_with(w, 0), advice = w->load->advice;

        if (status || advice == MADV_NORMAL)
                return status;
        posix_fadvise(w->fd, 0, 0,
                      advice == MADV_RANDOM ? POSIX_FADV_RANDOM : POSIX_FADV_SEQUENTIAL);
        return 0;
}

static int direct_open(struct work *w)
{
        return open_with(w, O_DIRECT);
}

static int host_close(struct work *w, int status)
{
        if (w->fd >= 0 && close(w->fd) && !status)
                status = fail(w->path, "close", "%s", strerror(errno));
        return status;
}

static void *host_map(struct work *w, uint64_t offset, uint64_t len)
{
        return mmap(NULL, len, map_prot(w), map_flags(w), w->fd, (off_t)offset);
}

static int host_unmap(struct work *w, void *at, uint64_t len)
{
        (void)w;
        return munmap(at, len);
}

static int host_advise(struct work *w, void *at, uint64_t len, int advice)
{
        (void)w;
        return madvise(at, len, advice);
}

static int host_msync(struct work *w)
{
        return msync(w->memory, w->mapped, MS_SYNC);
}

static int host_fdatasync(struct work *w)
{
        return fdatasync(w->fd);
}

static ssize_t host_read(struct work *w, void *buf, size_t n, uint64_t at)
{
        return pread(w->fd, buf, n, (off_t)at);
}

static ssize_t host_write(struct work *w, const void *buf, size_t n, uint64_t at)
{
        return pwrite(w->fd, buf, n, (off_t)at);
}

/* ---- plain memory with the same bytes: what can be hoped for when all is mapped ---- */

static void *plain_map(struct work *w, uint64_t offset, uint64_t len)
{
        char *memory = aligned_alloc(PAGE_SIZE, len);

        if (memory) /* pages of the size that a mapping of a file has */
                madvise(memory, len, MADV_NOHUGEPAGE);
        for (uint64_t at = 0; memory && at < len;) {
                ssize_t got = pread(w->fd, memory + at, len - at, (off_t)(offset + at));

                if (got <= 0) {
                        free(memory);
                        errno = got ? errno : EIO;
                        return MAP_FAILED;
                }
                at += (uint64_t)got;
        }
        return memory ? memory : MAP_FAILED;
}

static int plain_unmap(struct work *w, void *at, uint64_t len)
{
        (void)w;
        (void)len;
        free(at);
        return 0;
}

/* ---- what is here ---- */

bool bench_is_in_path(const char *program)
{
        const char *path = getenv("PATH");

        for (const char *at = path; at && *at; at += strspn(at, ":")) {
                int length = (int)strcspn(at, ":");
                char file[4096];

                snprintf(file, sizeof(file), "%.*s/%s", length, at, program);
                if (length && !access(file, X_OK))
                        return true;
                at += length;
        }
        return false;
}

static const char *direct_problem(const char *path, char why[256])
{
        int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

        if (fd < 0) {
                snprintf(why, 256, "O_DIRECT: %s", strerror(errno));
                return why;
        }
        close(fd);
        return NULL;
}

static const char *uring_problem(char why[256])
{
        struct io_uring ring;
        int error = io_uring_queue_init(1, &ring, 0);

        if (error) {
                snprintf(why, 256, "io_uring: %s", strerror(-error));
                return why;
        }
        io_uring_queue_exit(&ring);
        return NULL;
}

const char *bench_side_absent(enum bench_side side, const char *path, char why[256])
{
        bool fio = side == SIDE_FIO_PSYNC || side == SIDE_FIO_URING || side == SIDE_FIO_NBD;
        const char *problem = NULL;

        if (fio && !bench_is_in_path("fio"))
                return "fio is not installed";
        if (side == SIDE_NBDCOPY)
                return bench_nbd_problem();
        if (side == SIDE_FIO_NBD)
                return bench_nbd_fio_problem();
        if (fio || side == SIDE_URING)
                problem = direct_problem(path, why);
        if (!problem && (side == SIDE_URING || side == SIDE_FIO_URING))
                problem = uring_problem(why);
        return problem;
}

bool bench_mmu_works(const char *mmu)
{
        const struct fl_engine_config config = {
                .size = sizeof(config),
                .cache = 64 * PAGE_SIZE,
                .mmu = mmu,
                .flags = FL_ENGINE_QUIET,
        };
        struct fl_engine *e = fl_engine_open(&config);

        return e && !fl_engine_close(e);
}

enum bench_side bench_find_side(const char *key, size_t length)
{
        unsigned side = 0;

        while (side < NR_SIDES &&
               (strncmp(bench_sides[side].key, key, length) != 0 || bench_sides[side].key[length]))
                side++;
        return (enum bench_side)side;
}

#define ENGINE                                                                                     \
        .memory = true, .open = engine_open, .close = engine_close, .map = engine_map,             \
        .unmap = engine_unmap, .advise = engine_advise, .sync = engine_sync, .read = engine_read,  \
        .write = engine_write

/* With advice and without. */
#define KERNEL_MMAP                                                                                \
        .limited = true, .memory = true, .open = host_open, .close = host_close, .map = host_map,  \
        .unmap = host_unmap, .advise = host_advise, .sync = host_msync

const struct side_ops bench_sides[NR_SIDES] = {
        [SIDE_FAULTLINE] = {
                .key = "faultline",
                .name = "Faultline",
                .advised = true,
                ENGINE,
        },
        [SIDE_UNADVISED] = {
                .key = "faultline-no-advice",
                .name = "Faultline, no advice",
                ENGINE,
        },
        [SIDE_SMALL] = {
                .key = "faultline-small",
                .name = "Faultline, small case",
                .small = true,
                .advised = true,
                ENGINE,
        },
        [SIDE_UNTRACED] = {
                .key = "faultline-untraced",
                .name = "Faultline, no trace",
                .untraced = true,
                .advised = true,
                ENGINE,
        },
        [SIDE_MMAP] = {
                .key = "mmap",
                .name = "kernel mmap",
                KERNEL_MMAP,
        },
        [SIDE_ADVISED] = {
                .key = "mmap-advice",
                .name = "kernel mmap, best advice",
                .advised = true,
                KERNEL_MMAP,
        },
        [SIDE_PREAD] = {
                .key = "pread",
                .name = "pread",
                .limited = true,
                .open = pread_open,
                .close = host_close,
                .sync = host_fdatasync,
                .read = host_read,
                .write = host_write,
        },
        [SIDE_URING] = {
                .key = "io_uring",
                .name = "io_uring, direct",
                .limited = true,
                .ring = true,
                .open = direct_open,
                .close = host_close,
                .sync = host_fdatasync,
        },
        [SIDE_FIO_PSYNC] = {
                .key = "fio-psync",
                .name = "fio psync, direct",
        },
        [SIDE_FIO_URING] = {
                .key = "fio-io_uring",
                .name = "fio io_uring, direct",
        },
        [SIDE_MALLOC] = {
                .key = "malloc",
                .name = "malloc",
                .memory = true,
                .open = host_open,
                .close = host_close,
                .map = plain_map,
                .unmap = plain_unmap,
        },
        [SIDE_NBDCOPY] = {
                .key = "nbdcopy",
                .name = "nbdcopy to nowhere",
        },
        [SIDE_FIO_NBD] = {
                .key = "fio-nbd",
                .name = "fio nbd",
        },
};
