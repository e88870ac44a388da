/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - see errno.h.
 */
#include "errno.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

struct side {
        struct fl_engine *engine; /* NULL: the kernel's */
        struct fl_file *file[NR_HANDLES];
        int fd[NR_HANDLES];
        char *base;
};

static void *address(struct side *s, const struct errno_case *c)
{
        return c->at < 0 ? (void *)(c->at & LONG_MAX) : s->base + c->at;
}

static void *side_mmap(struct side *s, void *p, size_t len, int prot, int flags, enum handle h,
                       long offset)
{
        return s->engine ? fl_mmap(s->engine, p, len, prot, flags, s->file[h], offset)
                         : mmap(p, len, prot, flags, s->fd[h], offset);
}

long call_mmap(struct side *s, const struct errno_case *c)
{
        void *p =
                side_mmap(s, address(s, c), (size_t)c->len, c->arg, c->flags, c->handle, c->offset);

        if (p == MAP_FAILED)
                return -1;
        if (!(c->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))) {
                int error = s->engine ? fl_munmap(s->engine, p, (size_t)c->len)
                                      : munmap(p, (size_t)c->len);

                expect(error == 0, "%s: what was mapped is unmapped: %s", c->name, strerror(errno));
        }
        return 0;
}

long call_munmap(struct side *s, const struct errno_case *c)
{
        void *p = address(s, c);

        return s->engine ? fl_munmap(s->engine, p, (size_t)c->len) : munmap(p, (size_t)c->len);
}

long call_mprotect(struct side *s, const struct errno_case *c)
{
        void *p = address(s, c);

        return s->engine ? fl_mprotect(s->engine, p, (size_t)c->len, c->arg)
                         : mprotect(p, (size_t)c->len, c->arg);
}

long call_mincore(struct side *s, const struct errno_case *c)
{
        void *p = address(s, c);
        unsigned char vec[2 * REGION];

        return s->engine ? fl_mincore(s->engine, p, (size_t)c->len, vec)
                         : mincore(p, (size_t)c->len, vec);
}

long call_msync(struct side *s, const struct errno_case *c)
{
        void *p = address(s, c);

        return s->engine ? fl_msync(s->engine, p, (size_t)c->len, c->arg)
                         : msync(p, (size_t)c->len, c->arg);
}

long call_madvise(struct side *s, const struct errno_case *c)
{
        void *p = address(s, c);

        return s->engine ? fl_madvise(s->engine, p, (size_t)c->len, c->arg)
                         : madvise(p, (size_t)c->len, c->arg);
}

long call_mremap(struct side *s, const struct errno_case *c)
{
        void *p = address(s, c), *to = s->base + c->offset, *q;
        size_t len = (size_t)c->len, new_len = (size_t)c->flags;

        q = s->engine ? fl_mremap(s->engine, p, len, new_len, c->arg, to)
                      : mremap(p, len, new_len, c->arg, to);
        if (q == MAP_FAILED)
                return -1;
        if ((char *)q < s->base || (char *)q >= s->base + REGION * PAGE) {
                int error = s->engine ? fl_munmap(s->engine, q, new_len) : munmap(q, new_len);

                expect(error == 0, "%s: what has moved is unmapped: %s", c->name, strerror(errno));
        }
        return 0;
}

long call_mlock(struct side *s, const struct errno_case *c)
{
        void *p = address(s, c);
        size_t len = (size_t)c->len;
        unsigned flags = (unsigned)c->flags;

        if (s->engine)
                return flags ? fl_mlock2(s->engine, p, len, flags) : fl_mlock(s->engine, p, len);
        /* The call itself: a sanitizer makes mlock(3) do nothing. */
        return flags ? mlock2(p, len, flags) : syscall(SYS_mlock, p, len);
}

long call_munlock(struct side *s, const struct errno_case *c)
{
        void *p = address(s, c);

        return s->engine ? fl_munlock(s->engine, p, (size_t)c->len)
                         : syscall(SYS_munlock, p, (size_t)c->len);
}

long call_memcntl(struct side *s, const struct errno_case *c)
{
        return fl_memcntl(s->engine, address(s, c), (size_t)c->len, c->arg,
                          (void *)(uintptr_t)c->flags, (int)c->offset & 0xff, (int)c->offset >> 8);
}

