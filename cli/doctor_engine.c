/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor_engine.c - opens an engine as a program would, and measures one minor fault: a page that
 * is in the cache and not mapped. The kernel's own is measured the same way beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "doctor.h"
#include "guard.h"

#define TOUCHES 3000
#define WARM_UP 200
#define SPIN_ON 50000u /* ns */

static int by_time(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

/* Takes the page's translation away and touches it, again and again. Those before ns warm up. */
static bool time_faults(struct fl_engine *e, char *page, uint64_t ns[TOUCHES])
{
        volatile char *touched = page;

        for (int i = -WARM_UP; i < TOUCHES; i++) {
                uint64_t begin;

                if (e ? fl_madvise(e, page, PAGE_SIZE, MADV_DONTNEED)
                      : madvise(page, PAGE_SIZE, MADV_DONTNEED))
                        return false;
                begin = now_ns();
                (void)*touched;
                if (i >= 0)
                        ns[i] = now_ns() - begin;
        }
        return true;
}

static bool time_guarded(struct fl_engine *e, char *page, uint64_t ns[TOUCHES])
{
        struct guard guard;
        bool done;

        guard_enter(&guard, page, PAGE_SIZE);
        if (sigsetjmp(guard.env, 0)) {
                guard_leave();
                return false;
        }
        done = time_faults(e, page, ns);
        guard_leave();
        return done;
}

/* 0: it could not be measured. */
static uint64_t median_fault(struct fl_engine *e, char *page)
{
        uint64_t *ns = calloc(TOUCHES, sizeof(*ns));
        uint64_t median = 0;

        if (ns && time_guarded(e, page, ns)) {
                qsort(ns, TOUCHES, sizeof(*ns), by_time);
                median = ns[TOUCHES / 2];
        }
        free(ns);
        return median;
}

static uint64_t measure_kernel(void)
{
        int fd = memfd_create("faultline-doctor", MFD_CLOEXEC);
        uint64_t median = 0;
        char *page;

        if (fd < 0)
                return 0;
        if (pwrite(fd, "x", 1, PAGE_SIZE - 1) == 1) {
                page = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
                if (page != MAP_FAILED) {
                        median = median_fault(NULL, page);
                        munmap(page, PAGE_SIZE);
                }
        }
        close(fd);
        return median;
}

static uint64_t measure(struct fl_engine *e)
{
        struct fl_file *file = fl_file_open(e, "ram:64K", O_RDWR, NULL);
        uint64_t median = 0;
        char *page;

        if (!file)
                return 0;
        page = fl_mmap(e, NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, file, 0);
        if (page != MAP_FAILED) {
                median = median_fault(e, page);
                fl_munmap(e, page, PAGE_SIZE);
        }
        fl_file_close(file);
        return median;
}

static struct fl_engine *open_engine(const struct options *o, const char *mmu, uint64_t spin)
{
        struct fl_engine_config config = {
                .size = sizeof(config),
                .cache = o->cache,
                .mmu = mmu,
                .policy = o->policy,
                .tune = o->tune,
                .driver = o->driver,
                .readahead = o->readahead,
                .trace = strcmp(mmu, "auto") ? NULL : o->trace,
                .spin = spin,
                .flags = FL_ENGINE_QUIET,
        };

        return fl_engine_open(&config);
}

static void note_refusal(struct engine_findings *found)
{
        char *pointer;

        snprintf(found->why, sizeof(found->why), "%s", fl_strerror());
        pointer = strstr(found->why, "; see faultline doctor"); /* here we are */
        if (pointer)
                *pointer = '\0';
}

static void examine_auto(struct engine_findings *found, const struct options *o)
{
        struct fl_stats stats = { .size = sizeof(stats) };
        struct fl_engine *e = open_engine(o, "auto", o->spin);

        if (!e) {
                note_refusal(found);
                return;
        }
        snprintf(found->automatic, sizeof(found->automatic), "%s", fl_engine_mmu(e));
        found->full = !strcmp(found->automatic, "uffd");
        if (!fl_stats(e, &stats))
                found->cache = stats.budget_bytes;
        fl_engine_tune(e, found->tune, sizeof(found->tune));
        found->fault_ns = measure(e);
        print_stats(o, e);
        fl_engine_close(e);
        if (!o->spin && found->full && (e = open_engine(o, "auto", SPIN_ON))) {
                found->spin_ns = measure(e);
                fl_engine_close(e);
        }
}

static void examine_one(struct mmu_findings *m, const struct engine_findings *found,
                        const struct options *o)
{
        struct fl_engine *e;

        if (!strcmp(m->name, found->automatic)) {
                m->opens = true;
                m->fault_ns = found->fault_ns;
                return;
        }
        e = open_engine(o, m->name, o->spin);
        if (!e)
                return;
        m->opens = true;
        m->fault_ns = measure(e);
        fl_engine_close(e);
}

void doctor_engine(struct findings *f, const struct options *o)
{
        static const char *const names[DOCTOR_MMUS] = { "uffd", "sigbus", "sigsegv" };
        struct engine_findings *found = &f->engine;

        for (unsigned i = 0; i < DOCTOR_MMUS; i++)
                found->mmu[i].name = names[i];
        if (guard_install())
                return;
        examine_auto(found, o);
        for (unsigned i = 0; i < DOCTOR_MMUS; i++)
                examine_one(&found->mmu[i], found, o);
        found->kernel_ns = measure_kernel();
}
