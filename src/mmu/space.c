/* SPDX-License-Identifier: Apache-2.0
 *
 * space.c - the parent's side of forked children: see space.h.
 */
#include "mmu/space.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmu/compat.h"

#define KICK 0 /* in epoll_event.data, where else the number of a space stands */

static struct spaces *spaces_of(struct mmu *m)
{
        return uffd_of(m)->spaces;
}

static struct space *space_at(struct spaces *s, unsigned nr)
{
        return s && nr && nr < SPACES_MAX ? &s->space[nr] : NULL;
}

int spaces_fd(struct spaces *s, unsigned nr)
{
        struct space *sp = space_at(s, nr);

        return sp ? atomic_load(&sp->fd) : -1;
}

int spaces_pagemap(struct spaces *s, unsigned nr)
{
        struct space *sp = space_at(s, nr);

        return sp ? atomic_load(&sp->pagemap) : -1;
}

int spaces_poison(struct spaces *s, unsigned nr, uint64_t addr, uint64_t pages)
{
        struct space_order order = { addr, pages << PAGE_SHIFT };
        struct space *sp = space_at(s, nr);

        if (!sp)
                return -ENOENT;
        return send(atomic_load(&sp->sock), &order, sizeof(order), MSG_DONTWAIT | MSG_NOSIGNAL) ==
                               (ssize_t)sizeof(order)
                       ? 0
                       : -errno;
}

/* --- the looker-after --------------------------------------------------------------------- */

/* A child's events, on a loop thread. */
static void child_ready(struct loop_source *source)
{
        struct space *sp = source->arg;

        uffd_deliver(sp->all->u, source->fd, sp->nr);
}

/* The two descriptors that came with the message. */
static bool take_descriptors(struct msghdr *msg, int fds[2])
{
        struct cmsghdr *c = CMSG_FIRSTHDR(msg);

        if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
            c->cmsg_len != CMSG_LEN(2 * sizeof(int)))
                return false;
        memcpy(fds, CMSG_DATA(c), 2 * sizeof(int));
        return true;
}

/* Serve it from here on. False: it cannot be; then its keeper serves it, with SIGBUS. */
static bool adopt(struct space *sp, int uffd, int pagemap)
{
        struct spaces *s = sp->all;

        if (sp->adopted) {
                close(uffd);
                close(pagemap);
                return false;
        }
        atomic_store(&sp->pagemap, pagemap);
        atomic_store(&sp->fd, uffd);
        sp->source = (struct loop_source){ .fd = uffd, .ready = child_ready, .arg = sp };
        sp->adopted = loop_add(s->u->loop, &sp->source) == 0;
        return sp->adopted;
}

/* What has come from the child. False: it has ended. */
static bool hear(struct space *sp)
{
        union {
                char bytes[CMSG_SPACE(2 * sizeof(int))];
                struct cmsghdr align;
        } control;
        struct space_hello hello;
        struct iovec iov = { &hello, sizeof(hello) };
        struct msghdr msg = { .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control.bytes,
                              .msg_controllen = sizeof(control.bytes) };
        ssize_t got = recvmsg(atomic_load(&sp->sock), &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        int fds[2];

        if (got < 0)
                return errno == EAGAIN || errno == EINTR;
        return got > 0 && take_descriptors(&msg, fds) && adopt(sp, fds[0], fds[1]);
}

/* Nobody of ours reads its events when it hears that we have gone: it would wait for an answer. */
static void end_space(struct space *sp)
{
        struct spaces *s = sp->all;

        epoll_ctl(s->poll, EPOLL_CTL_DEL, atomic_load(&sp->sock), NULL);
        if (sp->adopted)
                loop_remove(s->u->loop, &sp->source);
        sp->adopted = false;
        shutdown(atomic_load(&sp->sock), SHUT_RDWR);
        s->u->client->ended(s->u->client, sp->nr);
}

static void *look_after(void *arg)
{
        struct spaces *s = arg;

        prctl(PR_SET_NAME, "fl-children");
        while (!atomic_load(&s->stop)) {
                struct epoll_event event;

                if (epoll_wait(s->poll, &event, 1, -1) != 1 || event.data.u32 == KICK)
                        continue;
                if (!hear(&s->space[event.data.u32]))
                        end_space(&s->space[event.data.u32]);
        }
        for (unsigned i = 1; i < SPACES_MAX; i++)
                if (atomic_load(&s->space[i].used))
                        end_space(&s->space[i]);
        return NULL;
}

static int watch(struct spaces *s, int fd, uint32_t what)
{
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = what };

        return epoll_ctl(s->poll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* --- beginning and end -------------------------------------------------------------------- */

static int start_looking(struct spaces *s)
{
        sigset_t all, old;
        int error;

        s->poll = epoll_create1(EPOLL_CLOEXEC);
        s->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->poll < 0 || s->kick < 0)
                return -errno;
        error = watch(s, s->kick, KICK);
        if (error)
                return error;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old);
        error = -pthread_create(&s->looker, NULL, look_after, s);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        return error;
}

