/* SPDX-License-Identifier: Apache-2.0
 *
 * race_canary.c - a data race, planted: ./dev sanitize thread expects it to be reported.
 */
#include <pthread.h>
#include <stdio.h>

static int count;

static void *add(void *arg)
{
        for (int i = 0; i < 1000; i++)
                count++;
        return arg;
}

int main(void)
{
        pthread_t thread;

        if (pthread_create(&thread, NULL, add, NULL))
                return 77;
        add(NULL);
        pthread_join(thread, NULL);
        printf("%d\n", count);
        return 0;
}