long call_memcntl_all(struct side *s, const struct errno_case *c)
{
        return fl_memcntl(s->engine, (void *)c->at, (size_t)c->len, c->arg,
                          (void *)(uintptr_t)c->flags, (int)c->offset & 0xff, (int)c->offset >> 8);
}

long call_hat_advise(struct side *s, const struct errno_case *c)
{
        struct fl_memcntl_mha mha = {
                .mha_cmd = (unsigned)c->flags & 0xff,
                .mha_flags = (unsigned)c->flags >> 8,
                .mha_pagesize = (size_t)c->arg * TEST_PAGE,
        };
        void *p = mha.mha_cmd == FL_MHA_MAPSIZE_VA ? address(s, c) : (void *)c->at;

        return fl_memcntl(s->engine, p, (size_t)c->len, FL_MC_HAT_ADVISE, &mha, (int)c->offset, 0);
}

long call_incore(struct side *s, const struct errno_case *c)
{
        unsigned char vec[2 * REGION];

        return fl_incore(s->engine, address(s, c), (size_t)c->len, vec);
}

/* --- the two sides --- */

static void unmap_all(struct side *s)
{
        if (s->engine)
                expect(fl_munmap(s->engine, s->base, REGION * TEST_PAGE) == 0, "%s", fl_strerror());
        else
                munmap(s->base, REGION * TEST_PAGE);
}

static const char *noexec_path; /* NULL: there is none */
static bool same_limit;         /* of locked memory, on both sides */

