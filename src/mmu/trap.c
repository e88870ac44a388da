/* SPDX-License-Identifier: Apache-2.0
 *
 * trap.c - see trap.h.
 *
 * The handler looks engines up without a lock: a slot is counted as in use before it is looked
 * at, and whoever removes a trap empties the slot, then waits for the count to fall to zero.
 * Nothing here is per engine, and a forked child must use none of it (locks may be held by
 * threads that it has not got): `alive` is a page that reads zero in a child.
 */
#include "mmu/trap.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "mmu/trap_arch.h"
#include "mmu/trap_stack.h"
#include "util/lock.h"
#include "util/signals.h"

#define SLOTS 256
#define STACKS 64 /* threads that may be in a fault at once; more wait for one of these to end */
#define STACK_BYTES (96ul << 10)
#define KERNEL_SIGSET 8 /* bytes of a signal mask as the kernel has it */

struct slot {
        _Atomic(struct trap *) trap;
        _Atomic uint32_t users; /* threads that look at it; futex word */
};

/* What the process does with one signal. */
struct disposition {
        _Atomic bool ours;      /* [lock] our handler is, or may be called by the program's */
        unsigned traps;         /* [lock] */
        struct sigaction old;   /* the program's, that ours has taken the place of */
        struct sigaction first; /* the same, when ours came first */
};

static struct {
        struct mutex lock; /* [lock] adding and removing; never taken by the handler */
        struct slot slots[SLOTS];
        struct disposition bus, segv;
        _Atomic(_Atomic uint32_t *) alive;
        char *stacks;
        _Atomic uint64_t free_stacks; /* a bit each */
        _Atomic uint32_t given_back,
                need_one; /* how often a stack was; threads that wait for one */
} traps;

/* The signal as the program's handler gets it. That handler may call ours again, if it was put on
 * top of ours and ours on top of it: the mark tells. */
struct passed {
        siginfo_t info;
        uintptr_t mark;
};
#define MARK_OF(p) ((uintptr_t)(p) ^ 0x5afe7a9)

/* A handler that jumped out left its mark behind, and the kernel may put another signal's there: but it
 * puts the context below it, and ours lies below the context. */
static bool is_passed(siginfo_t *info, const void *context)
{
        const struct passed *p = container_of(info, struct passed, info);

        return (uintptr_t)info < (uintptr_t)context && p->mark == MARK_OF(p);
}

static struct disposition *disposition_of(int signo)
{
        return signo == SIGBUS ? &traps.bus : &traps.segv;
}

static bool is_alive(void)
{
        _Atomic uint32_t *alive = atomic_load(&traps.alive);

        return alive && atomic_load(alive);
}

/* --- serving a fault ---------------------------------------------------------------------- */

struct call {
        int signo;
        struct mmu_fault fault;
        enum mmu_verdict verdict;
        struct stack_left left;
};

static enum mmu_verdict ask(struct slot *s, const struct call *c)
{
        enum mmu_verdict v = MMU_NOT_OURS;
        struct trap *t;

        if (!atomic_load_explicit(&s->trap, memory_order_relaxed))
                return v;
        atomic_fetch_add(&s->users, 1);
        t = atomic_load(&s->trap);
        if (t && t->signo == c->signo && c->fault.address >= atomic_load(&t->low) &&
            c->fault.address < atomic_load(&t->high))
                v = t->fault(t, &c->fault);
        if (atomic_fetch_sub(&s->users, 1) == 1 && !atomic_load(&s->trap))
                futex_wake(&s->users, INT_MAX);
        return v;
}

static void serve(struct call *c)
{
        for (unsigned i = 0; i < SLOTS && c->verdict == MMU_NOT_OURS; i++)
                c->verdict = ask(&traps.slots[i], c);
}

/* On our stack. */
static void serve_there(void *arg)
{
        struct call *c = arg;

        stack_arrived(&c->left);
        serve(c);
        stack_return(&c->left);
}

/* Its bit. The thread's own stack may be too small for what a fault needs. Who has one holds nothing
 * that needs another. */
static uint64_t take_stack(void)
{
        uint64_t free = atomic_load(&traps.free_stacks), bit;

        for (;;) {
                uint32_t seen = atomic_load(&traps.given_back);

                bit = free & -free;
                if (bit && atomic_compare_exchange_weak(&traps.free_stacks, &free, free & ~bit))
                        return bit;
                if (!bit) {
                        atomic_fetch_add(&traps.need_one, 1);
                        if (!atomic_load(&traps.free_stacks))
                                futex_wait(&traps.given_back, seen, 0);
                        atomic_fetch_sub(&traps.need_one, 1);
                        free = atomic_load(&traps.free_stacks);
                }
        }
}

