/* SPDX-License-Identifier: Apache-2.0
 *
 * twin.c - random calls and accesses, the same on an engine and on the kernel's own mappings of
 * twin files: every return value, errno, byte and signal has to be the same, and so have the files
 * at the end. One thread; a cache smaller than the files.
 *
 * A sequence depends on nothing but its seed: `twin 0 SEED` runs that one again. On a difference
 * the sequence is cut down to the operations that matter, which are printed.
 *
 * FAULTLINE_TEST_OPS is the number of operations, instead of a time.
 *
 * Left out, since it has no one answer: a store through a shared mapping behind the end of the file
 * in its last page (the kernel clears it when it likes); and private copies dropped behind the
 * engine's back (the engine makes the next touch a copy, the kernel shows the file again).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define REGION 40u /* pages in which everything is mapped */
#define FILES 2u
#define HANDLES 3u    /* both files for reading and writing, the first also only for reading */
#define FILE_PAGES 64 /* at most */
#define OPS 300u      /* in a sequence */
#define CACHE 72ul    /* pages */
#define BUF (4 * PAGE)
#define MAX_TRIALS 400u /* of leaving operations out */

enum kind {
        MMAP,
        MUNMAP,
        MPROTECT,
        MADVISE,
        DROP, /* MADV_DONTNEED by the kernel, behind the engine's back */
        MSYNC,
        MINCORE,
        LOAD,
        STORE,
        PREAD,
        PWRITE,
        FTRUNCATE,
        FSYNC,
        FSTAT,
        SET_CACHE, /* the engine only */
        NR_KINDS
};

static const struct {
        const char *name;
        unsigned weight;
} kinds[NR_KINDS] = {
        [MMAP] = { "mmap", 14 },          [MUNMAP] = { "munmap", 5 },
        [MPROTECT] = { "mprotect", 12 },  [MADVISE] = { "madvise", 12 },
        [DROP] = { "drop", 3 },           [MSYNC] = { "msync", 4 },
        [MINCORE] = { "mincore", 3 },     [LOAD] = { "load", 40 },
        [STORE] = { "store", 40 },        [PREAD] = { "pread", 12 },
        [PWRITE] = { "pwrite", 12 },      [FTRUNCATE] = { "ftruncate", 6 },
        [FSYNC] = { "fsync", 1 },         [FSTAT] = { "fstat", 2 },
        [SET_CACHE] = { "set_cache", 2 },
};

struct op {
        enum kind kind;
        bool left_out;
        size_t at, len; /* bytes from the region's begin */
        int arg;        /* prot, advice, flags, the value of a store */
        int flags;
        unsigned handle;
        off_t offset;
};

/* What came of an operation on one side. */
struct outcome {
        long result;
        int error; /* 0: none */
        struct caught caught;
        size_t at;         /* of the signal, from the region's begin */
        size_t len;        /* bytes in buf */
        const void *bytes; /* to be compared */
};

struct side {
        char *base;
        struct fl_file *file[HANDLES]; /* ours */
        int fd[HANDLES];               /* the kernel's */
        const char *path[FILES];
        char buf[BUF];
};

static struct {
        struct fl_engine *engine;
        struct side ours, kernel;
        struct {
                bool mapped, shared;
                unsigned handle;
                uint64_t index; /* in the file */
        } page[REGION];
        uint64_t size[FILES];
        char told[512]; /* the difference */
} twin;

static unsigned file_of(unsigned handle)
{
        return handle % FILES;
}

/* --- operations --- */

static const int prots[] = { PROT_READ,
                             PROT_READ | PROT_WRITE,
                             PROT_READ | PROT_WRITE,
                             PROT_READ | PROT_WRITE,
                             PROT_WRITE,
                             PROT_NONE,
                             PROT_READ | PROT_EXEC };
static const int advices[] = { MADV_NORMAL,   MADV_RANDOM,   MADV_SEQUENTIAL,
                               MADV_WILLNEED, MADV_DONTNEED, MADV_DONTNEED,
                               1234 };

#define pick(seed, array) ((array)[random_below((seed), sizeof(array) / sizeof((array)[0]))])

