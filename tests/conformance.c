/* SPDX-License-Identifier: Apache-2.0
 *
 * conformance.c - what a program may expect of a file, whatever it lies on: a row for each file
 * system, a column for each property. (tests/unit/test_fs_conformance.c is the same one layer down: what
 * a file system owes the cache.)
 *
 * A new file system is a row: a function that makes a file of PAGES stamped pages and a part of one,
 * with a hole in it where there are holes, and says how to name it. What cannot be tried here is
 * skipped, and says why.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 40ul
#define REST 1234ul /* bytes of the last page */
#define SIZE (PAGES * PAGE + REST)
#define HOLE_FIRST 20ul /* pages that were never written, in those that have holes */
#define HOLE_END 28ul
#define CACHE (1ul << 20)

struct row {
        const char *name;
        const char *module; /* that it needs; and a second one */
        const char *module2;
        /* Makes the file. NULL, or why it cannot be had here. */
        const char *(*make)(struct row *);
        void (*unmake)(struct row *);
        const char *driver;
        bool read_only;
        bool fixed;     /* its size is */
        bool transient; /* each open is another file */
        bool packed;    /* the device does not have the bytes as they are */
        /* of make(): */
        char uri[600];
        const char *device; /* the host's path of what it lies on, to look at; NULL: none */
        int pid;
};

/* What a cell of the table says. */
enum verdict { GOOD, BAD, NOT_SO };

/* ---- making files ---- */

static bool there_is(const char *tool)
{
        return test_run("command -v %s >/dev/null 2>&1", tool);
}

static bool is_hole(uint64_t page)
{
        return page >= HOLE_FIRST && page < HOLE_END;
}

/* The file's own bytes in a host file. */
static void write_content(const char *path)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        static char page[PAGE];

        require(fd >= 0 && ftruncate(fd, SIZE) == 0, "%s: %s", path, strerror(errno));
        for (uint64_t i = 0; i <= PAGES; i++) {
                if (is_hole(i))
                        continue;
                stamp_write(page, i, 0);
                require(pwrite(fd, page, i < PAGES ? PAGE : REST, (off_t)(i * PAGE)) > 0, "%s: %s",
                        path, strerror(errno));
        }
        close(fd);
}

static const char *make_host(struct row *r)
{
        r->device = test_file("host", 0);
        write_content(r->device);
        snprintf(r->uri, sizeof(r->uri), "%s", r->device);
        return NULL;
}

/* Where direct I/O is not to be had. */
static const char *make_shm(struct row *r)
{
        static char path[64];

        if (access("/dev/shm", W_OK))
                return "there is no /dev/shm to write to";
        snprintf(path, sizeof(path), "/dev/shm/fltest-conformance-%d", getpid());
        write_content(path);
        r->device = path;
        snprintf(r->uri, sizeof(r->uri), "file:%s", path);
        return NULL;
}

static void unmake_device(struct row *r)
{
        unlink(r->device);
}

static const char *make_ram(struct row *r)
{
        snprintf(r->uri, sizeof(r->uri), "ram:%lu", SIZE);
        return NULL;
}

static const char *make_squashfs(struct row *r)
{
        const char *source = test_file("source", 0);

        if (!there_is("mksquashfs"))
                return "mksquashfs is not installed";
        write_content(source);
        r->device = test_file("squashfs", 0);
        /* Large enough that no page of its data shares one of the device with its tables. */
        require(test_run("mksquashfs '%s' '%s' -noappend -quiet -no-progress -noD -no-fragments -b "
                         "16K "
                         ">/dev/null 2>&1",
                         source, r->device),
                "mksquashfs failed");
        snprintf(r->uri, sizeof(r->uri), "squashfs:%s#/%s", r->device, source);
        return NULL;
}

