/* SPDX-License-Identifier: Apache-2.0
 *
 * alone.c - sequences of operations by one thread: a cache smaller than the files. What comes of a
 * sequence depends on nothing but its seed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "twin.h"

struct lane alone;
static struct side ours, kernels;
static uint64_t swapped_out; /* pages, in all sequences */

/* Of half a file at most; now and then whole pages, or less than one, or nothing. */
static uint64_t draw_size(uint64_t *s)
{
        uint64_t how = random_below(s, 8), most = FILE_PAGES * PAGE / 2;
        uint64_t size = random_below(s, how == 0 ? PAGE : how == 1 ? most / 8 : most);

        return how < 4 ? size : how < 6 ? size / PAGE * PAGE : size + 1;
}

static void fill_twins(uint64_t *s)
{
        static char bytes[FILE_PAGES * PAGE];

        for (unsigned i = 0; i < FILES; i++) {
                alone.size[i] = draw_size(s);
                for (unsigned n = 0; n < alone.size[i]; n += 8)
                        memcpy(bytes + n, &(uint64_t){ random_next(s) }, 8);
                for (unsigned k = 0; k < 2; k++) {
                        const char *path = k ? kernels.path[i] : ours.path[i];
                        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

                        require(fd >= 0 &&
                                        write(fd, bytes, alone.size[i]) == (ssize_t)alone.size[i],
                                "%s: %s", path, strerror(errno));
                        close(fd);
                }
        }
}

static void begin(uint64_t *s)
{
        char *p;

        fill_twins(s);
        memset(alone.page, 0, sizeof(alone.page));
        ours.engine = open_drawn_engine(CACHE * PAGE, s, &ours.inherits);
        open_side(&ours);
        open_side(&kernels);
        p = map_file(ours.engine, ours.file[0], REGION * PAGE, PROT_READ, MAP_SHARED, 0);
        expect(fl_munmap(ours.engine, p, REGION * PAGE) == 0, "%s", fl_strerror());
        /* Where the engine looks for room, it is not in the region. */
        alone.place[OURS].base = over_seam(p + 1000 * REGION * PAGE);
        map_ballast(&ours);
}

static bool same_files(void)
{
        static char a[FILE_PAGES * PAGE], k[FILE_PAGES * PAGE];

        for (unsigned i = 0; i < FILES; i++) {
                uint64_t size = file_size(kernels.path[i]), n = 0;

                if (file_size(ours.path[i]) != size) {
                        snprintf(alone.told, sizeof(alone.told), "file %u: %llu bytes, not %llu", i,
                                 (unsigned long long)file_size(ours.path[i]),
                                 (unsigned long long)size);
                        return false;
                }
                if (!file_read(ours.path[i], a, size, 0) || !file_read(kernels.path[i], k, size, 0))
                        return false;
                while (n < size && a[n] == k[n])
                        n++;
                if (n == size)
                        continue;
                snprintf(alone.told, sizeof(alone.told),
                         "file %u, page %llu + %llu: %02x, not %02x", i,
                         (unsigned long long)(n / PAGE), (unsigned long long)(n % PAGE),
                         (unsigned char)a[n], (unsigned char)k[n]);
                return false;
        }
        return true;
}

static bool finish(bool same, bool check)
{
        unsigned was = test_failures();

        if (same && check) {
                check_engine(ours.engine);
                same = test_failures() == was;
                if (!same)
                        snprintf(alone.told, sizeof(alone.told), "the engine's invariants");
        }
        swapped_out += get_stats(ours.engine).swap_outs;
        unmap_all(&alone);
        unmap_ballast(&ours);
        close_side(&ours);
        close_side(&kernels);
        close_engine(ours.engine);
        return same && same_files();
}

unsigned run_sequence(const struct op *ops, uint64_t seed)
{
        static char where[256];
        uint64_t files = seed;
        bool same = true;
        unsigned i;

        begin(&files);
        for (i = 0; i < OPS && same; i++) {
                if (ops[i].left_out)
                        continue;
                snprintf(where, sizeof(where), "operation %u: %s", i, op_text(&ops[i]));
                test_at(where);
                same = step(&alone, &ops[i]);
        }
        test_at("the end of a sequence");
        return finish(same, seed % 4 == 0) ? OPS : i - 1; /* the check takes long */
}

void alone_begin(void)
{
        name_sides(&ours, &kernels);
        alone.place[OURS].side = &ours;
        alone.place[KERNELS].side = &kernels;
        alone.place[KERNELS].base = find_place();
        for (unsigned k = 0; k < SIDES; k++)
                alone.place[k].lane = &alone;
}

uint64_t alone_run(uint64_t most)
{
        static struct op ops[OPS];
        uint64_t done = 0;

        for (; done < most; done += OPS, test.seed++) {
                uint64_t seed = test.seed;
                unsigned last;

                for (unsigned i = 0; i < OPS; i++)
                        draw_op(&ops[i], ALONE, &seed);
                last = run_sequence(ops, test.seed);
                if (last < OPS)
                        tell(ops, test.seed, last);
                if (test_failures() || (most == UINT64_MAX && test_left() < 0))
                        break;
        }
        printf("%llu pages swapped out\n", (unsigned long long)swapped_out);
        return done;
}
