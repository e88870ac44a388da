/* SPDX-License-Identifier: Apache-2.0
 *
 * child.c - what a forked child closes: a table of the process's, of atomics, since fork(2) stops no
 * thread that is writing to it.
 */
#include "live/child.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/base.h"

#define CHILD_SLOTS 1024

/* fork(2) copies the table of descriptors before the memory, so a number may have become another file's:
 * the inode says whether it is still ours. 0 in `used`: free. */
static struct {
        _Atomic uint32_t used;
        _Atomic int fd; /* and 1 more; 0: none */
        _Atomic uint64_t inode;
} slots[CHILD_SLOTS];
static pthread_once_t at_fork = PTHREAD_ONCE_INIT;

static void close_in_child(void)
{
        struct stat st;

        for (unsigned i = 0; i < CHILD_SLOTS; i++) {
                int fd = atomic_load(&slots[i].fd) - 1;

                if (fd >= 0 && !fstat(fd, &st) && S_ISSOCK(st.st_mode) &&
                    st.st_ino == atomic_load(&slots[i].inode))
                        close(fd);
        }
}

static void watch_forks(void)
{
        pthread_atfork(NULL, NULL, close_in_child);
}

int child_closes(int fd)
{
        struct stat st;

        pthread_once(&at_fork, watch_forks);
        if (fstat(fd, &st))
                return -errno;
        for (unsigned i = 0; i < CHILD_SLOTS; i++) {
                uint32_t unused = 0;

                if (!atomic_compare_exchange_strong(&slots[i].used, &unused, 1))
                        continue;
                atomic_store(&slots[i].inode, st.st_ino);
                atomic_store(&slots[i].fd, fd + 1);
                return (int)i;
        }
        return -ENFILE;
}

void child_slot_free(int slot)
{
        if (slot < 0)
                return;
        atomic_store(&slots[slot].fd, 0);
        atomic_store(&slots[slot].used, 0);
}