/* Mostly whole pages of the region; now and then not so, or nothing. */
static void draw_range(struct op *o, uint64_t *s)
{
        uint64_t first = random_below(s, REGION), most = REGION - first;
        uint64_t nr = 1 + random_below(s, random_below(s, 4) ? (most < 6 ? most : 6) : most);

        o->at = first * PAGE;
        o->len = nr * PAGE;
        if (random_below(s, 8) == 0)
                o->len -= random_below(s, PAGE);
        if (random_below(s, 24) == 0)
                o->at += 1 + random_below(s, PAGE - 1);
        if (random_below(s, 40) == 0)
                o->len = 0;
}

static void draw_map(struct op *o, uint64_t *s)
{
        static const int fixed[] = { MAP_FIXED, MAP_FIXED, MAP_FIXED, MAP_FIXED_NOREPLACE, 0 };

        draw_range(o, s);
        o->arg = pick(s, prots);
        o->flags = (random_below(s, 2) ? MAP_SHARED : MAP_PRIVATE) | pick(s, fixed);
        o->flags |= random_below(s, 8) ? 0 : MAP_NORESERVE;
        o->offset = (off_t)(random_below(s, FILE_PAGES) * PAGE);
        if (random_below(s, 40) == 0)
                o->offset += 512;
}

static enum kind draw_kind(uint64_t *s)
{
        unsigned total = 0, k = 0;
        uint64_t n;

        for (unsigned i = 0; i < NR_KINDS; i++)
                total += kinds[i].weight;
        for (n = random_below(s, total); n >= kinds[k].weight; k++)
                n -= kinds[k].weight;
        return (enum kind)k;
}

static void draw(struct op *o, uint64_t *s)
{
        *o = (struct op){ .kind = draw_kind(s), .handle = (unsigned)random_below(s, HANDLES) };
        switch (o->kind) {
        case MMAP:
                draw_map(o, s);
                break;
        case LOAD:
        case STORE:
                o->at = random_below(s, REGION * PAGE);
                o->arg = (int)random_below(s, 256);
                break;
        case PREAD:
        case PWRITE:
        case FTRUNCATE:
                o->offset = (off_t)random_below(s, (FILE_PAGES - 4) * PAGE);
                if (random_below(s, 2))
                        o->offset &= ~(off_t)(PAGE - 1);
                if (random_below(s, 50) == 0)
                        o->offset = -o->offset;
                o->len = random_below(s, 2) ? PAGE : random_below(s, BUF + 1);
                o->arg = (int)random_below(s, 256);
                break;
        case SET_CACHE:
                o->len = (CACHE + random_below(s, 2) * 128) * PAGE;
                break;
        default:
                draw_range(o, s);
                o->arg = o->kind == MPROTECT  ? pick(s, prots)
                         : o->kind == MADVISE ? pick(s, advices)
                                              : (int)random_below(s, 9); /* MS_ and one more */
        }
}

static const char *op_text(const struct op *o)
{
        static char text[160];
        const char *name = kinds[o->kind].name;
        char at[48];

        snprintf(at, sizeof(at), "page %zu", o->at / PAGE);
        if (o->at % PAGE)
                snprintf(at + strlen(at), sizeof(at) - strlen(at), " + %zu", o->at % PAGE);
        switch (o->kind) {
        case MMAP:
                snprintf(text, sizeof(text),
                         "mmap(%s, %#zx, prot %d, flags %#x, handle %u, offset page %lld + %lld)",
                         at, o->len, o->arg, (unsigned)o->flags, o->handle,
                         (long long)o->offset / (int)PAGE, (long long)o->offset % (int)PAGE);
                break;
        case LOAD:
        case STORE:
                snprintf(text, sizeof(text), "%s at %s", name, at);
                break;
        case PREAD:
        case PWRITE:
        case FTRUNCATE:
                snprintf(text, sizeof(text), "%s(handle %u, %#zx at page %lld + %lld%s)", name,
                         o->handle, o->len, (long long)o->offset / (int)PAGE,
                         (long long)o->offset % (int)PAGE,
                         o->kind == FTRUNCATE && o->arg % 2 ? ", all unmapped" : "");
                break;
        case FSYNC:
        case FSTAT:
                snprintf(text, sizeof(text), "%s(handle %u)", name, o->handle);
                break;
        default:
                snprintf(text, sizeof(text), "%s(%s, %#zx, %#x)", name, at, o->len,
                         (unsigned)o->arg);
        }
        return text;
}

