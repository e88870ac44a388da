/* SPDX-License-Identifier: Apache-2.0
 *
 * holder.c - holder URI PAGE...: an engine that has these pages of a file in its cache, and stays until
 * its standard input ends. Prints how many are there by fl_mincore; what it may ask for is --cache and
 * the like, by their environment twins.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <faultline/faultline.h>

static int fail(void)
{
        fprintf(stderr, "holder: %s\n", fl_strerror());
        return 1;
}

int main(int argc, char **argv)
{
        struct fl_engine_config config = { .size = sizeof(config), .cache = 64 << 20 };
        struct fl_engine *e = fl_engine_open(&config);
        struct fl_file *f = e && argc > 1 ? fl_file_open(e, argv[1], O_RDONLY, NULL) : NULL;
        unsigned long here = 0, pages;
        unsigned char *vec;
        struct stat st;
        char *p, byte;

        if (!f || fl_fstat(f, &st))
                return fail();
        p = fl_mmap(e, NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, f, 0);
        if (p == MAP_FAILED || fl_madvise(e, p, (size_t)st.st_size, MADV_RANDOM))
                return fail();
        for (int i = 2; i < argc; i++)
                *(volatile char *)(p + atol(argv[i]) * 4096);
        pages = ((unsigned long)st.st_size + 4095) / 4096;
        vec = malloc(pages);
        if (!vec || fl_mincore(e, p, (size_t)st.st_size, vec))
                return fail();
        for (unsigned long i = 0; i < pages; i++)
                here += vec[i] & 1;
        free(vec);
        printf("%lu\n", here);
        fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0)
                ;
        return fl_munmap(e, p, (size_t)st.st_size) || fl_file_close(f) || fl_engine_close(e)
                       ? fail()
                       : 0;
}
