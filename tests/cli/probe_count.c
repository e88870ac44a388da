/* SPDX-License-Identifier: Apache-2.0
 *
 * probe_count.c - how often a command came by a probe, as the kernel counts it.
 *
 *     probe_count FILE PLACE COUNTER COMMAND...
 *
 * PLACE and COUNTER are offsets in FILE, an absolute path: of the probe's nop, and of what is to be
 * raised while somebody is attached to it; 0: nothing is. On every processor, since an event that is
 * inherited breaks fork() in what it is inherited by. Exit status: 77 where nobody may attach.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_CPUS 1024

static int give_up(const char *what)
{
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        return 77;
}

/* Of the kernel's kind of event for uprobes; -1: it has none. */
static int uprobe_type(void)
{
        FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
        int type;

        if (!f || fscanf(f, "%d", &type) != 1)
                type = -1;
        if (f)
                fclose(f);
        return type;
}

static int run(char **argv)
{
        pid_t child = fork();
        int status;

        if (child == 0) {
                execvp(argv[0], argv);
                _exit(127);
        }
        return child < 0 || waitpid(child, &status, 0) != child || status;
}

int main(int argc, char **argv)
{
        long cpus = sysconf(_SC_NPROCESSORS_CONF);
        struct perf_event_attr attr = { .size = sizeof(attr) };
        int fd[MOST_CPUS], type = uprobe_type();
        uint64_t all = 0, one;

        if (argc < 5 || cpus > MOST_CPUS)
                return 2;
        if (type < 0)
                return give_up("uprobes");
        attr.type = (uint32_t)type;
        attr.uprobe_path = (uintptr_t)argv[1];
        attr.probe_offset = strtoull(argv[2], NULL, 0);
        attr.config = strtoull(argv[3], NULL, 0) << 32;
        for (long i = 0; i < cpus; i++) {
                fd[i] = (int)syscall(SYS_perf_event_open, &attr, -1, (int)i, -1, 0);
                if (fd[i] < 0 && errno == ENODEV) /* is off */
                        continue;
                if (fd[i] < 0)
                        return give_up("perf_event_open");
        }
        if (run(argv + 4))
                return 1;
        for (long i = 0; i < cpus; i++)
                if (fd[i] >= 0 && read(fd[i], &one, sizeof(one)) == sizeof(one))
                        all += one;
        printf("%" PRIu64 "\n", all);
        return 0;
}