/* --- the same on both sides --- */

static long ours(const struct op *o, char *p)
{
        struct fl_engine *e = twin.engine;
        struct fl_file *f = twin.ours.file[o->handle];
        unsigned char vec[REGION + 1];
        struct stat st;
        void *q;

        switch (o->kind) {
        case MMAP:
                q = fl_mmap(e, p, o->len, o->arg, o->flags, f, o->offset);
                return q == MAP_FAILED ? -1 : (char *)q - twin.ours.base;
        case MUNMAP:
                return fl_munmap(e, p, o->len);
        case MPROTECT:
                return fl_mprotect(e, p, o->len, o->arg);
        case MADVISE:
                return fl_madvise(e, p, o->len, o->arg);
        case DROP:
                return madvise(p, o->len, MADV_DONTNEED);
        case MSYNC:
                return fl_msync(e, p, o->len, o->arg);
        case MINCORE:
                return fl_mincore(e, p, o->len, vec);
        case PREAD:
                return fl_pread(f, twin.ours.buf, o->len, o->offset);
        case PWRITE:
                return fl_pwrite(f, twin.ours.buf, o->len, o->offset);
        case FTRUNCATE:
                return fl_ftruncate(f, o->offset);
        case FSYNC:
                return fl_fsync(f);
        case FSTAT:
                return fl_fstat(f, &st) ? -1 : (long)st.st_size;
        default:
                return 0;
        }
}

static long kernels(const struct op *o, char *p)
{
        int fd = twin.kernel.fd[o->handle];
        unsigned char vec[REGION + 1];
        struct stat st;
        void *q;

        switch (o->kind) {
        case MMAP:
                q = mmap(p, o->len, o->arg, o->flags, fd, o->offset);
                return q == MAP_FAILED ? -1 : (char *)q - twin.kernel.base;
        case MUNMAP:
                return munmap(p, o->len);
        case MPROTECT:
                return mprotect(p, o->len, o->arg);
        case MADVISE:
                return madvise(p, o->len, o->arg);
        case DROP:
                return madvise(p, o->len, MADV_DONTNEED);
        case MSYNC:
                return msync(p, o->len, o->arg);
        case MINCORE:
                return mincore(p, o->len, vec);
        case PREAD:
                return pread(fd, twin.kernel.buf, o->len, o->offset);
        case PWRITE:
                return pwrite(fd, twin.kernel.buf, o->len, o->offset);
        case FTRUNCATE:
                return ftruncate(fd, o->offset);
        case FSYNC:
                return fsync(fd);
        case FSTAT:
                return fstat(fd, &st) ? -1 : (long)st.st_size;
        default:
                return 0;
        }
}

static struct outcome run_on(struct side *side, const struct op *o)
{
        struct outcome out = { 0 };
        char *p = side->base + o->at;

        errno = 0;
        if (o->kind == LOAD || o->kind == STORE) {
                out.caught =
                        o->kind == LOAD ? try_load(p, NULL) : try_store(p, (unsigned char)o->arg);
                if (out.caught.signo)
                        out.at = (size_t)((char *)out.caught.addr - side->base);
                else if (o->kind == LOAD)
                        out.len = PAGE;
                out.bytes = side->base + o->at / PAGE * PAGE;
                return out;
        }
        out.result = side == &twin.ours ? ours(o, p) : kernels(o, p);
        out.error = out.result == -1 ? errno : 0;
        out.bytes = side->buf;
        out.len = o->kind == PREAD && out.result > 0 ? (size_t)out.result : 0;
        return out;
}

/* --- the model: what is mapped where, so that nothing is asked that has no answer --- */

