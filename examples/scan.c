/* SPDX-License-Identifier: Apache-2.0
 *
 * scan.c - sums the bytes of a file through a mapping that may hold no more than 16 MiB of it.
 *
 * Build: cc scan.c $(pkg-config --cflags --libs faultline)     Run: ./scan FILE
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include <faultline/faultline.h>

static int fail(void)
{
        fprintf(stderr, "scan: %s\n", fl_strerror());
        return 1;
}

int main(int argc, char **argv)
{
        struct fl_engine_config config = { .size = sizeof(config), .cache = 16 << 20 };
        struct fl_stats stats = { .size = sizeof(stats) };
        struct fl_engine *engine;
        struct fl_file *file;
        struct stat st;
        uint64_t sum = 0;

        if (argc != 2) {
                fprintf(stderr, "usage: scan FILE\n");
                return 2;
        }
        engine = fl_engine_open(&config);
        if (!engine)
                return fail();
        file = fl_file_open(engine, argv[1], O_RDONLY, NULL);
        if (!file || fl_fstat(file, &st))
                return fail();
        if (st.st_size > 0) {
                size_t size = (size_t)st.st_size;
                const unsigned char *bytes =
                        fl_mmap(engine, NULL, size, PROT_READ, MAP_SHARED, file, 0);

                if (bytes == MAP_FAILED || fl_madvise(engine, (void *)bytes, size, MADV_SEQUENTIAL))
                        return fail();
                for (size_t i = 0; i < size; i++) /* plain loads; the engine does the rest */
                        sum += bytes[i];
        }
        if (fl_stats(engine, &stats))
                return fail();
        printf("%" PRIu64 "\n", sum);
        fprintf(stderr,
                "%" PRIu64 " major and %" PRIu64 " minor faults, at most %" PRIu64
                " KiB of memory\n",
                stats.faults_major, stats.faults_minor, stats.cache_bytes_peak >> 10);
        if (fl_file_close(file) || fl_engine_close(engine))
                return fail();
        return 0;
}
