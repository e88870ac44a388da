/* SPDX-License-Identifier: Apache-2.0
 *
 * confined.c PROGRAM... [--long PROGRAM...] - runs other tests where little is allowed: as a user
 * whom nobody permits userfaultfd, and under a seccomp filter that forbids userfaultfd and io_uring
 * as that of a container does. "auto" has to find an MMU there, and everything has to hold on it.
 *
 * A filter needs libseccomp, another user needs root; what is missing is left out, and said. Those
 * after --long run only with FAULTLINE_TEST_LONG.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif

#define NOBODY 65534
#define MAX_PROGRAMS 64

static char folder[] = "/var/tmp/faultline-confined-XXXXXX";
static unsigned passed, skipped, failed;

/* --- the confinements: in the child, before it becomes the program. False: not possible --- */

static bool be_nobody(void)
{
        if (geteuid() != 0)
                return true; /* as we are */
        return !setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY) &&
               !setresuid(NOBODY, NOBODY, NOBODY);
}

static bool be_filtered(void)
{
#ifdef HAVE_SECCOMP
        static const char *const forbidden[] = { "userfaultfd", "io_uring_setup", "io_uring_enter",
                                                 "io_uring_register" };
        const struct scmp_arg_cmp new_descriptor = { .arg = 1,
                                                     .op = SCMP_CMP_EQ,
                                                     .datum_a = 0xaa00 };
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        int device;

        for (unsigned i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++)
                if (!filter || seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM),
                                                seccomp_syscall_resolve_name(forbidden[i]), 0))
                        return false;
        /* The device is no way round: its one ioctl is forbidden too. */
        device = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                                        &new_descriptor);
        return !device && !seccomp_load(filter);
#else
        return false;
#endif
}

static bool be_both(void)
{
        return be_filtered() && be_nobody();
}

/* --- running one program --- */

static void copy_here(const char *path, const char *name)
{
        int from = open(path, O_RDONLY | O_CLOEXEC);
        int to = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
        char buf[1 << 16];
        ssize_t n;

        while (from >= 0 && to >= 0 && (n = read(from, buf, sizeof(buf))) > 0)
                if (write(to, buf, (size_t)n) != n)
                        break;
        if (from < 0 || to < 0 || n != 0 || fchmod(to, 0755)) {
                perror(path);
                exit(1);
        }
        close(from);
        close(to);
}

static void run(const char *how, bool (*confine)(void), const char *path, const char *mmu)
{
        const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        char here[256];
        int status = -1;
        pid_t pid;

        printf("%s: %s%s%s\n", how, name, mmu ? " --mmu " : "", mmu ? mmu : "");
        fflush(stdout);
        snprintf(here, sizeof(here), "./%s", name);
        copy_here(path, here);
        pid = fork();
        if (pid == 0) {
                setenv("FAULTLINE_TEST_SECONDS", "2", !getenv("FAULTLINE_TEST_LONG"));
                if (!confine())
                        _exit(78);
                if (mmu)
                        execl(here, here, "--mmu", mmu, (char *)NULL);
                else
                        execl(here, here, (char *)NULL);
                _exit(79);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
                perror("fork");
                exit(1);
        }
        unlink(here);
        if (status == 0)
                passed++;
        else if (WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 78))
                skipped++;
        else
                failed++;
        if (status)
                printf("%s: %s: status %#x%s\n", how, name, (unsigned)status,
                       WIFEXITED(status) && WEXITSTATUS(status) == 78
                               ? ": left out, it cannot be arranged here"
                               : "");
}

int main(int argc, char **argv)
{
        const char *is_long = getenv("FAULTLINE_TEST_LONG");
        bool all = is_long && *is_long;
        char *paths[MAX_PROGRAMS];
        unsigned nr = 0, smoke = 0;

#ifdef __SANITIZE_ADDRESS__
        puts("skipped: these tests run under the sanitizer by themselves");
        return 77;
#endif
        for (int i = 1; i < argc && nr < MAX_PROGRAMS; i++) {
                if (!strcmp(argv[i], "--long"))
                        smoke = nr;
                else if (!(paths[nr++] = realpath(argv[i], NULL)))
                        return perror(argv[i]), 1;
        }
        nr = all || !smoke ? nr : smoke;
        unsetenv("FAULTLINE_MMU"); /* what is there to be found is the question */
        if (!mkdtemp(folder) || chmod(folder, 01777) || chdir(folder))
                return perror(folder), 1;
        for (unsigned i = 0; i < nr; i++) {
                bool traps = strstr(paths[i], "/traps") != NULL;

                run("as nobody", be_nobody, paths[i], traps ? "sigbus" : NULL);
                run("filtered", be_filtered, paths[i], traps ? "sigsegv" : NULL);
                if (i == 0 || all)
                        run("as nobody, filtered", be_both, paths[i], traps ? "sigsegv" : NULL);
        }
        if (chdir("/") || rmdir(folder))
                perror(folder);
        printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
        return failed ? 1 : passed ? 0 : 77;
}
