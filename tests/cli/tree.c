/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.c - a tree of files that has one of everything, and its comparison with an image of it.
 *
 *   tree make DIR COUNT [SEED]     COUNT files: of no byte, of one, around the ends of pages and of
 *                                  blocks, with holes, large, with odd names, deep down; links
 *   tree compare PREFIX DIR [N]    every file below DIR (or each Nth) beside PREFIX/..., which is
 *                                  TYPE:DEV#: its bytes, by mappings and by fl_pread; and every
 *                                  directory's entries
 *
 * Exit status: 0 the same, 1 not, 77 no engine can be had here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <faultline/faultline.h>

#define PAGE 4096u
#define FOLDERS 16 /* files go round them */

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        fputs("tree: ", stderr);
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
        exit(1);
}

static uint64_t next_random(uint64_t *state)
{
        uint64_t z = *state += 0x9e3779b97f4a7c15u;

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
}

/* ---- make ---- */

/* Something that compresses well, or nothing that does. */
static void fill(char *buf, size_t n, uint64_t *seed, bool text)
{
        for (size_t i = 0; i < n; i += 8) {
                uint64_t r = next_random(seed);
                char word[32];

                if (text)
                        snprintf(word, sizeof(word), "%06u. ", (unsigned)(r % 5000));
                else
                        memcpy(word, &r, 8);
                memcpy(buf + i, word, n - i < 8 ? n - i : 8);
        }
}

static void write_at(int fd, const char *buf, size_t n, off_t at, const char *name)
{
        while (n) {
                ssize_t done = pwrite(fd, buf, n, at);

                if (done <= 0)
                        die("%s: write: %s", name, strerror(errno));
                buf += done;
                at += done;
                n -= (size_t)done;
        }
}

static size_t size_of(unsigned n, uint64_t *seed)
{
        static const size_t edges[] = {
                0,          1,
                PAGE - 1,   PAGE,
                PAGE + 1,   3 * PAGE,
                12345,      128 * 1024 - 1,
                128 * 1024, 128 * 1024 + 1,
                2,          511,
                512,        513,
                64 * 1024,  256 * 1024 + 4097,
        };
        const size_t nr = sizeof(edges) / sizeof(*edges);

        if (n % 500 == 77)
                return 3u << 20 | n;
        if (n < 3 * nr || n % 25 == 0)
                return edges[n % nr];
        return next_random(seed) % (n % 5 ? 6000 : 40000);
}

static void name_of(char *name, size_t room, unsigned n)
{
        static const char *const odd[] = {
                "with blanks %u", "hash#mark?%%%u", "\xc3\xa4\xe2\x82\xac%u",
                "\xff\xfe%u",     "back\\slash%u",  "line\nbreak%u",
                "-dash%u",        "...%u",          "quote'\"%u",
                "star*[a]%u",     "tab\t%u",        "%u=",
        };
        const size_t nr = sizeof(odd) / sizeof(*odd);

        if (n % 10 == 3)
                snprintf(name, room, odd[n / 10 % nr], n);
        else if (n % 97 == 11)
                snprintf(name, room, "%0200u", n);
        else
                snprintf(name, room, "file%u", n);
}

/* Into a folder that is there already: the working directory. */
static void make_file(const char *name, unsigned n, uint64_t *seed)
{
        size_t size = size_of(n, seed);
        char *buf = malloc(size + 1);
        int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (fd < 0 || !buf)
                die("%s: %s", name, strerror(errno));
        fill(buf, size, seed, n % 3 != 0);
        if (n % 16 == 9 && size > 4 * PAGE) { /* holes at both ends of some data */
                write_at(fd, buf, PAGE + 7, 2 * PAGE, name);
                if (ftruncate(fd, (off_t)size * 4))
                        die("%s: %s", name, strerror(errno));
        } else {
                write_at(fd, buf, size, 0, name);
        }
        close(fd);
        free(buf);
}

static void enter(const char *folder)
{
        if (mkdir(folder, 0755) && errno != EEXIST)
                die("%s: mkdir: %s", folder, strerror(errno));
        if (chdir(folder))
                die("%s: %s", folder, strerror(errno));
}

static void make_links(void)
{
        if (symlink("file0", "link") || symlink("../d1/file1", "up") ||
            symlink("nowhere", "dangling") || symlink("../d0", "folder") || link("file0", "hard"))
                die("links: %s", strerror(errno));
}