static void give_back_stack(uint64_t bit)
{
        atomic_fetch_or(&traps.free_stacks, bit);
        atomic_fetch_add(&traps.given_back, 1);
        if (atomic_load(&traps.need_one))
                futex_wake(&traps.given_back, 1);
}

static void serve_on_own_stack(struct call *c)
{
        uint64_t bit = take_stack();
        char *stack = traps.stacks + (size_t)__builtin_ctzll(bit) * STACK_BYTES;

        stack_leave(&c->left, stack + PAGE_SIZE, STACK_BYTES - PAGE_SIZE);
        trap_call_on(serve_there, c, stack + STACK_BYTES - 64);
        stack_returned(&c->left);
        give_back_stack(bit);
}

/* A fault of ours may have come just before its mapping went: then there is nothing there now,
 * and the access, run again, gets what the kernel has for that. */
static bool unmapped_now(uint64_t address)
{
        unsigned char vec;

        return mincore((void *)(uintptr_t)address, PAGE_SIZE, &vec) && errno == ENOMEM;
}

static enum mmu_verdict look(int signo, const siginfo_t *info, const ucontext_t *uc)
{
        struct call c = { .signo = signo, .verdict = MMU_NOT_OURS };

        /* Not from kill(2), and no access to what is not mapped at all. */
        if (info->si_code <= 0 || info->si_code == SI_KERNEL ||
            (signo == SIGSEGV && info->si_code != SEGV_ACCERR) || !is_alive())
                return MMU_NOT_OURS;
        c.fault.address = (uint64_t)(uintptr_t)info->si_addr & PAGE_MASK;
        c.fault.tid = thread_id();
        trap_arch_access(uc, &c.fault);
        serve_on_own_stack(&c);
        if (c.verdict == MMU_NOT_OURS && unmapped_now(c.fault.address))
                return MMU_SERVED;
        return c.verdict;
}

/* --- passing on --------------------------------------------------------------------------- */

/* The default action, at the instruction that faulted: the signal waits until our handler has
 * returned to it. */
static void end_process(int signo, siginfo_t *info, ucontext_t *uc)
{
        struct sigaction act = { .sa_handler = SIG_DFL };
        sigset_t set, *interrupted = &uc->uc_sigmask;

        sigemptyset(&set);
        sigaddset(&set, signo);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        sigaction(signo, &act, NULL);
        syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), signo, info);
        /* A thread that blocks it is killed all the same, as by the kernel. */
        ((unsigned char *)interrupted)[(signo - 1) / 8] &= (unsigned char)~(1u << (signo - 1) % 8);
}

static void call_program(const struct sigaction *act, int signo, const siginfo_t *info,
                         ucontext_t *uc)
{
        struct passed p = { .info = *info, .mark = MARK_OF(&p) };
        sigset_t mask, interrupted;

        sigemptyset(&interrupted);
        memcpy(&interrupted, &uc->uc_sigmask, KERNEL_SIGSET);
        sigorset(&mask, &interrupted, &act->sa_mask);
        if (!(act->sa_flags & SA_NODEFER))
                sigaddset(&mask, signo);
        pthread_sigmask(SIG_SETMASK, &mask, NULL);
        /* It may return, and the access runs again; or jump out. */
        if (act->sa_flags & SA_SIGINFO)
                act->sa_sigaction(signo, &p.info, uc);
        else
                act->sa_handler(signo);
        p.mark = 0;
}

/* The program gets the signal, as if we were not there. */
static void pass_on(int signo, siginfo_t *info, ucontext_t *uc, bool again)
{
        struct disposition *d = disposition_of(signo);
        struct sigaction act;

        if (!atomic_load(&d->ours))
                sigaction(signo, NULL, &act);
        else
                act = again ? d->first : d->old;
        if (act.sa_handler == SIG_DFL || act.sa_handler == SIG_IGN) {
                end_process(signo, info, uc);
                return;
        }
        if ((act.sa_flags & SA_RESETHAND) && !again)
                d->old.sa_handler = SIG_DFL;
        call_program(&act, signo, info, uc);
}

static void on_trap(int signo, siginfo_t *info, void *context)
{
        bool again = is_passed(info, context);
        int saved = errno, cancel;
        enum mmu_verdict v;
        siginfo_t other;

        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
        v = again ? MMU_NOT_OURS : look(signo, info, context);
        pthread_setcancelstate(cancel, NULL);
        errno = saved;
        switch (v) {
        case MMU_SERVED:
                return;
        case MMU_SIGBUS:
                if (signo == SIGBUS)
                        break;
                /* An access that the kernel knows nothing wrong of but its protection. */
                memset(&other, 0, sizeof(other));
                other.si_signo = SIGBUS;
                other.si_code = BUS_ADRERR;
                other.si_addr = info->si_addr;
                pass_on(SIGBUS, &other, context, false);
                return;
        case MMU_SIGSEGV_KEY:
                info->si_code = SEGV_PKUERR;
                break;
        case MMU_NOT_OURS:
        case MMU_SIGSEGV:
                break;
        }
        pass_on(signo, info, context, again);
}

