/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper.c - the child's side of space.h: what a forked child does before fork(2) returns in it, and
 * the thread that stays.
 *
 * Nothing here takes a lock of the library's: the parent's threads may have held any of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mmu/compat.h"
#include "mmu/space.h"
#include "util/mman.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1u << 1)
#endif

#define LOWEST (1ull << 24)

enum { UFFD, SOCK, PARENT, KEPT };

/* Of the child's, alone; freed by nobody. */
struct keeper {
        int fd[KEPT]; /* its userfaultfd, the socket, the parent's pidfd or -1 */
        _Atomic uint32_t ready;
};

/* --- the thread --------------------------------------------------------------------------- */

/* Of a page that may be mapped. What cannot be poisoned any more, since the program has moved it, goes:
 * the thread that touches it must not wait, nor see zeros. */
static void poison_page(const struct keeper *k, uint64_t addr)
{
        struct uffdio_poison poison = { .range = { addr, PAGE_SIZE } };
        struct uffdio_writeprotect unprotect = { .range = { addr, PAGE_SIZE } };
        struct uffdio_range wake = { addr, PAGE_SIZE };
        void *p = (void *)(uintptr_t)addr;
        int tries = 0;

        do {
                madvise(p, PAGE_SIZE, MADV_DONTNEED_LOCKED);
                /* That it was protected stays, and is in the way of the poison. */
                ioctl(k->fd[UFFD], UFFDIO_WRITEPROTECT, &unprotect);
                if (ioctl(k->fd[UFFD], UFFDIO_POISON, &poison) == 0)
                        break;
                poison.updated = 0;
        } while (++tries < 1000 && (errno == EAGAIN || errno == EEXIST));
        if (tries == 1000 || errno == ENOENT)
                munmap(p, PAGE_SIZE);
        ioctl(k->fd[UFFD], UFFDIO_WAKE, &wake);
}

/* The parent has ended. Whoever waits for it faults again, and gets what he touches poisoned. */
_Noreturn static void serve_poison(struct keeper *k)
{
        /* Nothing of ours is as low; the kernel refuses a range that begins below mmap_min_addr. */
        struct uffdio_range all = { LOWEST, SPACE_SIZE - PAGE_SIZE - LOWEST };
        struct pollfd pfd = { .fd = k->fd[UFFD], .events = POLLIN };

        ioctl(k->fd[UFFD], UFFDIO_WAKE, &all);
        for (;;) {
                struct uffd_msg msg;

                if (poll(&pfd, 1, -1) > 0 &&
                    read(k->fd[UFFD], &msg, sizeof(msg)) == (ssize_t)sizeof(msg) &&
                    msg.event == UFFD_EVENT_PAGEFAULT)
                        poison_page(k, msg.arg.pagefault.address & PAGE_MASK);
        }
}

/* True: the parent is there, whatever it wants. */
static bool follow_order(struct keeper *k)
{
        struct space_order order;
        ssize_t got = recv(k->fd[SOCK], &order, sizeof(order), MSG_DONTWAIT);

        if (got < 0)
                return errno == EAGAIN || errno == EINTR;
        if (got != (ssize_t)sizeof(order))
                return false;
        for (uint64_t at = 0; at < order.len; at += PAGE_SIZE)
                poison_page(k, order.addr + at);
        return true;
}

/* From here on it has these descriptors and no others, whatever the program does with its own. */
static int keep_only(struct keeper *k)
{
        unsigned from = 0, flags = CLOSE_RANGE_UNSHARE;

        for (;;) {
                unsigned next = ~0u;

                for (unsigned i = 0; i < KEPT; i++)
                        if (k->fd[i] >= 0 && (unsigned)k->fd[i] >= from &&
                            (unsigned)k->fd[i] < next)
                                next = (unsigned)k->fd[i];
                if (next > from &&
                    syscall(SYS_close_range, from, next == ~0u ? next : next - 1, flags))
                        return -errno;
                if (next > from)
                        flags = 0;
                if (next == ~0u)
                        return 0;
                from = next + 1;
        }
}

