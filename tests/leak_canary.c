/* SPDX-License-Identifier: Apache-2.0
 *
 * leak_canary.c - leaks on purpose. `./dev sanitize` is red unless this is reported: then the
 * silence of the other tests would mean nothing. Built with the address sanitizer only.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "util/loop.h"

/* In a thread of its own, so that no register or stack slot of main() still points to it. */
static void *leak(void *arg)
{
        char *lost = malloc(4096);

        (void)arg;
        if (lost)
                memset(lost, 1, 4096);
        __asm__ volatile("" : : "r"(lost) : "memory"); /* the compiler must not drop it */
        return NULL;
}

int main(void)
{
        struct loop *loop;
        pthread_t thread;

        /* Threads of the engine's kind run meanwhile: the leak is found beside them too. */
        if (loop_create(&loop, 2, "canary"))
                return 0;
        if (pthread_create(&thread, NULL, leak, NULL) == 0)
                pthread_join(thread, NULL);
        loop_destroy(loop);
        return 0;
}
