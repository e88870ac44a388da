/* SPDX-License-Identifier: Apache-2.0
 *
 * say.c - see say.h.
 */
#include "util/say.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/text.h"

void say_line(char *line)
{
        struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
        struct iovec iov[2] = { { line, strlen(line) }, { (char *)"\n", 1 } };
        int saved = errno;

        text_one_line(line);
        if (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT) || writev(STDERR_FILENO, iov, 2) < 0)
                line[0] = 0; /* there is nobody to tell */
        errno = saved;
}
