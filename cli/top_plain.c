/* SPDX-License-Identifier: Apache-2.0
 *
 * top_plain.c - in place of top_screen.c where there is no ncurses.
 */
#include "top.h"

const bool top_has_screen = false;

int top_screen(struct top *t, uint64_t times)
{
        (void)t, (void)times;
        return EXIT_FAILED;
}