static void lay_out(struct side *s)
{
        static const struct {
                int page, nr, prot, flags;
                enum handle handle;
                long offset;
        } maps[] = {
                { RW, 4, PROT_READ | PROT_WRITE, MAP_SHARED, H_RW, 0 },
                { RO, 2, PROT_READ, MAP_SHARED, H_RO, 0 },
                { PRIVATE, 2, PROT_READ | PROT_WRITE, MAP_PRIVATE, H_RO, 0 },
                { PAST_END, 4, PROT_READ | PROT_WRITE, MAP_SHARED, H_RW, FILE_PAGES - 2 },
                { NONE, 1, PROT_NONE, MAP_SHARED, H_RW, 0 },
                { WONLY, 1, PROT_WRITE, MAP_SHARED, H_RW, 2 },
                { ANON, 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, H_NONE, 0 },
                { LOCKED, 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_LOCKED, H_RW, 0 },
                { LOCKED_ANON, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED,
                  H_NONE, 0 },
                { NOEXEC, 1, PROT_READ, MAP_PRIVATE, H_NOEXEC, 0 },
                { MEMORY, 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, H_NONE, 0 },
        };

        unmap_all(s);
        for (unsigned i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
                require((maps[i].handle == H_NOEXEC && !noexec_path) ||
                                side_mmap(s, s->base + maps[i].page * PAGE,
                                          (size_t)maps[i].nr * TEST_PAGE, maps[i].prot,
                                          maps[i].flags | MAP_FIXED, maps[i].handle,
                                          maps[i].offset * PAGE) != MAP_FAILED,
                        "laying out: %s", strerror(errno));
}

static void open_side(struct side *s, const char *path)
{
        static const int how[] = { [H_RW] = O_RDWR, [H_RO] = O_RDONLY, [H_WO] = O_WRONLY };

        for (unsigned h = H_RW; h <= H_WO; h++) {
                if (s->engine)
                        s->file[h] = open_file(s->engine, path, how[h]);
                else
                        s->fd[h] = open(path, how[h] | O_CLOEXEC);
        }
        if (noexec_path && s->engine)
                s->file[H_NOEXEC] = open_file(s->engine, noexec_path, O_RDONLY);
        else if (noexec_path)
                s->fd[H_NOEXEC] = open(noexec_path, O_RDONLY | O_CLOEXEC);
        s->fd[H_NONE] = -1;
}

static void close_side(struct side *s)
{
        for (unsigned h = H_RW; h <= (noexec_path ? H_NOEXEC : H_WO); h++)
                if (s->engine)
                        close_file(s->file[h]);
                else
                        close(s->fd[h]);
}

static bool is_noexec(const char *dir)
{
        struct statvfs vfs;

        return statvfs(dir, &vfs) == 0 && (vfs.f_flag & ST_NOEXEC);
}

/* A file that may not be executed: where there is such a place, or one of this thread's own, if it
 * may make one. It is on the file system for memory, which goes with the process. */
static void find_noexec(void)
{
        static const char place[] = "/dev/shm";
        static char path[64];
        char page[TEST_PAGE] = { 0 };
        int fd;

        if (!is_noexec(place) &&
            (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
             mount("errno", place, "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, "size=1m"))) {
                printf("no file system without execution: %s\n", strerror(errno));
                return;
        }
        snprintf(path, sizeof(path), "%s/fltest-errno-%d", place, (int)getpid());
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0 && write(fd, page, sizeof(page)) == (ssize_t)sizeof(page))
                noexec_path = path;
        if (fd >= 0)
                close(fd);
}

/* This thread may lock no more than the engine lets it, whoever it belongs to. */
static void limit_kernel(void)
{
        struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];
        struct rlimit r;

        if (getrlimit(RLIMIT_MEMLOCK, &r) == 0 && r.rlim_max >= MOST_LOCKED * TEST_PAGE) {
                r.rlim_cur = MOST_LOCKED * TEST_PAGE;
                same_limit = setrlimit(RLIMIT_MEMLOCK, &r) == 0;
        }
        if (syscall(SYS_capget, &head, data) == 0) {
                data[0].effective &= ~(1u << CAP_IPC_LOCK);
                syscall(SYS_capset, &head, data);
        }
}

/* Of a file of its own, so that nobody is given the addresses: shared and untouched. */
static char *find_place(struct fl_engine *e, struct fl_file *f)
{
        size_t size = 1ull << 44;
        char *p;

        if (e) {
                p = map_file(e, f, REGION * TEST_PAGE, PROT_READ, MAP_SHARED, 0);
                expect(fl_munmap(e, p, REGION * TEST_PAGE) == 0, "%s", fl_strerror());
                return p;
        }
        p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        require(p != MAP_FAILED, "16 TiB of addresses: %s", strerror(errno));
        munmap(p, size);
        return p + size / 8 * 5;
}

static int result_of(struct side *s, const struct errno_case *c)
{
        lay_out(s);
        errno = 0;
        return c->call(s, c) ? errno : 0;
}

static void try_case(struct side *ours, struct side *kernels, const char *call,
                     const struct errno_case *c)
{
        bool asked = c->asked == BOTH || (c->asked == IF_LIMITED && same_limit);
        int a, k;

        if (c->handle == H_NOEXEC && !noexec_path)
                return;
        a = result_of(ours, c);
        k = asked ? result_of(kernels, c) : c->want;
        expect(a == c->want, "%s, %s: %s, not %s", call, c->name, strerror(a), strerror(c->want));
        expect(k == c->want, "%s, %s: the kernel says %s, not %s", call, c->name, strerror(k),
               strerror(c->want));
}

static unsigned try_lists(struct side *ours, struct side *kernels, const struct case_list *lists)
{
        unsigned n = 0;

        for (; lists->name; lists++)
                for (unsigned i = 0; i < lists->nr; i++, n++) {
                        test_at(lists->cases[i].name);
                        try_case(ours, kernels, lists->name, &lists->cases[i]);
                }
        return n;
}

int main(int argc, char **argv)
{
        static struct side ours, kernels;
        const char *path[2];
        unsigned n;

        test_begin(argc, argv, 1, 1, 60);
        path[0] = test_stamped_file("ours", FILE_PAGES);
        path[1] = test_stamped_file("kernels", FILE_PAGES);
        ours.engine = open_engine_with(
                (struct fl_engine_config){ .cache = 128 * TEST_PAGE, .flags = FL_ENGINE_QUIET });
        find_noexec();
        open_side(&ours, path[0]);
        open_side(&kernels, path[1]);
        limit_kernel();
        ours.base = find_place(ours.engine, ours.file[H_RO]);
        kernels.base = find_place(NULL, NULL);
        n = try_lists(&ours, &kernels, mapping_cases);
        n += try_lists(&ours, &kernels, advising_cases);
        n += try_lists(&ours, &kernels, moving_cases);
        n += try_lists(&ours, &kernels, memcntl_cases);
        printf("%u cases\n", n);
        unmap_all(&ours);
        unmap_all(&kernels);
        check_engine(ours.engine);
        close_side(&ours);
        close_side(&kernels);
        if (noexec_path)
                unlink(noexec_path);
        close_engine(ours.engine);
        return test_end();
}