static int start(struct mmu *m)
{
        struct uffd *u = uffd_of(m);
        struct spaces *s = calloc(1, sizeof(*s));
        int error;

        if (!s)
                return -ENOMEM;
        s->u = u;
        s->poll = s->kick = -1;
        for (unsigned i = 0; i < SPACES_MAX; i++) {
                struct space *sp = &s->space[i];

                sp->all = s;
                sp->nr = i;
                sp->fd = sp->pagemap = sp->sock = sp->theirs = -1;
        }
        error = start_looking(s);
        u->spaces = s;
        if (error)
                spaces_free(u);
        return error;
}

static void stop(struct mmu *m)
{
        struct spaces *s = spaces_of(m);
        uint64_t one = 1;

        atomic_store(&s->stop, true);
        if (write(s->kick, &one, sizeof(one)) == (ssize_t)sizeof(one))
                pthread_join(s->looker, NULL);
}

static void close_fd(_Atomic int *fd)
{
        int was = atomic_exchange(fd, -1);

        if (was >= 0)
                close(was);
}

void spaces_free(struct uffd *u)
{
        struct spaces *s = u->spaces;

        if (!s)
                return;
        if (s->poll >= 0)
                close(s->poll);
        if (s->kick >= 0)
                close(s->kick);
        free(s);
        u->spaces = NULL;
}

/* --- a child ------------------------------------------------------------------------------ */

static int make(struct mmu *m)
{
        struct spaces *s = spaces_of(m);
        unsigned nr = 1;
        int pair[2];

        while (nr < SPACES_MAX && atomic_load(&s->space[nr].used))
                nr++;
        if (nr == SPACES_MAX)
                return -EAGAIN;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
                return -errno;
        atomic_store(&s->space[nr].sock, pair[0]);
        s->space[nr].theirs = pair[1];
        atomic_store(&s->space[nr].used, true);
        return (int)nr;
}

static void release(struct mmu *m, unsigned nr)
{
        struct space *sp = space_at(spaces_of(m), nr);

        close_fd(&sp->fd);
        close_fd(&sp->pagemap);
        close_fd(&sp->sock);
        if (sp->theirs >= 0) /* it came to no fork */
                close(sp->theirs);
        sp->theirs = -1;
        atomic_store(&sp->used, false);
}

static int inherit(struct mmu *m, uint64_t addr, uint64_t len, bool yes)
{
        (void)m;
        return madvise((void *)(uintptr_t)addr, len, yes ? MADV_DOFORK : MADV_DONTFORK) ? -errno
                                                                                        : 0;
}

static void forked(struct mmu *m, unsigned nr)
{
        struct spaces *s = spaces_of(m);
        struct space *sp = space_at(s, nr);

        close(sp->theirs);
        sp->theirs = -1;
        /* If it cannot be watched, it is not served. */
        if (watch(s, atomic_load(&sp->sock), nr))
                shutdown(atomic_load(&sp->sock), SHUT_RDWR);
}

const struct space_ops uffd_space_ops = {
        .start = start,
        .stop = stop,
        .make = make,
        .release = release,
        .inherit = inherit,
        .forked = forked,
        .enter = space_enter,
        .take = space_take,
        .drop = space_drop,
        .settle = space_settle,
};
