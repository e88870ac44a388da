/* SPDX-License-Identifier: Apache-2.0
 *
 * ls.c - `faultline ls`: a directory inside an image, as ls -l would show it.
 *
 * Names in an image are any bytes. What would talk to the terminal is shown as ?, as in messages; in
 * JSON, which knows no bytes that are not UTF-8, such a name has them in hex beside it.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "util/text.h"

struct listing {
        const struct fl_dirent **entry;
        size_t nr, room;
};

static bool add(struct listing *l, const struct fl_dirent *entry)
{
        if (l->nr == l->room) {
                size_t room = l->room ? l->room * 2 : 64;
                const struct fl_dirent **more = reallocarray(l->entry, room, sizeof(*more));

                if (!more)
                        return false;
                l->entry = more;
                l->room = room;
        }
        l->entry[l->nr++] = entry;
        return true;
}

static int by_name(const void *a, const void *b)
{
        return strcmp((*(const struct fl_dirent *const *)a)->name,
                      (*(const struct fl_dirent *const *)b)->name);
}

static bool read_sorted(struct fl_dir *dir, struct listing *l)
{
        const struct fl_dirent *entry;

        while ((entry = fl_readdir(dir)))
                if (!add(l, entry))
                        return false;
        if (l->nr)
                qsort(l->entry, l->nr, sizeof(*l->entry), by_name);
        return true;
}

static const char *type_name(mode_t mode)
{
        switch (mode & S_IFMT) {
        case S_IFREG:
                return "file";
        case S_IFDIR:
                return "directory";
        case S_IFLNK:
                return "link";
        case S_IFBLK:
                return "block device";
        case S_IFCHR:
                return "character device";
        case S_IFIFO:
                return "fifo";
        case S_IFSOCK:
                return "socket";
        default:
                return "unknown";
        }
}

static char type_letter(mode_t mode)
{
        static const char letters[16] = "?pc?d?b?-?l?s???";

        return letters[(mode & S_IFMT) >> 12];
}

/* "-rwxr-xr-x" */
static const char *text_mode(char text[12], mode_t mode)
{
        static const char bits[] = "rwxrwxrwx";

        text[0] = type_letter(mode);
        for (unsigned i = 0; i < 9; i++)
                text[1 + i] = mode & (0400u >> i) ? bits[i] : '-';
        if (mode & S_ISUID)
                text[3] = text[3] == 'x' ? 's' : 'S';
        if (mode & S_ISGID)
                text[6] = text[6] == 'x' ? 's' : 'S';
        if (mode & S_ISVTX)
                text[9] = text[9] == 'x' ? 't' : 'T';
        text[10] = 0;
        return text;
}

static void print_name(const char *name)
{
        for (; *name; name++)
                putchar((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name);
}

static void print_entry(const struct fl_dirent *entry, int width)
{
        struct tm tm = { 0 };
        char mode[12], date[32];

        localtime_r(&entry->st.st_mtim.tv_sec, &tm);
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &tm);
        printf("%s %*" PRIu64 " %s ", text_mode(mode, entry->st.st_mode), width,
               (uint64_t)entry->st.st_size, date);
        print_name(entry->name);
        if (entry->link) {
                fputs(" -> ", stdout);
                print_name(entry->link);
        }
        putchar('\n');
}

static int print(const struct listing *l)
{
        char number[24];
        int width = 1;

        for (size_t i = 0; i < l->nr; i++) {
                int n = snprintf(number, sizeof(number), "%" PRIu64,
                                 (uint64_t)l->entry[i]->st.st_size);

                width = n > width ? n : width;
        }
        for (size_t i = 0; i < l->nr; i++)
                print_entry(l->entry[i], width);
        return fflush(stdout) ? fail("standard output", "write", "%s", strerror(errno)) : 0;
}

/* key: the text, or, if it is no UTF-8, what of it is ASCII; then key_hex has all of it. */
static void set_bytes(json_t *object, const char *key, const char *bytes)
{
        json_t *text = json_string(bytes);
        size_t n = strlen(bytes);
        char *copy, *hex, name[32];

        if (text) {
                json_object_set_new(object, key, text);
                return;
        }
        copy = malloc(n + 1);
        hex = malloc(2 * n + 1);
        if (copy && hex) {
                for (size_t i = 0; i <= n; i++)
                        copy[i] = (char)((unsigned char)bytes[i] < 0x80 ? bytes[i] : '?');
                for (size_t i = 0; i < n; i++)
                        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)bytes[i]);
                snprintf(name, sizeof(name), "%s_hex", key);
                json_object_set_new(object, key, json_string(copy));
                json_object_set_new(object, name, json_string(n ? hex : ""));
        }
        free(copy);
        free(hex);
}

static json_t *entry_json(const struct fl_dirent *entry)
{
        const struct stat *st = &entry->st;
        json_t *object = json_object();

        set_bytes(object, "name", entry->name);
        json_object_set_new(object, "type", json_string(type_name(st->st_mode)));
        json_object_set_new(object, "mode", json_integer(st->st_mode & 07777));
        json_object_set_new(object, "size", json_integer((json_int_t)st->st_size));
        json_object_set_new(object, "mtime", json_integer((json_int_t)st->st_mtim.tv_sec));
        json_object_set_new(object, "uid", json_integer((json_int_t)st->st_uid));
        json_object_set_new(object, "gid", json_integer((json_int_t)st->st_gid));
        json_object_set_new(object, "links", json_integer((json_int_t)st->st_nlink));
        if (entry->link)
                set_bytes(object, "link", entry->link);
        return object;
}

static int print_as_json(const struct listing *l)
{
        json_t *all = json_object(), *entries = json_array();

        for (size_t i = 0; i < l->nr; i++)
                json_array_append_new(entries, entry_json(l->entry[i]));
        json_object_set_new(all, "entries", entries);
        return print_json(stdout, all) ? 0
                                       : fail("standard output", "write", "%s", strerror(errno));
}

static int list(struct session *s, const char *uri)
{
        struct fl_dir *dir = fl_opendir(s->engine, uri);
        struct listing l = { 0 };
        int status;

        if (!dir)
                return fail_library();
        if (!read_sorted(dir, &l))
                status = fail(uri, "list", "%s", strerror(ENOMEM));
        else
                status = s->options->json ? print_as_json(&l) : print(&l);
        free(l.entry);
        fl_closedir(dir);
        return status;
}

static int run(struct options *o, int argc, char **argv)
{
        struct session s;
        const char *uri;
        int status = options_parse_uri(o, NULL, argc, argv, &uri);

        if (!uri)
                return status;
        status = session_open_engine(&s, o, uri);
        if (!status)
                status = list(&s, uri);
        return session_close(&s, status);
}

const struct command command_ls = {
        .name = "ls",
        .summary = "a directory inside an image",
        .help = "ls URI [OPTIONS]\n"
                "\n"
                "Lists a directory inside an image, sorted by name: mode, size, time, name. Of a\n"
                "file, the file. A # ? or % in a name is written %23, %3F, %25 in a URI.\n"
                "  --json      the entries as one JSON object\n"
                "\n"
                "Examples:\n"
                "  faultline ls squashfs:root.sqfs#/\n"
                "  faultline ls squashfs:root.sqfs#/usr/lib --json\n",
        .run = run,
};
