/* SPDX-License-Identifier: Apache-2.0
 *
 * image.c - see image.h.
 */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

struct image {
        char folder[128]; /* all of it lies here */
        char path[256];
        char options[256];
        uint64_t bytes;
        char text[400];
};

/* The exit status of a command of the shell's; -1: it has none. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int run(const char *format, ...)
{
        char command[2048];
        va_list args;
        int status;

        va_start(args, format);
        vsnprintf(command, sizeof(command), format, args);
        va_end(args);
        status = system(command);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void image_need_tools(void)
{
        const char *path = getenv("PATH");
        struct image *image;
        struct fl_engine *e;
        struct fl_file *f;
        char uri[300], with_sbin[4096];

        snprintf(with_sbin, sizeof(with_sbin), "%s:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");
        setenv("PATH", with_sbin, 1);
        if (run("command -v mke2fs e2fsck debugfs >/dev/null"))
                test_skip("needs e2fsprogs: mke2fs, e2fsck, debugfs");
        image = image_make("-t ext4", 4u << 20);
        image_add(image, "probe", "x", 1);
        image_finish(image);
        e = open_engine_with((struct fl_engine_config){ .flags = FL_ENGINE_QUIET });
        snprintf(uri, sizeof(uri), "ext4:%s#/probe", image_path(image));
        f = fl_file_open(e, uri, O_RDONLY, NULL);
        if (!f && errno == ENOPKG) {
                image_free(image);
                test_skip("built without ext4");
        }
        require(f, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
        image_free(image);
}

struct image *image_make(const char *options, uint64_t bytes)
{
        struct image *image = calloc(1, sizeof(*image));

        snprintf(image->folder, sizeof(image->folder), "fltest-image-XXXXXX");
        require(mkdtemp(image->folder), "%s: %s", image->folder, strerror(errno));
        snprintf(image->path, sizeof(image->path), "%s/image", image->folder);
        snprintf(image->options, sizeof(image->options), "%s", options);
        image->bytes = bytes;
        require(run("mkdir %s/tree", image->folder) == 0, "mkdir");
        return image;
}

void image_add(struct image *image, const char *name, const void *bytes, size_t size)
{
        char path[512];
        int fd;

        snprintf(path, sizeof(path), "%s/tree/%s", image->folder, name);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        require(fd >= 0, "%s: %s", path, strerror(errno));
        require(write(fd, bytes, size) == (ssize_t)size, "%s: %s", path, strerror(errno));
        close(fd);
}

void image_finish(struct image *image)
{
        require(run("mke2fs -q -F %s -d %s/tree %s %lluk >%s/log 2>&1", image->options,
                    image->folder, image->path, (unsigned long long)image->bytes / 1024,
                    image->folder) == 0,
                "mke2fs %s", image->options);
}

const char *image_path(const struct image *image)
{
        return image->path;
}

void image_use(struct image *image, const char *path)
{
        snprintf(image->path, sizeof(image->path), "%s", path);
}

int image_check(const struct image *image, const char *options)
{
        return run("exec e2fsck %s %s >%s/log 2>&1", options, image->path, image->folder);
}

bool image_is_clean(const struct image *image)
{
        int status = image_check(image, "-fn");

        if (status)
                run("cat %s/log >&2", image->folder);
        return status == 0;
}

const char *image_log(struct image *image)
{
        char path[512];
        ssize_t n;
        int fd;

        snprintf(path, sizeof(path), "%s/log", image->folder);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? 0 : read(fd, image->text, sizeof(image->text) - 1);
        if (fd >= 0)
                close(fd);
        image->text[n > 0 ? n : 0] = 0;
        for (char *p = image->text; (p = strchr(p, '\n'));)
                *p = ';';
        return image->text;
}

/* The bytes of a file of the folder; NULL: there is none. */
static void *folder_read(const struct image *image, const char *name, size_t *size)
{
        char path[512];
        struct stat st;
        void *bytes;
        int fd;

        snprintf(path, sizeof(path), "%s/%s", image->folder, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return NULL;
        require(!fstat(fd, &st), "%s: %s", path, strerror(errno));
        *size = (size_t)st.st_size;
        bytes = malloc(*size + 1);
        if (bytes && read(fd, bytes, *size) != (ssize_t)*size) {
                free(bytes);
                bytes = NULL;
        }
        close(fd);
        return bytes;
}

void image_read(const struct image *image, unsigned nr, const char *const names[], void *bytes[],
                size_t sizes[])
{
        char path[512], out[16];
        FILE *commands;

        snprintf(path, sizeof(path), "%s/commands", image->folder);
        commands = fopen(path, "we");
        require(commands, "%s: %s", path, strerror(errno));
        for (unsigned i = 0; i < nr; i++) {
                fprintf(commands, "dump /%s %s/out%u\n", names[i], image->folder, i);
                snprintf(path, sizeof(path), "%s/out%u", image->folder, i);
                unlink(path);
        }
        require(!fclose(commands), "commands: %s", strerror(errno));
        run("exec debugfs -f %s/commands %s >%s/log 2>&1", image->folder, image->path,
            image->folder);
        for (unsigned i = 0; i < nr; i++) {
                snprintf(out, sizeof(out), "out%u", i);
                bytes[i] = folder_read(image, out, &sizes[i]);
        }
}

void image_expect(const struct image *image, const char *name, const void *bytes, size_t size)
{
        size_t got_size = 0, at = 0;
        const char *want = bytes, *got;
        void *copy;

        image_read(image, 1, &name, &copy, &got_size);
        got = copy;
        expect(got, "%s: debugfs cannot read it", name);
        if (!got)
                return;
        expect_eq(got_size, size, name);
        while (at < size && at < got_size && got[at] == want[at])
                at++;
        expect(at == size, "%s: byte %zu of %zu is not what was stored", name, at, size);
        free(copy);
}

void image_debugfs(const struct image *image, const char *command)
{
        require(run("debugfs -w -R '%s' %s >%s/log 2>&1", command, image->path, image->folder) == 0,
                "debugfs %s", command);
}

void image_free(struct image *image)
{
        if (!image)
                return;
        run("rm -rf %s", image->folder);
        free(image);
}
