/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor.h - what `faultline doctor` finds, and who finds it.
 *
 *   doctor_probe.c   asks the kernel: userfaultfd, io_uring, limits, the control group
 *   doctor_path.c    asks the file system: O_DIRECT
 *   doctor_engine.c  opens an engine and measures a fault
 *   doctor_advice.c  weighs it all: the one command that would improve things most
 *   doctor.c         the command and what it prints
 */
#ifndef FAULTLINE_CLI_DOCTOR_H
#define FAULTLINE_CLI_DOCTOR_H

#include "cli.h"
#include "util/cgroup.h"

#define UNKNOWN (-1L)

struct uffd_findings {
        int device; /* /dev/userfaultfd: 0 or the errno of the attempt */
        int call;   /* the system call, for all faults */
        int user;   /* the system call, for faults of user mode only */
        long sysctl;
        bool asked; /* a descriptor could be had, so that `features` is true */
        uint64_t features;
};

struct direct_findings {
        char type[32], mount[256]; /* of the file system; empty: not known */
        int error;                 /* 0: O_DIRECT works; EOPNOTSUPP: not there; else: not tried */
        unsigned memory_align, offset_align; /* 0: not told */
};

/* One of the three ways to take a fault. */
struct mmu_findings {
        const char *name;
        bool opens;
        uint64_t fault_ns; /* median of a minor fault; 0: not measured */
};
#define DOCTOR_MMUS 3 /* uffd, sigbus, sigsegv */

struct engine_findings {
        char automatic[16]; /* the MMU that "auto" takes; empty: it does not open */
        bool full;          /* it serves the faults of system calls too */
        struct mmu_findings mmu[DOCTOR_MMUS];
        char why[512];      /* the library's sentence, where "auto" does not open */
        uint64_t cache;     /* the default budget */
        char tune[512];     /* the parameters that the policy goes by; empty: it has none */
        uint64_t fault_ns;  /* median of a minor fault with "auto"; 0: not measured */
        uint64_t spin_ns;   /* the same with --spin on */
        uint64_t kernel_ns; /* the same on the kernel's own mapping */
};

struct findings {
        const char *path;
        bool root;
        struct uffd_findings uffd;
        int uring;                     /* 0 or errno */
        int uring_files, uring_memory; /* 0: they can be registered; or errno */
        long uring_disabled;
        struct direct_findings direct;
        char shmem_huge[32];                 /* the word in brackets; empty: not known */
        uint64_t memlock_soft, memlock_hard; /* UINT64_MAX: unlimited */
        uint64_t address_space;              /* RLIMIT_AS; UINT64_MAX: unlimited */
        long max_map_count, maps;
        struct cgroup_room group;
        long seccomp; /* mode: 0 off, 1 strict, 2 filter */
        struct engine_findings engine;
};

struct advice {
        char command[1400], why[200]; /* both empty: nothing to improve */
};

void doctor_probe(struct findings *f);
/* 0 or EXIT_FAILED, having said why. */
int doctor_path(struct findings *f);
void doctor_engine(struct findings *f, const struct options *o);
void doctor_advice(const struct findings *f, struct advice *advice);

/* The features an engine needs. */
struct uffd_feature {
        const char *name;
        uint64_t bit;
};
extern const struct uffd_feature doctor_features[];
extern const unsigned doctor_nr_features;
bool doctor_has_features(const struct uffd_findings *u);

#endif