static const char *make_ext4(struct row *r)
{
        const char *folder = test_file("folder", 0);
        char path[300];

        if (!there_is("mke2fs"))
                return "mke2fs is not installed";
        unlink(folder);
        require(mkdir(folder, 0755) == 0, "%s: %s", folder, strerror(errno));
        snprintf(path, sizeof(path), "%s/file", folder);
        write_content(path);
        r->device = test_file("ext4", 0);
        require(test_run("mke2fs -q -F -t ext4 -b 4096 -d '%s' '%s' 16M >/dev/null 2>&1", folder,
                         r->device),
                "mke2fs failed");
        require(test_run("rm -rf '%s'", folder), "%s", folder);
        snprintf(r->uri, sizeof(r->uri), "ext4:%s#/file", r->device);
        return NULL;
}

/* A server's socket; a socket's path is short, so not where the test runs. Its number is in .pid. */
static const char *socket_path(void)
{
        static char path[64];

        snprintf(path, sizeof(path), "/tmp/fltest-nbd-%d", getpid());
        return path;
}

/* The number that nbdkit has written, which may be a moment after it has gone to the background. */
static int server_pid(void)
{
        char path[80];
        int pid = 0;

        snprintf(path, sizeof(path), "%s.pid", socket_path());
        for (unsigned i = 0; i < 1000 && !pid; i++) {
                FILE *f = fopen(path, "r");

                if (f && fscanf(f, "%d", &pid) != 1)
                        pid = 0;
                if (f)
                        fclose(f);
                if (!pid)
                        usleep(10000);
        }
        return pid;
}

/* A server of what the row lies on: TYPE:PATH#... becomes TYPE:nbd+unix:...#... */
static const char *serve(struct row *r, bool read_only)
{
        char rest[300] = "", type[40] = "";
        const char *hash = strchr(r->uri, '#'), *colon = strchr(r->uri, ':');

        if (!there_is("nbdkit"))
                return "nbdkit is not installed";
        require(test_run("nbdkit -U '%s' -P '%s.pid' %s file '%s'", socket_path(), socket_path(),
                         read_only ? "-r" : "", r->device),
                "nbdkit failed");
        r->pid = server_pid();
        require(r->pid, "nbdkit does not say its number");
        if (hash) {
                snprintf(rest, sizeof(rest), "%.299s", hash);
                snprintf(type, sizeof(type), "%.*s", (int)(colon + 1 - r->uri), r->uri);
        }
        snprintf(r->uri, sizeof(r->uri), "%snbd+unix:///?socket=%s%s", type, socket_path(), rest);
        return NULL;
}

static void unserve(struct row *r)
{
        if (!r->pid)
                return;
        kill(r->pid, SIGTERM);
        for (unsigned i = 0; i < 1000 && !kill(r->pid, 0); i++)
                usleep(10000);
        r->pid = 0;
        test_run("rm -f '%s' '%s.pid'", socket_path(), socket_path());
}

static const char *make_squashfs_nbd(struct row *r)
{
        const char *why = make_squashfs(r);

        return why ? why : serve(r, true);
}

static const char *make_ext4_nbd(struct row *r)
{
        const char *why = make_ext4(r);

        return why ? why : serve(r, false);
}

/* An export is as long as it is: whole sectors here. */
static const char *make_device_nbd(struct row *r)
{
        make_host(r);
        return serve(r, false);
}

static const char *make_device_nbd_ro(struct row *r)
{
        make_host(r);
        return serve(r, true);
}

/* ---- the columns ---- */

struct world {
        struct row *r;
        struct fl_engine *e;
        struct fl_file *f;
        char *p; /* SIZE bytes, shared */
        char why[160];
};

static struct fl_engine *engine_of(const struct row *r, const char *faults)
{
        return open_engine_with((struct fl_engine_config){
                .cache = CACHE, .driver = r->driver, .faults = faults, .flags = FL_ENGINE_QUIET });
}

static int open_flags(const struct row *r)
{
        return r->read_only ? O_RDONLY : O_RDWR;
}