/* --- installing --------------------------------------------------------------------------- */

/* => traps.lock held */
static int install(int signo)
{
        struct disposition *d = disposition_of(signo);
        struct sigaction act = { .sa_sigaction = on_trap,
                                 .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK | SA_RESTART };
        struct sigaction now;

        mutex_assert_held(&traps.lock);
        if (sigaction(signo, NULL, &now))
                return -errno;
        if (now.sa_sigaction == on_trap)
                return 0;
        d->old = now;
        if (!atomic_load(&d->ours))
                d->first = now;
        atomic_store(&d->ours, true);
        /* Whatever an instruction raises still comes through: blocked, it would end the process
         * without a word. */
        signals_asynchronous(&act.sa_mask);
        return sigaction(signo, &act, NULL) ? -errno : 0;
}

/* => traps.lock held */
static void uninstall(int signo)
{
        struct disposition *d = disposition_of(signo);
        struct sigaction now;

        mutex_assert_held(&traps.lock);
        /* A handler put on top of ours may call ours, which then passes everything on. */
        if (sigaction(signo, NULL, &now) || now.sa_sigaction != on_trap)
                return;
        sigaction(signo, &d->old, NULL);
        atomic_store(&d->ours, false);
}

/* In a new process, be it the first or one that was forked. => traps.lock held */
static int begin(void)
{
        _Atomic uint32_t *alive = atomic_load(&traps.alive);

        mutex_assert_held(&traps.lock);
        if (is_alive())
                return 0;
        if (!alive) {
                alive = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                             -1, 0);
                if (alive == MAP_FAILED)
                        return -ENOMEM;
                madvise((void *)alive, PAGE_SIZE, MADV_WIPEONFORK);
        }
        if (!traps.stacks) {
                char *p = mmap(NULL, STACKS * STACK_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

                if (p == MAP_FAILED)
                        return -ENOMEM;
                /* A page that is not there between each and the next. */
                for (unsigned i = 0; i < STACKS; i++)
                        mprotect(p + i * STACK_BYTES, PAGE_SIZE, PROT_NONE);
                traps.stacks = p;
        }
        stack_forget(traps.stacks, STACKS * STACK_BYTES);
        memset(traps.slots, 0, sizeof(traps.slots));
        traps.bus.traps = traps.segv.traps = 0;
        atomic_store(&traps.free_stacks, UINT64_MAX);
        atomic_store(&traps.need_one, 0);
        atomic_store(&traps.alive, alive);
        atomic_store(alive, 1);
        return 0;
}

static void warn_if_blocked(int signo)
{
        sigset_t set;

        if (pthread_sigmask(SIG_BLOCK, NULL, &set) || !sigismember(&set, signo))
                return;
        fprintf(stderr,
                "faultline: %s is blocked in the thread that opens an engine: the kernel ends the "
                "process when such a thread faults on a mapping\n",
                signo == SIGBUS ? "SIGBUS" : "SIGSEGV");
}

/* => traps.lock held */
static int take_slot(struct trap *t)
{
        mutex_assert_held(&traps.lock);
        for (unsigned i = 0; i < SLOTS; i++) {
                if (atomic_load(&traps.slots[i].trap))
                        continue;
                t->slot = i;
                atomic_store(&traps.slots[i].trap, t);
                return 0;
        }
        return -ENOSPC;
}

int trap_add(struct trap *t)
{
        int error;

        atomic_store(&t->low, UINT64_MAX);
        atomic_store(&t->high, 0);
        mutex_lock(&traps.lock);
        error = begin();
        if (!error)
                error = install(t->signo);
        if (!error)
                error = take_slot(t);
        if (!error)
                disposition_of(t->signo)->traps++;
        mutex_unlock(&traps.lock);
        if (!error)
                warn_if_blocked(t->signo);
        return error;
}

void trap_remove(struct trap *t)
{
        struct slot *s = &traps.slots[t->slot];

        mutex_lock(&traps.lock);
        atomic_store(&s->trap, NULL);
        for (uint32_t n; (n = atomic_load(&s->users)) != 0;)
                futex_wait(&s->users, n, 1000000);
        if (--disposition_of(t->signo)->traps == 0)
                uninstall(t->signo);
        mutex_unlock(&traps.lock);
}

void trap_cover(struct trap *t, uint64_t addr, uint64_t len)
{
        uint64_t low = atomic_load(&t->low), high = atomic_load(&t->high);

        while (addr < low && !atomic_compare_exchange_weak(&t->low, &low, addr))
                ;
        while (addr + len > high && !atomic_compare_exchange_weak(&t->high, &high, addr + len))
                ;
}
