/* SPDX-License-Identifier: Apache-2.0
 *
 * task.c - the engine's view of a process: so far a pid and its address space.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "vm/mm.h"

int task_create(struct task **out, struct mm *mm)
{
        struct task *t = calloc(1, sizeof(*t));

        if (!t)
                return -ENOMEM;
        t->mm = mm;
        t->pid = getpid();
        *out = t;
        return 0;
}

void task_destroy(struct task *t)
{
        free(t);
}
