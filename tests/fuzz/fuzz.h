/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz.h - what the fuzzers share: an input as a file, and a failure that libFuzzer keeps.
 *
 * Each is one LLVMFuzzerTestOneInput(): whatever the input, it returns, and nothing is leaked, read or
 * written where it should not be. What it found once is a seed, in seeds/NAME.
 */
#ifndef FAULTLINE_TESTS_FUZZ_H
#define FAULTLINE_TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(cond)                                                                                 \
        do {                                                                                       \
                if (!(cond)) {                                                                     \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);         \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

/* The input with a NUL behind it; the caller frees it. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
        char *text = malloc(size + 1);

        must(text);
        memcpy(text, data, size);
        text[size] = 0;
        return text;
}

/* The path of a file that holds the input, until the next call. */
static inline const char *fuzz_file(const uint8_t *data, size_t size)
{
        static char path[32];
        static int fd = -1;

        if (fd < 0) {
                fd = memfd_create("fuzz", MFD_CLOEXEC);
                must(fd >= 0);
                snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        }
        must(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
        return path;
}

#endif
