/* SPDX-License-Identifier: Apache-2.0
 *
 * counter.c - a counter that lives in a file: a shared, writable mapping, and msync.
 *
 * Each run adds one, puts it on the disk and prints it. Run: ./counter FILE
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include <faultline/faultline.h>

static int fail(void)
{
        fprintf(stderr, "counter: %s\n", fl_strerror());
        return 1;
}

int main(int argc, char **argv)
{
        struct fl_engine *engine;
        struct fl_file *file;
        uint64_t *counter;
        struct stat st;

        if (argc != 2) {
                fprintf(stderr, "usage: counter FILE\n");
                return 2;
        }
        engine = fl_engine_open(NULL);
        if (!engine)
                return fail();
        file = fl_file_open(engine, argv[1], O_RDWR | O_CREAT, NULL);
        if (!file || fl_fstat(file, &st))
                return fail();
        /* A store beyond the last page of a file has nowhere to go: make room first. */
        if (st.st_size < (off_t)sizeof(*counter) && fl_ftruncate(file, sizeof(*counter)))
                return fail();
        counter = fl_mmap(engine, NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED, file,
                          0);
        if (counter == MAP_FAILED)
                return fail();
        ++*counter;
        if (fl_msync(engine, counter, sizeof(*counter), MS_SYNC))
                return fail();
        printf("%" PRIu64 "\n", *counter); /* it is on the disk before anybody reads it here */
        if (fl_munmap(engine, counter, sizeof(*counter)) || fl_file_close(file) ||
            fl_engine_close(engine))
                return fail();
        return 0;
}
