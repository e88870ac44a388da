/* SPDX-License-Identifier: Apache-2.0
 *
 * room.c - room on the disk for a hole is found at the first store to it: there is ENOSPC then, for
 * who stores, and not when nobody is there to hear it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define CACHE (4ul << 20)
#define PAGES 1024ul
#define BAD 10ul

struct world {
        struct fl_engine *e;
        struct fl_file *f;
        const char *path;
        char *p;
};

static struct world begin(const char *path, const char *spec, uint64_t cache)
{
        struct world w = { .path = path };

        w.e = open_engine_with((struct fl_engine_config){
                .cache = cache, .faults = spec, .flags = FL_ENGINE_QUIET });
        w.f = open_file(w.e, path, O_RDWR);
        w.p = map_file(w.e, w.f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        return w;
}

static void end(struct world *w)
{
        check_engine(w->e);
        expect(fl_munmap(w->e, w->p, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(w->f);
        close_engine(w->e);
}

static uint64_t bytes_on_disk(const char *path)
{
        struct stat st;

        require(stat(path, &st) == 0, "%s: %s", path, strerror(errno));
        return (uint64_t)st.st_blocks * 512;
}

static bool store(struct world *w, uint64_t page)
{
        struct caught c = try_store(w->p + page * PAGE, 1);

        expect(c.signo == 0 || c.signo == SIGBUS, "page %llu: %s", (unsigned long long)page,
               caught_name(c));
        if (!c.signo)
                stamp_write(w->p + page * PAGE, page, 1);
        return !c.signo;
}

static void found_at_the_store(void)
{
        const char *path = test_file("holes", PAGES * PAGE);
        struct world w = begin(path, NULL, CACHE);

        test_at("found at the store");
        expect_eq(bytes_on_disk(path), 0, "bytes of a file of holes");
        expect(store(&w, 700) && store(&w, 30) && store(&w, 500), "a store");
        if (!bytes_on_disk(path)) {
                printf("this file system reserves nothing: that part is left out\n");
                end(&w);
                return;
        }
        expect(bytes_on_disk(path) >= 3 * PAGE && bytes_on_disk(path) < 64 * PAGE,
               "%llu bytes after three stores, before any write",
               (unsigned long long)bytes_on_disk(path));
        expect_eq(file_size(path), PAGES * PAGE, "the size");
        /* One after the other: more at once, and never behind the end. */
        for (uint64_t i = 0; i < PAGES; i++)
                expect(store(&w, i), "page %llu", (unsigned long long)i);
        expect(bytes_on_disk(path) >= PAGES * PAGE, "%llu bytes when all is stored to",
               (unsigned long long)bytes_on_disk(path));
        expect_eq(file_size(path), PAGES * PAGE, "the size, all stored to");
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        /* Cut and made longer it has holes again. */
        expect(fl_ftruncate(w.f, 0) == 0 && fl_ftruncate(w.f, PAGES * PAGE) == 0, "%s",
               fl_strerror());
        expect_eq(bytes_on_disk(path), 0, "bytes of new holes");
        expect(store(&w, 700), "a store");
        expect(bytes_on_disk(path) >= PAGE && bytes_on_disk(path) < 64 * PAGE,
               "%llu bytes after a store to a new hole", (unsigned long long)bytes_on_disk(path));
        end(&w);
}

