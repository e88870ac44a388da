/* SPDX-License-Identifier: Apache-2.0
 *
 * uffd.c - faults by userfaultfd: a thread that touches an absent page sleeps in the kernel, an
 * event comes to a pager (a loop thread), and the ioctl that installs the page wakes it.
 *
 * Ranges are registered MISSING, MINOR and WP on a memfd's mapping, MISSING and WP on memory
 * without a file. Which of the three an event says is a hint at best (a frame may appear or go
 * meanwhile): the layer above looks at the page's state.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "mmu/compat.h"
#include "mmu/space.h"

/* A userfaultfd whose events are read on the loop. */
struct pager {
        struct uffd u;
        struct loop *loop;
        struct loop_source source;
};

static void pager_ready(struct loop_source *s)
{
        struct pager *p = s->arg;

        while (uffd_deliver(&p->u, p->u.fd, 0))
                ;
}

static int pager_open(struct mmu_config *cfg, struct mmu **out)
{
        struct pager *p = calloc(1, sizeof(*p));
        int error;

        if (!p)
                return -ENOMEM;
        p->u.mmu.ops = &uffd_mmu_ops;
        p->loop = cfg->loop;
        error = uffd_init(&p->u, cfg, cfg->named ? UFFD_ALL_OR_USER : UFFD_ALL_FAULTS, 0);
        if (error) {
                free(p);
                return error;
        }
        p->source =
                (struct loop_source){ .fd = p->u.fd, .ready = pager_ready, .arg = p, .edge = true };
        error = loop_add(p->loop, &p->source);
        if (error) {
                uffd_exit(&p->u);
                free(p);
                return error;
        }
        *out = &p->u.mmu;
        return 0;
}

static void pager_close(struct mmu *m)
{
        struct pager *p = container_of(uffd_of(m), struct pager, u);

        loop_remove(p->loop, &p->source);
        uffd_exit(&p->u);
        free(p);
}

const struct mmu_ops uffd_mmu_ops = {
        .name = "uffd",
        .spaces = &uffd_space_ops,
        .open = pager_open,
        .close = pager_close,
        .reserve = uffd_reserve,
        .release = uffd_release,
        .move = uffd_move,
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
        .wake = uffd_wake,
};