static void *keep(void *arg)
{
        struct keeper *k = arg;
        struct pollfd wait[2] = { { .fd = k->fd[SOCK], .events = POLLIN },
                                  { .fd = k->fd[PARENT], .events = POLLIN } };
        int error = keep_only(k);

        prctl(PR_SET_NAME, "fl-keeper");
        atomic_store(&k->ready, error ? 2 : 1);
        futex_wake(&k->ready, 1);
        if (error)
                return NULL;
        for (;;) {
                if (poll(wait, 2, -1) < 1)
                        continue;
                /* The socket may be held open by others, the process cannot. */
                if ((wait[0].revents && !follow_order(k)) || wait[1].revents)
                        serve_poison(k);
        }
}

/* k is the keeper's from here on. */
static int start_keeper(struct keeper *k)
{
        sigset_t all, old;
        pthread_t thread;
        int error;

        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old);
        error = -pthread_create(&thread, NULL, keep, k);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (error) {
                free(k);
                return error;
        }
        pthread_detach(thread);
        while (atomic_load(&k->ready) == 0)
                futex_wait(&k->ready, 0, 0);
        return atomic_load(&k->ready) == 1 ? 0 : -ENOSYS;
}

/* --- before fork(2) returns --------------------------------------------------------------- */

static void close_fd(_Atomic int *fd)
{
        int was = atomic_exchange(fd, -1);

        if (was >= 0)
                close(was);
}

/* This process's copy of what is known of children: only its own is of use, and becomes its own
 * userfaultfd. The parent's ends of sockets held here would hide from others that it has ended. */
int space_enter(struct mmu *m, unsigned nr)
{
        struct uffd *u = uffd_of(m);
        struct spaces *s = u->spaces;
        int fd;

        for (unsigned i = 1; i < SPACES_MAX; i++) {
                if (!atomic_load(&s->space[i].used))
                        continue;
                close_fd(&s->space[i].sock);
                close_fd(&s->space[i].fd);
                close_fd(&s->space[i].pagemap);
        }
        fd = nr ? uffd_another(u) : -ENOENT;
        if (fd < 0)
                return fd;
        atomic_store(&s->space[nr].fd, fd);
        return 0;
}

int space_take(struct mmu *m, uint64_t addr, uint64_t len, bool file)
{
        int fd = spaces_fd(uffd_of(m)->spaces, space_of(addr));

        return uffd_register(fd, addr & (SPACE_SIZE - 1), len, file);
}

int space_drop(struct mmu *m, uint64_t addr, uint64_t len)
{
        void *p = (void *)(uintptr_t)(addr & (SPACE_SIZE - 1));

        (void)m;
        return madvise(p, len, MADV_DONTNEED) ? -errno : 0;
}

static int say_hello(struct keeper *k, unsigned nr, int pagemap)
{
        union {
                char bytes[CMSG_SPACE(2 * sizeof(int))];
                struct cmsghdr align;
        } control = { .bytes = { 0 } };
        struct space_hello hello = { nr };
        struct iovec iov = { &hello, sizeof(hello) };
        struct msghdr msg = { .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control.bytes,
                              .msg_controllen = sizeof(control.bytes) };
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        const int fds[2] = { k->fd[UFFD], pagemap };

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(fds));
        memcpy(CMSG_DATA(c), fds, sizeof(fds));
        return sendmsg(k->fd[SOCK], &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int space_settle(struct mmu *m, unsigned nr, int error)
{
        struct uffd *u = uffd_of(m);
        struct space *sp = &u->spaces->space[nr];
        int pagemap = error ? -1 : open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        struct keeper *k;

        if (!error && pagemap < 0)
                error = -errno;
        if (!error) {
                k = malloc(sizeof(*k));
                error = k ? 0 : -ENOMEM;
        }
        if (!error) {
                *k = (struct keeper){ .fd = { atomic_load(&sp->fd), sp->theirs, u->pidfd } };
                /* First the keeper: from hello on nobody may come too late. */
                error = start_keeper(k);
                if (!error)
                        say_hello(k, nr, pagemap); /* an error: the parent has ended already */
        }
        if (pagemap >= 0)
                close(pagemap);
        close_fd(&sp->fd);
        if (sp->theirs >= 0)
                close(sp->theirs);
        sp->theirs = -1;
        return error;
}