static struct world begin(struct row *r, const char *faults)
{
        struct world w = { .r = r, .e = engine_of(r, faults) };
        int prot = PROT_READ | (r->read_only ? 0 : PROT_WRITE);
        static char page[PAGE];

        w.f = open_file(w.e, r->uri, open_flags(r));
        if (r->transient) /* what is in the file is what is put there */
                for (uint64_t i = 0; i <= PAGES; i++) {
                        stamp_write(page, i, 0);
                        if (!is_hole(i))
                                require(fl_pwrite(w.f, page, i < PAGES ? PAGE : REST,
                                                  (off_t)(i * PAGE)) > 0,
                                        "%s", fl_strerror());
                }
        w.p = map_file(w.e, w.f, SIZE, prot, MAP_SHARED, 0);
        return w;
}

static void end(struct world *w)
{
        check_engine(w->e);
        expect(fl_munmap(w->e, w->p, SIZE) == 0, "%s", fl_strerror());
        close_file(w->f);
        close_engine(w->e);
}

static enum verdict bad(struct world *w, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
static enum verdict bad(struct world *w, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(w->why, sizeof(w->why), format, args);
        va_end(args);
        return BAD;
}

static enum verdict skip(struct world *w, const char *why)
{
        snprintf(w->why, sizeof(w->why), "%s", why);
        return NOT_SO;
}

/* Is the page what it was made? version: of pages that have been stored to. */
static bool page_right(const char *page, uint64_t i, uint64_t version)
{
        if (version || !is_hole(i))
                return i < PAGES ? !stamp_wrong(page, i, version) : true;
        for (unsigned n = 0; n < PAGE; n++)
                if (page[n])
                        return false;
        return true;
}

static enum verdict test_size(struct world *w)
{
        struct stat st;

        if (fl_fstat(w->f, &st))
                return bad(w, "%s", fl_strerror());
        if (st.st_size != SIZE)
                return bad(w, "%jd bytes", (intmax_t)st.st_size);
        return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? GOOD : bad(w, "mode %o", st.st_mode);
}

static enum verdict test_load(struct world *w)
{
        for (uint64_t n = 0; n < PAGES; n++) {
                uint64_t i = n * 17 % PAGES;
                unsigned char byte;
                struct caught c = try_load(w->p + i * PAGE, &byte);

                if (c.signo)
                        return bad(w, "page %lu: %s", (unsigned long)i, caught_name(c));
                if (!page_right(w->p + i * PAGE, i, 0))
                        return bad(w, "page %lu is another", (unsigned long)i);
        }
        return GOOD;
}

static enum verdict test_pread(struct world *w)
{
        static char buf[SIZE + PAGE];
        ssize_t n = fl_pread(w->f, buf, sizeof(buf), 0);

        if (n != SIZE)
                return bad(w, "%zd bytes", n);
        for (uint64_t i = 0; i < PAGES; i++)
                if (!page_right(buf + i * PAGE, i, 0))
                        return bad(w, "page %lu is another", (unsigned long)i);
        n = fl_pread(w->f, buf, 3000, (off_t)(5 * PAGE - 1500));
        if (n != 3000 || memcmp(buf, w->p + 5 * PAGE - 1500, 3000))
                return bad(w, "across pages");
        return fl_pread(w->f, buf, 1, SIZE) == 0 ? GOOD : bad(w, "something behind the end");
}

static enum verdict test_end_of_file(struct world *w)
{
        char *p = map_file(w->e, w->f, SIZE + 2 * PAGE, PROT_READ, MAP_SHARED, 0);
        enum verdict v = GOOD;
        unsigned char byte;
        struct caught c;

        for (uint64_t at = SIZE; at < (PAGES + 1) * PAGE && v == GOOD; at++)
                if (p[at])
                        v = bad(w, "byte %lu behind the end is not zero",
                                (unsigned long)(at - SIZE));
        c = try_load(p + (PAGES + 1) * PAGE, &byte);
        if (v == GOOD && c.signo != SIGBUS)
                v = bad(w, "the page behind the end: %s", caught_name(c));
        expect(fl_munmap(w->e, p, SIZE + 2 * PAGE) == 0, "%s", fl_strerror());
        return v;
}

static enum verdict test_private(struct world *w)
{
        char *p = map_file(w->e, w->f, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        enum verdict v = GOOD;

        for (uint64_t i = 1; i < 6; i++)
                stamp_write(p + i * PAGE, i, 9);
        for (uint64_t i = 0; i < PAGES && v == GOOD; i++) {
                if (!page_right(w->p + i * PAGE, i, 0))
                        v = bad(w, "page %lu: a private store is seen", (unsigned long)i);
                if (!page_right(p + i * PAGE, i, i >= 1 && i < 6 ? 9 : 0))
                        v = bad(w, "page %lu of the private mapping", (unsigned long)i);
        }
        expect(fl_munmap(w->e, p, SIZE) == 0, "%s", fl_strerror());
        return v;
}

static enum verdict test_one_file(struct world *w)
{
        struct fl_stats before, after;
        struct fl_file *again;
        enum verdict v = GOOD;
        char *p;

        if (w->r->transient)
                return skip(w, "each open is another file");
        for (uint64_t i = 0; i < PAGES; i++)
                (void)*(volatile char *)(w->p + i * PAGE);
        again = open_file(w->e, w->r->uri, O_RDONLY);
        p = map_file(w->e, again, SIZE, PROT_READ, MAP_SHARED, 0);
        before = get_stats(w->e);
        for (uint64_t i = 0; i < PAGES; i++)
                (void)*(volatile char *)(p + i * PAGE);
        after = get_stats(w->e);
        if (after.faults_major != before.faults_major)
                v = bad(w, "two opens do not share their pages");
        expect(fl_munmap(w->e, p, SIZE) == 0, "%s", fl_strerror());
        close_file(again);
        return v;
}

/* A page that has been evicted comes back from the device. */
static enum verdict test_evict(struct world *w)
{
        struct fl_stats before, after;
        ssize_t dropped;

        for (uint64_t i = 0; i < PAGES; i++)
                (void)*(volatile char *)(w->p + i * PAGE);
        if (!w->r->read_only && fl_msync(w->e, w->p, SIZE, MS_SYNC))
                return bad(w, "%s", fl_strerror());
        before = get_stats(w->e);
        dropped = fl_evict(w->e, w->p, SIZE);
        if (dropped < (ssize_t)(PAGES * PAGE))
                return bad(w, "%zd bytes dropped", dropped);
        for (uint64_t i = 0; i < PAGES; i++)
                if (!page_right(w->p + i * PAGE, i, 0))
                        return bad(w, "page %lu", (unsigned long)i);
        after = get_stats(w->e);
        return after.faults_major > before.faults_major ? GOOD : bad(w, "no page was read");
}

/* Where the device has the page is where its bytes are. */
static enum verdict test_bmap(struct world *w)
{
        static char page[PAGE];
        off_t where = 0;

        if (!w->r->read_only && fl_msync(w->e, w->p, SIZE, MS_SYNC))
                return bad(w, "%s", fl_strerror());
        if (fl_bmap(w->f, SIZE, &where) != -1 || errno != EINVAL)
                return bad(w, "something behind the end");
        if (fl_bmap(w->f, 0, &where) == -1 && errno == EOPNOTSUPP)
                return skip(w, "the file system does not tell");
        for (uint64_t i = 0; i < PAGES; i++) {
                int got = fl_bmap(w->f, (off_t)(i * PAGE), &where);

                if (got < 0)
                        return bad(w, "page %lu: %s", (unsigned long)i, fl_strerror());
                if (got == 0 && !is_hole(i))
                        return bad(w, "page %lu is no hole", (unsigned long)i);
                if (!got || !w->r->device || w->r->packed)
                        continue;
                if (!file_read(w->r->device, page, PAGE, (uint64_t)where) ||
                    !page_right(page, i, 0))
                        return bad(w, "page %lu is not at %jd", (unsigned long)i, (intmax_t)where);
        }
        return GOOD;
}

/* An error of the device is the page's, and of no other that does not share its block. */
static enum verdict test_eio(struct world *w)
{
        enum verdict v = GOOD;
        unsigned char byte;
        off_t where = 0;
        struct caught c;
        char spec[64];
        struct world f;

        if (w->r->transient)
                return skip(w, "its device begins anew");
        if (w->r->fixed)
                where = 30 * PAGE; /* the file is the device */
        else if (fl_bmap(w->f, (off_t)(30 * PAGE), &where) != 1)
                return bad(w, "page 30 is nowhere");
        snprintf(spec, sizeof(spec), "eio@%jd+512", (intmax_t)where);
        end(w); /* who writes may have the device alone */
        f = begin(w->r, spec);
        expect(fl_madvise(f.e, f.p, SIZE, MADV_RANDOM) == 0, "%s", fl_strerror());
        c = try_load(f.p + 30 * PAGE, &byte);
        if (c.signo != SIGBUS)
                v = bad(w, "page 30: %s", caught_name(c));
        c = try_load(f.p, &byte);
        if (v == GOOD && c.signo && !w->r->packed)
                v = bad(w, "page 0: %s", caught_name(c));
        expect(fl_error_clear(f.e, f.p, SIZE) == 0, "%s", fl_strerror());
        end(&f);
        f = begin(w->r, NULL);
        strcpy(f.why, w->why);
        *w = f;
        return v;
}

static enum verdict test_read_only(struct world *w)
{
        struct fl_file *f;
        char *p;

        if (!w->r->read_only)
                return skip(w, "it can be written");
        f = fl_file_open(w->e, w->r->uri, O_RDWR, NULL);
        if (f) {
                close_file(f);
                return bad(w, "it was opened for writing");
        }
        if (errno != EROFS && errno != EACCES)
                return bad(w, "opening: %s", strerror(errno));
        p = fl_mmap(w->e, NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, w->f, 0);
        return p == MAP_FAILED && errno == EACCES ? GOOD : bad(w, "a shared writable mapping");
}

/* What was stored is on the device after msync, for a new engine, and seen by others. */
static enum verdict test_store(struct world *w)
{
        static const uint64_t pages[] = { 0, 3, 4, 5, 19, HOLE_FIRST + 2, 39 };
        enum verdict v = GOOD;
        struct world again;

        if (w->r->read_only)
                return skip(w, "it is read-only");
        for (unsigned n = 0; n < sizeof(pages) / sizeof(*pages); n++)
                stamp_write(w->p + pages[n] * PAGE, pages[n], 1);
        if (fl_msync(w->e, w->p, SIZE, MS_SYNC))
                return bad(w, "%s", fl_strerror());
        if (w->r->transient)
                return skip(w, "nothing of it is left to look at");
        end(w);
        again = begin(w->r, NULL);
        for (unsigned n = 0; n < sizeof(pages) / sizeof(*pages) && v == GOOD; n++)
                if (!page_right(again.p + pages[n] * PAGE, pages[n], 1))
                        v = bad(&again, "page %lu is lost", (unsigned long)pages[n]);
        if (v == GOOD && !page_right(again.p + 6 * PAGE, 6, 0))
                v = bad(&again, "a page that was not stored to has changed");
        *w = again;
        return v;
}

static enum verdict test_truncate(struct world *w)
{
        static char zeros[PAGE];
        struct stat st;

        if (w->r->read_only)
                return skip(w, "it is read-only");
        if (w->r->fixed)
                return fl_ftruncate(w->f, PAGE) ? GOOD : bad(w, "a device was cut");
        if (fl_ftruncate(w->f, (off_t)(2 * PAGE + 100)) || fl_ftruncate(w->f, SIZE))
                return bad(w, "%s", fl_strerror());
        if (fl_fstat(w->f, &st) || st.st_size != SIZE)
                return bad(w, "%jd bytes", (intmax_t)st.st_size);
        if (w->p[2 * PAGE + 100] || memcmp(w->p + 7 * PAGE, zeros, PAGE))
                return bad(w, "what was cut is back");
        if (fl_fsync(w->f))
                return bad(w, "%s", fl_strerror());
        return GOOD;
}

/* In this order: the last three change the file. */
static const struct {
        const char *name;
        enum verdict (*test)(struct world *);
} columns[] = {
        { "size", test_size },           { "load", test_load },       { "pread", test_pread },
        { "end", test_end_of_file },     { "private", test_private }, { "one-file", test_one_file },
        { "evict", test_evict },         { "bmap", test_bmap },       { "eio", test_eio },
        { "read-only", test_read_only }, { "store", test_store },     { "truncate", test_truncate },
};
#define NR_COLUMNS (sizeof(columns) / sizeof(*columns))

static struct row rows[] = {
        { .name = "hostfs", .make = make_host },
        { .name = "hostfs, posix", .make = make_host, .driver = "posix" },
        { .name = "hostfs, buffered", .make = make_shm, .unmake = unmake_device },
        { .name = "memfs", .make = make_ram, .transient = true },
        { .name = "squashfs",
          .module = "squashfs",
          .make = make_squashfs,
          .read_only = true,
          .packed = true },
        { .name = "ext4", .module = "ext4", .make = make_ext4 },
        { .name = "nbd",
          .module = "nbd",
          .make = make_device_nbd,
          .unmake = unserve,
          .fixed = true },
        { .name = "nbd, read-only",
          .module = "nbd",
          .make = make_device_nbd_ro,
          .unmake = unserve,
          .read_only = true,
          .fixed = true },
        { .name = "squashfs on nbd",
          .module = "squashfs",
          .module2 = "nbd",
          .make = make_squashfs_nbd,
          .unmake = unserve,
          .read_only = true,
          .packed = true },
        { .name = "ext4 on nbd",
          .module = "ext4",
          .module2 = "nbd",
          .make = make_ext4_nbd,
          .unmake = unserve },
};
#define NR_ROWS (sizeof(rows) / sizeof(*rows))

static bool has_module(const char *name)
{
        const char *folder = getenv("FAULTLINE_MODULES");
        char path[600];

        if (!name)
                return true;
        snprintf(path, sizeof(path), "%s/faultline-%s.so", folder ? folder : ".", name);
        return !access(path, R_OK);
}

/* Whatever ends the test. */
static void end_server(void)
{
        for (unsigned i = 0; i < NR_ROWS; i++)
                if (rows[i].unmake == unserve)
                        unserve(&rows[i]);
}

static void test_row(struct row *r)
{
        const char *why = NULL;
        struct world w;

        printf("%-18s", r->name);
        if (!has_module(r->module) || !has_module(r->module2))
                why = "its module has not been built";
        if (!why)
                why = r->make(r);
        if (why) {
                printf(" skipped: %s\n", why);
                if (r->unmake && r->pid)
                        r->unmake(r);
                return;
        }
        w = begin(r, NULL);
        for (unsigned c = 0; c < NR_COLUMNS; c++) {
                enum verdict v;

                test_at(columns[c].name);
                *w.why = 0;
                v = columns[c].test(&w);
                printf(" %*s", (int)strlen(columns[c].name),
                       v == GOOD  ? "ok"
                       : v == BAD ? "BAD"
                                  : "-");
                expect(v != BAD, "%s: %s: %s", r->name, columns[c].name, w.why);
        }
        putchar('\n');
        end(&w);
        if (r->unmake)
                r->unmake(r);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 150);
        atexit(end_server);
        printf("%-18s", "");
        for (unsigned c = 0; c < NR_COLUMNS; c++)
                printf(" %s", columns[c].name);
        putchar('\n');
        for (unsigned i = 0; i < NR_ROWS; i++)
                test_row(&rows[i]);
        return test_end();
}