static bool is_mapped(unsigned file)
{
        for (unsigned i = 0; i < REGION; i++)
                if (twin.page[i].mapped && file_of(twin.page[i].handle) == file)
                        return true;
        return false;
}

/* Would it store behind the end of a file, in its last page, through a shared mapping? */
static bool stores_behind_end(const struct op *o)
{
        unsigned i = (unsigned)(o->at / PAGE);
        uint64_t size = twin.size[file_of(twin.page[i].handle)];

        return o->kind == STORE && twin.page[i].mapped && twin.page[i].shared &&
               twin.page[i].index == size / PAGE && o->at % PAGE >= size % PAGE;
}

static bool is_private(const struct op *o)
{
        for (size_t i = o->at / PAGE; i < REGION && i * PAGE < o->at + o->len; i++)
                if (twin.page[i].mapped && !twin.page[i].shared)
                        return true;
        return false;
}

static void note(const struct op *o, long result)
{
        unsigned first = (unsigned)(o->at / PAGE), nr = (unsigned)((o->len + PAGE - 1) / PAGE);
        uint64_t *size = &twin.size[file_of(o->handle)];

        if (result < 0)
                return;
        if (o->kind == MMAP || o->kind == MUNMAP)
                for (unsigned i = 0; i < nr; i++) {
                        twin.page[first + i].mapped = o->kind == MMAP;
                        twin.page[first + i].shared = o->flags & MAP_SHARED;
                        twin.page[first + i].handle = o->handle;
                        twin.page[first + i].index = (uint64_t)o->offset / PAGE + i;
                }
        else if (o->kind == PWRITE && result > 0 && (uint64_t)(o->offset + result) > *size)
                *size = (uint64_t)(o->offset + result);
        else if (o->kind == FTRUNCATE)
                *size = (uint64_t)o->offset;
}

/* --- comparison --- */

static bool differs(const struct op *o, const struct outcome *a, const struct outcome *k)
{
        const char *x = a->bytes, *y = k->bytes;
        size_t i = 0;

        twin.told[0] = 0;
        if (a->caught.signo != k->caught.signo || a->caught.code != k->caught.code)
                snprintf(twin.told, sizeof(twin.told), "%s: the engine %s, the kernel %s",
                         op_text(o), caught_name(a->caught), caught_name(k->caught));
        else if (a->at != k->at)
                snprintf(twin.told, sizeof(twin.told), "%s: %s at %#zx, the kernel's at %#zx",
                         op_text(o), caught_name(a->caught), a->at, k->at);
        else if (a->result != k->result || a->error != k->error)
                snprintf(twin.told, sizeof(twin.told),
                         "%s: the engine %ld (%s), the kernel %ld (%s)", op_text(o), a->result,
                         strerror(a->error), k->result, strerror(k->error));
        else if (a->len && memcmp(x, y, a->len)) {
                while (x[i] == y[i])
                        i++;
                snprintf(twin.told, sizeof(twin.told), "%s: byte %zu is %02x, the kernel's %02x",
                         op_text(o), i, (unsigned char)x[i], (unsigned char)y[i]);
        }
        return twin.told[0];
}

/* A mapping where the kernel likes: the place differs. Taken away again. */
static void place_anywhere(struct outcome *a, struct outcome *k, const struct op *o)
{
        if (a->result != -1)
                expect(fl_munmap(twin.engine, twin.ours.base + a->result, o->len) == 0, "%s",
                       fl_strerror());
        if (k->result != -1)
                munmap(twin.kernel.base + k->result, o->len);
        a->result = a->result == -1 ? -1 : 0;
        k->result = k->result == -1 ? -1 : 0;
}

static void unmap_all(void)
{
        expect(fl_munmap(twin.engine, twin.ours.base, REGION * PAGE) == 0, "%s", fl_strerror());
        munmap(twin.kernel.base, REGION * PAGE);
        memset(twin.page, 0, sizeof(twin.page));
}