static int make(const char *dir, unsigned count, uint64_t seed)
{
        for (unsigned f = 0; f < FOLDERS; f++) {
                char folder[32], name[NAME_MAX + 1];
                char *top;

                enter(dir);
                top = getcwd(NULL, 0);
                snprintf(folder, sizeof(folder), "d%u", f);
                enter(folder);
                for (unsigned n = f; n < count; n += FOLDERS) {
                        /* A few lie deeper and deeper. */
                        if (n % 11 == 5 && n < FOLDERS * 160)
                                enter("deeper");
                        name_of(name, sizeof(name), n);
                        make_file(name, n, &seed);
                }
                if (chdir(top) || chdir(".."))
                        die("%s: %s", dir, strerror(errno));
                free(top);
        }
        enter(dir);
        enter("d0");
        make_links();
        return 0;
}

/* ---- compare ---- */

struct comparison {
        struct fl_engine *engine;
        const char *prefix;
        struct fl_file *held; /* the image stays open between two files */
        unsigned every, seen, compared, folders;
        unsigned wrong;
};

static void wrong(struct comparison *c, const char *path, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
static void wrong(struct comparison *c, const char *path, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        fprintf(stderr, "tree: %s: ", path);
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
        if (++c->wrong > 20)
                die("that is enough");
}

/* PREFIX/path, with what a URI writes otherwise. */
static void make_uri(const struct comparison *c, char *uri, size_t room, const char *path)
{
        size_t n = (size_t)snprintf(uri, room, "%s/", c->prefix);

        for (; *path && n + 4 < room; path++) {
                if (strchr("#?%", *path))
                        n += (size_t)snprintf(uri + n, room - n, "%%%02X", (unsigned char)*path);
                else
                        uri[n++] = *path;
        }
        uri[n] = 0;
}

static char *read_file(const char *path, size_t size)
{
        char *buf = malloc(size + 1);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t got = 0;
        ssize_t n;

        if (fd < 0 || !buf)
                die("%s: %s", path, strerror(errno));
        while (got < size && (n = read(fd, buf + got, size - got)) > 0)
                got += (size_t)n;
        if (got != size)
                die("%s: short", path);
        close(fd);
        return buf;
}

static void compare_bytes(struct comparison *c, const char *path, struct fl_file *f,
                          const char *want, size_t size)
{
        char *got, *buf = NULL;

        if (!size)
                return;
        if (c->compared % 4 == 3) {
                ssize_t n;

                got = buf = malloc(size);
                n = buf ? fl_pread(f, buf, size, 0) : -1;
                if (n != (ssize_t)size) {
                        wrong(c, path, "%s", n < 0 ? fl_strerror() : "short");
                        free(buf);
                        return;
                }
        } else {
                got = fl_mmap(c->engine, NULL, size, PROT_READ, MAP_SHARED, f, 0);
                if (got == MAP_FAILED) {
                        wrong(c, path, "%s", fl_strerror());
                        return;
                }
                if (c->compared % 4 == 2) /* from the back: not what read-ahead expects */
                        for (size_t at = (size - 1) / PAGE * PAGE; at; at -= PAGE)
                                (void)*(volatile char *)(got + at);
        }
        for (size_t i = 0; i < size; i++)
                if (got[i] != want[i]) {
                        wrong(c, path, "byte %zu is %02x, not %02x", i, (unsigned char)got[i],
                              (unsigned char)want[i]);
                        break;
                }
        if (buf)
                free(buf);
        else if (fl_munmap(c->engine, got, size))
                wrong(c, path, "%s", fl_strerror());
}

static void compare_file(struct comparison *c, const char *path, const struct stat *st)
{
        char uri[2 * PATH_MAX];
        struct fl_file *f;
        struct stat got;
        char *want;

        make_uri(c, uri, sizeof(uri), path);
        f = fl_file_open(c->engine, uri, O_RDONLY, NULL);
        if (!f) {
                wrong(c, path, "%s", fl_strerror());
                return;
        }
        if (fl_fstat(f, &got))
                wrong(c, path, "%s", fl_strerror());
        else if (got.st_size != st->st_size)
                wrong(c, path, "%jd bytes, not %jd", (intmax_t)got.st_size, (intmax_t)st->st_size);
        want = read_file(path, (size_t)st->st_size);
        compare_bytes(c, path, f, want, (size_t)st->st_size);
        free(want);
        c->compared++;
        if (c->held && fl_file_close(c->held))
                wrong(c, path, "%s", fl_strerror());
        c->held = f;
}

static void compare_entry(struct comparison *c, const char *path, const struct fl_dirent *e,
                          const struct stat *st)
{
        char link[PATH_MAX];
        ssize_t n;

        if (e->st.st_mode != st->st_mode)
                wrong(c, path, "mode %o, not %o", e->st.st_mode, st->st_mode);
        if (!S_ISDIR(st->st_mode) && e->st.st_size != st->st_size)
                wrong(c, path, "listed with %jd bytes, not %jd", (intmax_t)e->st.st_size,
                      (intmax_t)st->st_size);
        if (e->st.st_mtim.tv_sec != st->st_mtim.tv_sec)
                wrong(c, path, "time %jd, not %jd", (intmax_t)e->st.st_mtim.tv_sec,
                      (intmax_t)st->st_mtim.tv_sec);
        if (!S_ISLNK(st->st_mode) != !e->link) {
                wrong(c, path, "a link, or not a link?");
                return;
        }
        if (!e->link)
                return;
        n = readlink(path, link, sizeof(link) - 1);
        link[n < 0 ? 0 : n] = 0;
        if (strcmp(link, e->link))
                wrong(c, path, "leads to %s, not %s", e->link, link);
}

static unsigned count_entries(const char *path)
{
        DIR *dir = opendir(path);
        struct dirent *entry;
        unsigned n = 0;

        while (dir && (entry = readdir(dir)))
                n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
        if (dir)
                closedir(dir);
        return n;
}

/* The folder at `path`, which is "" at the top. */
static void compare_folder(struct comparison *c, const char *path)
{
        char uri[2 * PATH_MAX], below[PATH_MAX];
        const struct fl_dirent *e;
        unsigned listed = 0;
        struct fl_dir *dir;

        make_uri(c, uri, sizeof(uri), path);
        dir = fl_opendir(c->engine, uri);
        if (!dir) {
                wrong(c, path, "%s", fl_strerror());
                return;
        }
        c->folders++;
        while ((e = fl_readdir(dir))) {
                struct stat st;
                int n = snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "", e->name);

                if (!*path && !strcmp(e->name, "lost+found"))
                        continue;
                listed++;
                if (n >= (int)sizeof(below) || lstat(below, &st)) {
                        wrong(c, below, "listed, and not there");
                        continue;
                }
                compare_entry(c, below, e, &st);
                if (S_ISDIR(st.st_mode))
                        compare_folder(c, below);
                else if ((S_ISREG(st.st_mode) ||
                          (S_ISLNK(st.st_mode) && !stat(below, &st) && S_ISREG(st.st_mode))) &&
                         c->seen++ % c->every == 0)
                        compare_file(c, below, &st);
        }
        fl_closedir(dir);
        if (listed != count_entries(*path ? path : "."))
                wrong(c, path, "%u entries, not %u", listed, count_entries(*path ? path : "."));
}

