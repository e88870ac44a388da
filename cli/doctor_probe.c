/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor_probe.c - what the kernel says, asked without changing anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "doctor.h"
#include "mmu/compat.h"

const struct uffd_feature doctor_features[] = {
#define X(name) { #name, UFFD_FEATURE_##name },
        UFFD_NEEDED(X)
#undef X
};
const unsigned doctor_nr_features = sizeof(doctor_features) / sizeof(*doctor_features);

bool doctor_has_features(const struct uffd_findings *u)
{
        for (unsigned i = 0; i < doctor_nr_features; i++)
                if (!(u->features & doctor_features[i].bit))
                        return false;
        return true;
}

static long number_in(const char *path)
{
        FILE *f = fopen(path, "re");
        long n = UNKNOWN;

        if (!f)
                return UNKNOWN;
        if (fscanf(f, "%ld", &n) != 1)
                n = UNKNOWN;
        fclose(f);
        return n;
}

/* --- userfaultfd -------------------------------------------------------------------------- */

static int by_device(void)
{
        int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
        int fd, error;

        if (device < 0)
                return -errno;
        fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
        error = errno;
        close(device);
        return fd < 0 ? -error : fd;
}

static int by_call(int flags)
{
        int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

        return fd < 0 ? -errno : fd;
}

/* Takes the descriptor, or the error in its place; returns the error. */
static int note_descriptor(struct uffd_findings *u, int fd)
{
        struct uffdio_api api = { .api = UFFD_API };

        if (fd < 0)
                return -fd;
        if (!ioctl(fd, UFFDIO_API, &api)) {
                u->asked = true;
                u->features = api.features;
        }
        close(fd);
        return 0;
}

static void probe_uffd(struct uffd_findings *u)
{
        u->sysctl = number_in("/proc/sys/vm/unprivileged_userfaultfd");
        u->device = note_descriptor(u, by_device());
        u->call = note_descriptor(u, by_call(0));
        u->user = note_descriptor(u, by_call(UFFD_USER_MODE_ONLY));
}

/* --- io_uring ----------------------------------------------------------------------------- */

/* What a ring can be told beforehand: two files that are not there yet, and as much memory as the
 * driver registers. */
static void probe_registering(struct findings *f, int ring)
{
        int files[2] = { -1, -1 };
        struct iovec iov = { .iov_len = 2 << 20 };

        if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, files, 2))
                f->uring_files = errno;
        iov.iov_base =
                mmap(NULL, iov.iov_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (iov.iov_base == MAP_FAILED ||
            syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1))
                f->uring_memory = errno;
        if (iov.iov_base != MAP_FAILED)
                munmap(iov.iov_base, iov.iov_len);
}

static int probe_uring(struct findings *f)
{
        struct io_uring_params params = { 0 };
        int fd = (int)syscall(SYS_io_uring_setup, 4, &params);

        if (fd < 0)
                return errno;
        probe_registering(f, fd);
        close(fd);
        return 0;
}

/* --- limits ------------------------------------------------------------------------------- */

static long count_maps(void)
{
        FILE *f = fopen("/proc/self/maps", "re");
        long lines = 0;

        if (!f)
                return UNKNOWN;
        for (int c = getc(f); c != EOF; c = getc(f))
                lines += c == '\n';
        fclose(f);
        return lines;
}

static long seccomp_mode(void)
{
        FILE *f = fopen("/proc/self/status", "re");
        char line[256];
        long mode = UNKNOWN;

        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "Seccomp: %ld", &mode) == 1)
                        break;
        if (f)
                fclose(f);
        return mode;
}

/* The word in brackets: "always within_size [never]". */
static void chosen_word(const char *path, char *word, size_t room)
{
        FILE *f = fopen(path, "re");
        char line[256], *begin;

        *word = '\0';
        if (f && fgets(line, sizeof(line), f) && (begin = strchr(line, '['))) {
                begin[strcspn(begin, "]")] = '\0';
                snprintf(word, room, "%.31s", begin + 1);
        }
        if (f)
                fclose(f);
}

static uint64_t rlimit_value(rlim_t value)
{
        return value == RLIM_INFINITY ? UINT64_MAX : value;
}

void doctor_probe(struct findings *f)
{
        struct cgroup own;
        struct rlimit memlock = { 0, 0 }, space = { RLIM_INFINITY, RLIM_INFINITY };

        f->root = geteuid() == 0;
        probe_uffd(&f->uffd);
        f->uring = probe_uring(f);
        f->uring_disabled = number_in("/proc/sys/kernel/io_uring_disabled");
        chosen_word("/sys/kernel/mm/transparent_hugepage/shmem_enabled", f->shmem_huge,
                    sizeof(f->shmem_huge));
        getrlimit(RLIMIT_MEMLOCK, &memlock);
        f->memlock_soft = rlimit_value(memlock.rlim_cur);
        f->memlock_hard = rlimit_value(memlock.rlim_max);
        getrlimit(RLIMIT_AS, &space);
        f->address_space = rlimit_value(space.rlim_cur);
        f->max_map_count = number_in("/proc/sys/vm/max_map_count");
        f->maps = count_maps();
        f->seccomp = seccomp_mode();
        cgroup_find(&own, "");
        cgroup_room(&own, &f->group);
}
