/* SPDX-License-Identifier: Apache-2.0
 *
 * kernel_memory.c - the kernel has no memory for a page: UFFDIO_COPY says ENOMEM, as a seccomp filter makes
 * it do. A private page in its slot is not lost for that, and nobody asks again and again.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "swapping.h"

#define PAGE TEST_PAGE
#define PAGES 64ul

/* From now on, for all threads. */
static void deny_copies(void)
{
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)UFFDIO_COPY, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog filter = { sizeof(code) / sizeof(*code), code };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter))
                test_skip("seccomp filters are not allowed");
}

int main(int argc, char **argv)
{
        struct fl_error_info info = { .size = sizeof(info) };
        struct fl_engine *e;
        unsigned char byte;
        struct fl_stats st;
        struct caught c;
        char *p;

        test_begin(argc, argv, 1, 1, 60);
        e = open_with_swap(256, "ram:4M", NULL);
        p = map_file(e, NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
        expect(fl_madvise(e, p, PAGES * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        for (uint64_t n = 0; n < PAGES; n++)
                stamp_write(p + n * PAGE, n, 1);
        evict_all(e, p, PAGES, PAGES);
        check_engine(e);
        deny_copies();
        st = get_stats(e);
        c = try_load(p + 5 * PAGE, &byte);
        if (!c.signo)
                test_skip("this MMU makes pages in another way");
        expect(c.signo == SIGBUS, "a page that the kernel has no memory for: %s", caught_name(c));
        expect(fl_error(e, p, PAGES * PAGE, &info) == 1 && info.addr == p + 5 * PAGE &&
                       info.error == ENOMEM,
               "what is told of it: %s", strerror(info.error));
        /* Read once with what is around it, and once alone, for each time that the fault is told. */
        expect(get_stats(e).bios - st.bios <= 8, "%llu reads",
               (unsigned long long)(get_stats(e).bios - st.bios));
        check_engine(e);
        expect(fl_error_clear(e, p, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect_eq(resident(e, p, PAGES), 0, "pages in memory: it waits in its slot");
        check_engine(e);
        unmap(e, p, PAGES);
        close_engine(e);
        return test_end();
}
