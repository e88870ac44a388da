/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor_advice.c - of all that could be improved, the one command that improves most.
 *
 * In this order: no faults at all, or not those of system calls; memory; direct I/O; io_uring; mappings;
 * the cost of a fault. A refusal that a seccomp filter or an old kernel makes cannot be lifted by
 * a command on this machine: then the command is the one that starts it otherwise.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "doctor.h"

#define SMALL_CACHE (16 * 1024 * 1024UL)
#define USUAL_MAPS 65530
#define SPIN_GAIN 1.5 /* times faster: worth a core that polls */

static void advise(struct advice *a, const char *why, const char *command)
{
        snprintf(a->command, sizeof(a->command), "%s", command);
        snprintf(a->why, sizeof(a->why), "%s", why);
}

static bool advise_uffd(const struct findings *f, struct advice *a)
{
        const struct uffd_findings *u = &f->uffd;

        if (f->engine.full)
                return false;
        if (u->asked && !doctor_has_features(u))
                advise(a, "this kernel's userfaultfd is too old; then restart the machine",
                       "apt-get install linux-image-amd64/bookworm-backports");
        else if (u->call == ENOSYS || (u->call == EPERM && f->root && f->seccomp == 2))
                advise(a, "a seccomp filter, or the kernel's configuration, forbids userfaultfd",
                       f->seccomp == 2 ? "docker run --device /dev/userfaultfd --security-opt "
                                         "seccomp=unconfined ..."
                                       : "grep USERFAULTFD /boot/config-$(uname -r)");
        else if (u->device == EACCES || u->device == EPERM)
                advise(a, "lets every user take page faults; chgrp and chmod 660 for a group",
                       "sudo chmod 666 /dev/userfaultfd");
        else if (u->device && u->sysctl == 0)
                advise(a, "lets every user take page faults",
                       "sudo sysctl -w vm.unprivileged_userfaultfd=1");
        else
                return false;
        return true;
}

static bool advise_memory(const struct findings *f, struct advice *a)
{
        const struct cgroup_room *g = &f->group;

        if (!*f->engine.automatic && f->address_space != UINT64_MAX) {
                advise(a, "an engine reserves addresses, not memory: gigabytes of them",
                       "ulimit -v unlimited");
                return true;
        }
        if (g->room == UINT64_MAX || g->room >= 2 * SMALL_CACHE)
                return false;
        advise(a, "the control group leaves hardly any room for a cache", "");
        snprintf(a->command, sizeof(a->command), "echo %" PRIu64 " | sudo tee %s/%s",
                 g->limit + 4 * SMALL_CACHE, g->path, cgroup_limit_file(g->version));
        return true;
}

static bool advise_io(const struct findings *f, struct advice *a)
{
        if (f->direct.error == EOPNOTSUPP) {
                advise(a, "this file system has no O_DIRECT: every page is cached twice", "");
                snprintf(a->command, sizeof(a->command),
                         "cp -a '%.1000s' /var/tmp # or wherever ext4, xfs or btrfs is mounted",
                         f->path);
                return true;
        }
        if (!f->uring)
                return false;
        if (f->uring_disabled > 0)
                advise(a, "without io_uring a pool of threads does the I/O",
                       "sudo sysctl -w kernel.io_uring_disabled=0");
        else if (f->seccomp == 2)
                advise(a, "a seccomp filter forbids io_uring: a pool of threads does the I/O",
                       "docker run --security-opt seccomp=unconfined ...");
        else
                return false;
        return true;
}

static bool advise_maps(const struct findings *f, struct advice *a)
{
        if (f->max_map_count == UNKNOWN || f->max_map_count >= USUAL_MAPS)
                return false;
        advise(a, "a process may have fewer mappings than is usual",
               "sudo sysctl -w vm.max_map_count=65530");
        return true;
}

static bool advise_spin(const struct findings *f, struct advice *a)
{
        const struct engine_findings *e = &f->engine;

        if (!e->spin_ns || (double)e->fault_ns < SPIN_GAIN * (double)e->spin_ns)
                return false;
        advise(a, "waking an idle core is most of a fault; this one polls for a moment instead",
               "export FAULTLINE_SPIN=on");
        return true;
}

void doctor_advice(const struct findings *f, struct advice *a)
{
        *a = (struct advice){ 0 };
        if (advise_uffd(f, a) || advise_memory(f, a) || advise_io(f, a) || advise_maps(f, a))
                return;
        advise_spin(f, a);
}