/* The engine refuses to truncate what is mapped: it is asked, or everything is unmapped before. */
static bool ready_to_truncate(const struct op *o)
{
        if (o->handle >= FILES || o->offset < 0 || !is_mapped(file_of(o->handle)))
                return true;
        if (o->arg % 2) {
                unmap_all();
                return true;
        }
        expect(fl_ftruncate(twin.ours.file[o->handle], o->offset) == -1 && errno == EBUSY,
               "fl_ftruncate of a mapped file: %s", fl_strerror());
        return false;
}

/* True: the same on both sides. */
static bool step(const struct op *o)
{
        struct outcome a, k;

        if (stores_behind_end(o) || (o->kind == DROP && is_private(o)))
                return true;
        if (o->kind == SET_CACHE) {
                expect(fl_engine_set_cache(twin.engine, o->len) == 0 || errno == EBUSY, "%s",
                       fl_strerror());
                return true;
        }
        if (o->kind == FTRUNCATE && !ready_to_truncate(o))
                return true;
        if (o->kind == PWRITE) {
                memset(twin.ours.buf, o->arg, BUF);
                memcpy(twin.ours.buf, &o->offset, sizeof(o->offset));
                memcpy(twin.kernel.buf, twin.ours.buf, BUF);
        }
        a = run_on(&twin.ours, o);
        k = run_on(&twin.kernel, o);
        if (o->kind == MMAP && !(o->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
                place_anywhere(&a, &k, o);
        else if (a.result == k.result)
                note(o, k.result);
        return !differs(o, &a, &k);
}

/* --- a sequence --- */

static void fill_twins(uint64_t *s)
{
        static char bytes[FILE_PAGES * PAGE];

        for (unsigned i = 0; i < FILES; i++) {
                twin.size[i] = 1 + random_below(s, FILE_PAGES * PAGE / 2);
                for (unsigned n = 0; n < twin.size[i]; n += 8)
                        memcpy(bytes + n, &(uint64_t){ random_next(s) }, 8);
                for (unsigned k = 0; k < 2; k++) {
                        const char *path = k ? twin.kernel.path[i] : twin.ours.path[i];
                        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

                        require(fd >= 0 && write(fd, bytes, twin.size[i]) == (ssize_t)twin.size[i],
                                "%s: %s", path, strerror(errno));
                        close(fd);
                }
        }
}

static void begin(uint64_t *s)
{
        char *p;

        fill_twins(s);
        memset(twin.page, 0, sizeof(twin.page));
        twin.engine = open_engine_with(
                (struct fl_engine_config){ .cache = CACHE * PAGE, .flags = FL_ENGINE_QUIET });
        for (unsigned h = 0; h < HANDLES; h++) {
                int how = h < FILES ? O_RDWR : O_RDONLY;

                twin.ours.file[h] = open_file(twin.engine, twin.ours.path[file_of(h)], how);
                twin.kernel.fd[h] = open(twin.kernel.path[file_of(h)], how | O_CLOEXEC);
                require(twin.kernel.fd[h] >= 0, "%s", strerror(errno));
        }
        p = map_file(twin.engine, twin.ours.file[0], REGION * PAGE, PROT_READ, MAP_SHARED, 0);
        expect(fl_munmap(twin.engine, p, REGION * PAGE) == 0, "%s", fl_strerror());
        twin.ours.base = p;
}

static bool same_files(void)
{
        static char a[FILE_PAGES * PAGE], k[FILE_PAGES * PAGE];

        for (unsigned i = 0; i < FILES; i++) {
                uint64_t size = file_size(twin.kernel.path[i]), n = 0;

                if (file_size(twin.ours.path[i]) != size) {
                        snprintf(twin.told, sizeof(twin.told), "file %u: %llu bytes, not %llu", i,
                                 (unsigned long long)file_size(twin.ours.path[i]),
                                 (unsigned long long)size);
                        return false;
                }
                if (!file_read(twin.ours.path[i], a, size, 0) ||
                    !file_read(twin.kernel.path[i], k, size, 0))
                        return false;
                while (n < size && a[n] == k[n])
                        n++;
                if (n == size)
                        continue;
                snprintf(twin.told, sizeof(twin.told), "file %u, page %llu + %llu: %02x, not %02x",
                         i, (unsigned long long)(n / PAGE), (unsigned long long)(n % PAGE),
                         (unsigned char)a[n], (unsigned char)k[n]);
                return false;
        }
        return true;
}

static bool finish(bool same, bool check)
{
        unsigned was = test_failures();

        if (same && check) {
                check_engine(twin.engine);
                same = test_failures() == was;
                if (!same)
                        snprintf(twin.told, sizeof(twin.told), "the engine's invariants");
        }
        unmap_all();
        for (unsigned h = 0; h < HANDLES; h++) {
                close_file(twin.ours.file[h]);
                close(twin.kernel.fd[h]);
        }
        close_engine(twin.engine);
        return same && same_files();
}

/* Runs what is not left out. OPS if all went the same way, or else where it did not. */
static unsigned run_sequence(const struct op *ops, uint64_t seed)
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
                same = step(&ops[i]);
        }
        test_at("the end of a sequence");
        return finish(same, seed % 4 == 0) ? OPS : i - 1; /* the check takes long */
}

