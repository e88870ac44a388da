/* SPDX-License-Identifier: Apache-2.0
 *
 * sigbus.c - faults by a userfaultfd that raises SIGBUS in place of an event: the thread that
 * touches an absent page runs the fault path itself, in the signal handler (trap.c), and goes on.
 * No other thread is woken, and nobody has to permit it: it needs faults of user mode only.
 *
 * What it cannot do is serve the kernel: a system call on a page that is not mapped, or that is
 * mapped and clean where it is to be stored to, fails with EFAULT.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "mmu/compat.h"
#include "mmu/space.h"
#include "mmu/trap.h"

struct sigbus {
        struct uffd u;
        struct trap trap;
        struct mmu_client *client;
};

static struct sigbus *sigbus_of(struct mmu *m)
{
        return container_of(uffd_of(m), struct sigbus, u);
}

static enum mmu_verdict sigbus_fault(struct trap *t, const struct mmu_fault *fault)
{
        struct sigbus *s = container_of(t, struct sigbus, trap);
        enum mmu_verdict v = s->client->fault(s->client, fault);

        /* The kernel would have said so: its protection has changed since, and it is asked again. */
        return v == MMU_SIGSEGV ? MMU_SERVED : v;
}

static int sigbus_open(struct mmu_config *cfg, struct mmu **out)
{
        struct sigbus *s = calloc(1, sizeof(*s));
        int error;

        if (!s)
                return -ENOMEM;
        s->u.mmu.ops = &sigbus_mmu_ops;
        s->client = cfg->client;
        error = uffd_init(&s->u, cfg, UFFD_USER_FAULTS, UFFD_FEATURE_SIGBUS);
        if (!error) {
                s->trap.signo = SIGBUS;
                s->trap.fault = sigbus_fault;
                error = trap_add(&s->trap);
                if (error)
                        uffd_exit(&s->u);
        }
        if (error) {
                free(s);
                return error;
        }
        *out = &s->u.mmu;
        return 0;
}

static void sigbus_close(struct mmu *m)
{
        struct sigbus *s = sigbus_of(m);

        trap_remove(&s->trap);
        uffd_exit(&s->u);
        free(s);
}

static int sigbus_reserve(struct mmu *m, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
                          uint64_t offset)
{
        struct sigbus *s = sigbus_of(m);
        int error;

        if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
                trap_cover(&s->trap, *addr, len);
        error = uffd_reserve(m, addr, len, prot, flags, fd, offset);
        if (!error)
                trap_cover(&s->trap, *addr, len);
        return error;
}

static int sigbus_move(struct mmu *m, uint64_t from, uint64_t to, uint64_t len, bool keep)
{
        trap_cover(&sigbus_of(m)->trap, to, len);
        return uffd_move(m, from, to, len, keep);
}

/* Nobody sleeps in the kernel, but a child's threads, which are served by events. */
static int sigbus_wake(struct mmu *m, uint64_t addr, uint64_t nr)
{
        return space_of(addr) ? uffd_wake(m, addr, nr) : 0;
}

const struct mmu_ops sigbus_mmu_ops = {
        .name = "sigbus",
        .spaces = &uffd_space_ops,
        .open = sigbus_open,
        .close = sigbus_close,
        .reserve = sigbus_reserve,
        .release = uffd_release,
        .move = sigbus_move,
        .protect = uffd_protect,
        .faults_pass = true,
        .map_run = uffd_map_run,
        .copy = uffd_copy,
        .zero = uffd_zero,
        .own = uffd_own,
        .read = uffd_read,
        .write_protect = uffd_write_protect,
        .unprotect = uffd_unprotect,
        .unmap = uffd_unmap,
        .poison = uffd_poison,
        .blank = uffd_blank,
        .wake = sigbus_wake,
};