static int compare(const char *prefix, const char *dir, unsigned every)
{
        struct fl_engine_config config = {
                .size = sizeof(config),
                .cache = 4 << 20, /* less than the larger files */
                .mmu = getenv("FAULTLINE_MMU"),
        };
        struct comparison c = { .prefix = prefix, .every = every };

        c.engine = fl_engine_open(&config);
        if (!c.engine) {
                fprintf(stderr, "tree: %s\n", fl_strerror());
                return errno == EPERM || errno == ENOSYS ? 77 : 1;
        }
        if (chdir(dir))
                die("%s: %s", dir, strerror(errno));
        compare_folder(&c, "");
        if (c.held && fl_file_close(c.held))
                wrong(&c, prefix, "%s", fl_strerror());
        if (fl_engine_check(c.engine))
                wrong(&c, prefix, "an invariant of the engine does not hold");
        if (fl_engine_close(c.engine))
                wrong(&c, prefix, "%s", fl_strerror());
        printf("%u files, %u folders\n", c.compared, c.folders);
        return c.wrong || !c.compared;
}

int main(int argc, char **argv)
{
        if (argc >= 4 && !strcmp(argv[1], "make"))
                return make(argv[2], (unsigned)atoi(argv[3]),
                            argc > 4 ? strtoull(argv[4], NULL, 0) : 1);
        if (argc >= 4 && !strcmp(argv[1], "compare")) {
                unsigned every = argc > 4 ? (unsigned)atoi(argv[4]) : 1;

                return compare(argv[2], argv[3], every ? every : 1);
        }
        fprintf(stderr, "usage: tree make DIR COUNT [SEED] | compare PREFIX DIR [N]\n");
        return 2;
}