/* Leaves out what is not needed for a difference. */
static void cut_down(struct op *ops, uint64_t seed, unsigned last)
{
        unsigned trials = 0;

        for (unsigned i = last + 1; i < OPS; i++)
                ops[i].left_out = true;
        for (unsigned chunk = OPS / 2; chunk; chunk /= 2)
                for (unsigned at = 0; at < last && trials < MAX_TRIALS; at += chunk) {
                        struct op was[OPS];

                        memcpy(was, ops, sizeof(was));
                        for (unsigned i = at; i < at + chunk && i < last; i++)
                                ops[i].left_out = true;
                        if (!memcmp(was, ops, sizeof(was)))
                                continue;
                        trials++;
                        if (run_sequence(ops, seed) == OPS)
                                memcpy(ops, was, sizeof(was));
                }
}

static void tell(struct op *ops, uint64_t seed, unsigned last)
{
        char first[sizeof(twin.told)];

        memcpy(first, twin.told, sizeof(first));
        cut_down(ops, seed, last);
        expect(false, "seed %llu: %s", (unsigned long long)seed, first);
        fprintf(stderr, "operations, files of %llu and %llu bytes:\n",
                (unsigned long long)twin.size[0], (unsigned long long)twin.size[1]);
        for (unsigned i = 0; i < OPS; i++)
                if (!ops[i].left_out)
                        fprintf(stderr, "  %3u %s\n", i, op_text(&ops[i]));
        if (run_sequence(ops, seed) < OPS)
                fprintf(stderr, "then: %s\n", twin.told);
        else
                fprintf(stderr, "not every time\n");
}

/* A stretch of addresses that nobody else is given, as the engine finds its own. */
static char *find_place(void)
{
        const size_t size = 1ull << 44;
        char *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        require(p != MAP_FAILED, "16 TiB of addresses: %s", strerror(errno));
        munmap(p, size);
        return p + size / 8 * 5;
}

int main(int argc, char **argv)
{
        const char *limit = getenv("FAULTLINE_TEST_OPS");
        uint64_t most = limit && *limit ? strtoull(limit, NULL, 0) : UINT64_MAX, done = 0;
        static struct op ops[OPS];

        test_begin(argc, argv, 4, 60, 60);
        for (unsigned i = 0; i < FILES; i++) {
                twin.ours.path[i] = test_file(i ? "ours-b" : "ours-a", 0);
                twin.kernel.path[i] = test_file(i ? "twin-b" : "twin-a", 0);
        }
        twin.kernel.base = find_place();
        for (; done < most; done += OPS, test.seed++) {
                uint64_t seed = test.seed;
                unsigned last;

                for (unsigned i = 0; i < OPS; i++)
                        draw(&ops[i], &seed);
                last = run_sequence(ops, test.seed);
                if (last < OPS)
                        tell(ops, test.seed, last);
                if (test_failures() || (most == UINT64_MAX && test_left() < 0))
                        break;
        }
        printf("%llu operations\n", (unsigned long long)done);
        return test_end();
}