static void none_at_the_store(void)
{
        const char *path = test_file("full", PAGES * PAGE);
        struct world w = begin(path, "enospc@40960+4096", CACHE);
        struct fl_mapping_config rules = { .size = sizeof(rules), .on_error = "zero" };
        struct fl_error_info info = { .size = sizeof(info) };
        char page[PAGE];

        test_at("none at the store");
        for (uint64_t i = 0; i < 64; i++)
                expect(store(&w, i) == (i != BAD), "page %llu", (unsigned long long)i);
        expect(fl_error(w.e, w.p, PAGES * PAGE, &info) == 1 && info.error == ENOSPC &&
                       info.addr == w.p + BAD * PAGE && !info.writing,
               "%s", strerror(info.error));
        memset(page, 'x', PAGE);
        errno = 0;
        expect(fl_pwrite(w.f, page, PAGE, BAD * PAGE) == -1 && errno == ENOSPC, "pwrite: %s",
               strerror(errno));
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == 0, "what was stored: %s",
               fl_strerror());
        /* As the mapping's rules say. */
        expect(fl_error_clear(w.e, w.p, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect(fl_mapping_set(w.e, w.p, PAGES * PAGE, &rules) == 0, "%s", fl_strerror());
        expect(store(&w, BAD), "a store to zeros");
        expect(fl_error(w.e, w.p, PAGES * PAGE, &info) == 1 && info.error == ENOSPC && info.zeroed,
               "%s", strerror(info.error));
        expect(!stamp_wrong(w.p + BAD * PAGE, BAD, 1), "what was stored there");
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        end(&w);
        for (uint64_t i = 0; i < 64; i++)
                expect(file_read(path, page, PAGE, i * PAGE) &&
                               (i == BAD ? page[0] == 0 : !stamp_wrong(page, i, 1)),
                       "page %llu of the file", (unsigned long long)i);
}

/* What would make the file longer and has no room leaves it as long as it was. */
static void none_to_append(void)
{
        const char *path = test_file("appended", BAD * PAGE - 100);
        struct world w = begin(path, "enospc@40960+4096", CACHE);
        char page[2 * PAGE];
        struct stat st;

        test_at("none to append");
        memset(page, 'x', sizeof(page));
        errno = 0;
        expect(fl_pwrite(w.f, page, 10, BAD * PAGE + 50) == -1 && errno == ENOSPC, "behind: %s",
               strerror(errno));
        expect(fl_fstat(w.f, &st) == 0 && st.st_size == BAD * PAGE - 100, "the size is %lld",
               (long long)st.st_size);
        expect_eq(fl_pwrite(w.f, page, PAGE, BAD * PAGE - 100), 100,
                  "bytes that there was room for");
        expect(fl_fstat(w.f, &st) == 0 && st.st_size == BAD * PAGE, "the size is %lld",
               (long long)st.st_size);
        expect(try_load(w.p + BAD * PAGE, NULL).signo == SIGBUS, "there is a page behind the end");
        expect(fl_pwrite(w.f, page, PAGE, (BAD + 1) * PAGE) == (ssize_t)PAGE, "%s", fl_strerror());
        expect_eq(w.p[BAD * PAGE], 0, "what lies between");
        end(&w);
        expect_eq(file_size(path), (BAD + 2) * PAGE, "the size in the end");
}

/* Ours alone: a folder that one process removes takes what others have mounted on it away from them. */
static char folder[] = "fltest-room-XXXXXX";

/* A file system of 1 MiB, if this machine lets us have one. */
static const char *small_fs(void)
{
        if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
                return strerror(errno);
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
        if (!mkdtemp(folder))
                return strerror(errno);
        if (mount("none", folder, "tmpfs", 0, "size=1m"))
                return strerror(errno);
        return NULL;
}

static void a_full_file_system(void)
{
        char path[sizeof(folder) + 8], page[PAGE];
        struct world w;
        uint64_t stored = 0;
        int fd;

        snprintf(path, sizeof(path), "%s/file", folder);
        fd = open(path, O_RDWR | O_CREAT, 0600);
        test_at("a full file system");
        require(fd >= 0 && ftruncate(fd, PAGES * PAGE) == 0, "%s: %s", path, strerror(errno));
        close(fd);
        w = begin(path, NULL, 16ul << 20);
        while (stored < PAGES && store(&w, stored))
                stored++;
        expect(stored > 100 && stored <= 256, "%llu pages stored to in 1 MiB",
               (unsigned long long)stored);
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == 0, "what was stored: %s",
               fl_strerror());
        end(&w);
        for (uint64_t i = 0; i < stored; i++)
                expect(file_read(path, page, PAGE, i * PAGE) && !stamp_wrong(page, i, 1),
                       "page %llu of the file", (unsigned long long)i);
        unlink(path);
}

int main(int argc, char **argv)
{
        const char *why = small_fs(); /* while there is one thread */

        test_begin(argc, argv, 0, 0, 60);
        found_at_the_store();
        none_at_the_store();
        none_to_append();
        if (why)
                printf("no file system of its own: %s; that part is left out\n", why);
        else
                a_full_file_system();
        umount(folder);
        rmdir(folder);
        return test_end();
}
