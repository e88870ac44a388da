/* SPDX-License-Identifier: Apache-2.0
 *
 * stat.c - `faultline stat`: a file, where it lies, and what of it is in memory: in the host's page
 * cache, and in the caches of the engines that run. fincore's columns, vmtouch's bar.
 */
#include "stat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "live.h"
#include "util/scheme.h"

#define EXTENTS_SHOWN 8

struct file_stat {
        const struct options *options;
        const char *uri;
        bool bytes;
        char id[1024]; /* as engines know it: docs/live.md */
        uint64_t size;
        bool on_host; /* it is a file of the host's, with a page cache */
        struct residency host;
        struct extents extents;
        json_t *rows; /* of --json */
};

/* ---- sizes as fincore has them ---- */

static const char *short_size(char buf[TEXT_MAX], uint64_t n, bool bytes)
{
        static const char unit[] = "BKMGTPE";
        unsigned u = 0;
        uint64_t tenths;

        while (u + 1 < sizeof(unit) - 1 && n >> (10 * (u + 1)))
                u++;
        if (bytes || !u) {
                snprintf(buf, TEXT_MAX, "%" PRIu64 "%s", n, bytes ? "" : "B");
                return buf;
        }
        tenths = (n >> (10 * u)) * 10 + (((n >> (10 * u - 10)) & 1023) * 10 + 512) / 1024;
        if (tenths % 10)
                snprintf(buf, TEXT_MAX, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10,
                         unit[u]);
        else
                snprintf(buf, TEXT_MAX, "%" PRIu64 "%c", tenths / 10, unit[u]);
        return buf;
}

/* ---- rows ---- */

/* As wide as there are parts: a blank at the end is a page that is not in memory. */
static void print_bar(const struct residency *r, uint64_t pages)
{
        fputs("  [", stdout);
        for (uint64_t i = 0; i < STAT_PARTS && i * r->each < pages; i++) {
                uint64_t there = min_u64(r->each, pages - i * r->each);

                putchar(!r->part[i] ? ' ' : r->part[i] < there ? 'o' : 'O');
        }
        printf("] %" PRIu64 "/%" PRIu64 "\n", r->pages, pages);
}

static void print_row(const struct file_stat *f, const char *who, const struct residency *r)
{
        char res[TEXT_MAX], size[TEXT_MAX], name[512];

        live_shown(f->uri, name, sizeof(name));
        printf("%8s %8" PRIu64 " %8s %-20s %s\n", short_size(res, r->pages << PAGE_SHIFT, f->bytes),
               r->pages, short_size(size, f->size, f->bytes), who, name);
        print_bar(r, pages_of(f->size));
}

static json_t *bar_json(const struct residency *r, uint64_t pages)
{
        json_t *array = json_array();

        for (uint64_t i = 0; i < STAT_PARTS && i * r->each < pages; i++)
                json_array_append_new(array, json_integer((json_int_t)r->part[i]));
        return array;
}

static json_t *row_json(const struct file_stat *f, const char *by, const struct residency *r)
{
        return json_pack("{s:s, s:I, s:I, s:I, s:o, s:I, s:o}", "by", by, "res",
                         (json_int_t)(r->pages << PAGE_SHIFT), "pages", (json_int_t)r->pages,
                         "size", (json_int_t)f->size, "file", live_json(f->uri), "pages_per_part",
                         (json_int_t)r->each, "parts", bar_json(r, pages_of(f->size)));
}

/* ---- engines ---- */

/* What an engine claims, held against what can be. */
static void read_residency(const json_t *answer, uint64_t pages, struct residency *out)
{
        const json_t *parts = json_object_get(answer, "parts");

        *out = (struct residency){ .known = true, .each = pages_per_part(pages) };
        out->pages = min_u64(live_number(answer, "resident_pages"), pages);
        if (live_number(answer, "pages_per_part") != out->each)
                return; /* it knows another size: its bar would not be ours */
        for (size_t i = 0; i < STAT_PARTS && i < json_array_size(parts); i++) {
                json_int_t n = json_integer_value(json_array_get(parts, i));

                out->part[i] = n > 0 ? min_u64((uint64_t)n, out->each) : 0;
        }
}

static void tell_engine(struct file_stat *f, const struct live_engine *engine, const json_t *answer)
{
        const json_t *file = json_object_get(answer, "file");
        char who[96], program[64];
        struct residency r;
        json_t *row;

        read_residency(answer, pages_of(f->size), &r);
        if (!f->options->json) {
                live_shown(live_text(answer, "program"), program, sizeof(program));
                snprintf(who, sizeof(who), "%d %.40s", engine->pid, program);
                print_row(f, who, &r);
                return;
        }
        row = row_json(f, "engine", &r);
        json_object_set_new(row, "pid", json_integer(engine->pid));
        json_object_set_new(row, "program", live_json(live_text(answer, "program")));
        json_object_set_new(row, "dirty_pages",
                            json_integer((json_int_t)live_number(file, "dirty_pages")));
        json_object_set_new(row, "writeback_pages",
                            json_integer((json_int_t)live_number(file, "writeback_pages")));
        json_object_set_new(row, "faults_major",
                            json_integer((json_int_t)live_number(file, "faults_major")));
        json_object_set_new(row, "faults_minor",
                            json_integer((json_int_t)live_number(file, "faults_minor")));
        json_array_append_new(f->rows, row);
}

static int tell_engines(struct file_stat *f)
{
        struct live_engines engines;
        char id[1600], target[1700];
        unsigned told = 0;

        if (!live_find(&engines))
                return fail(f->uri, "look for engines", "%s", strerror(ENOMEM));
        live_escape(f->id, id, sizeof(id));
        snprintf(target, sizeof(target), "/v1/file?id=%s&parts=%u", id, STAT_PARTS);
        for (size_t i = 0; i < engines.count; i++) {
                json_t *answer = live_ask(&engines.item[i], target);

                if (answer) {
                        tell_engine(f, &engines.item[i], answer);
                        told++;
                }
                json_decref(answer);
        }
        if (!told && !f->options->json)
                printf("%zu engine%s %s, none has it open\n", engines.count,
                       engines.count == 1 ? "" : "s", engines.count == 1 ? "runs" : "run");
        live_free(&engines);
        return EXIT_DONE;
}

/* ---- the file ---- */

static void id_of_path(const char *path, const char *inner, char *out, size_t size)
{
        struct stat st;

        if (stat(path, &st))
                snprintf(out, size, "%s%s", path, inner);
        else if (S_ISBLK(st.st_mode))
                snprintf(out, size, "block %u:%u%s", major(st.st_rdev), minor(st.st_rdev), inner);
        else
                snprintf(out, size, "file %ju:%ju%s", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
                         inner);
}

static const char *host_path(const char *uri)
{
        return !scheme_length(uri) ? uri : scheme_is(uri, "file") ? uri + 5 : NULL;
}

/* TYPE:DEV#/path, or a device that is no file. */
static void id_of_image(const char *uri, char *out, size_t size)
{
        char device[1024];
        const char *inner = strchr(uri, '#');

        if (!inner) {
                snprintf(out, size, "%s", uri);
                return;
        }
        uri += scheme_length(uri) + 1;
        snprintf(device, sizeof(device), "%.*s", (int)(inner - uri), uri);
        id_of_path(host_path(device) ? host_path(device) : device, inner, out, size);
        out[strcspn(out, "?")] = '\0';
}

static int look_at_host_file(struct file_stat *f, const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat st;
        off_t size;

        if (fd < 0 || fstat(fd, &st)) {
                int status = fail(f->uri, "open", "%s", strerror(errno));

                if (fd >= 0)
                        close(fd);
                return status;
        }
        size = S_ISREG(st.st_mode) ? st.st_size : S_ISBLK(st.st_mode) ? lseek(fd, 0, SEEK_END) : -1;
        if (size < 0) {
                close(fd);
                return fail(f->uri, "stat", "has no pages: neither a file nor a block device");
        }
        f->on_host = true;
        f->size = (uint64_t)size;
        id_of_path(path, "", f->id, sizeof(f->id));
        host_residency(fd, f->size, &f->host);
        if (S_ISREG(st.st_mode))
                host_extents(fd, &f->extents);
        else
                f->extents.why_not = "it is the device";
        close(fd);
        return EXIT_DONE;
}

/* A look at each page's place; of a file so large that this takes long, at the first. */
static void image_extents(struct session *s, struct extents *out)
{
        uint64_t pages = pages_of(s->size);

        *out = (struct extents){ .more = false };
        for (uint64_t i = 0; i < pages && i < (1u << 20); i++) {
                struct extent e = { .offset = i << PAGE_SHIFT, .somewhere = true };
                off_t at;
                int r = fl_bmap(s->file, (off_t)e.offset, &at);

                if (r < 0) {
                        out->why_not = "its file system does not tell";
                        return;
                }
                e.at = (uint64_t)at;
                e.bytes = min_u64(PAGE_SIZE, s->size - e.offset);
                if (r && !extents_add(out, &e))
                        return;
        }
        out->more = pages > 1u << 20;
}

static int look_at_image(struct file_stat *f)
{
        struct options quiet = *f->options;
        struct session s;
        int status;

        quiet.publish = "off"; /* we are not what is looked for */
        quiet.stats = false;
        status = session_open(&s, &quiet, f->uri, O_RDONLY, NULL);
        if (!status) {
                f->size = s.size;
                id_of_image(f->uri, f->id, sizeof(f->id));
                image_extents(&s, &f->extents);
        }
        return session_close(&s, status);
}

/* ---- all of it ---- */

static void print_extents(const struct file_stat *f)
{
        const struct extents *x = &f->extents;

        if (x->why_not) {
                printf("extents: %s\n", x->why_not);
                return;
        }
        printf("extents: %zu%s\n", x->count, x->more ? " and more" : "");
        for (size_t i = 0; i < x->count && i < EXTENTS_SHOWN; i++) {
                const struct extent *e = &x->item[i];

                printf("  %14" PRIu64 " .. %14" PRIu64 " at ", e->offset, e->offset + e->bytes);
                e->somewhere ? printf("%" PRIu64 "\n", e->at) : puts("no place yet");
        }
        if (x->count > EXTENTS_SHOWN)
                printf("  ... (--json has all)\n");
}

static int print_people(struct file_stat *f)
{
        int status;

        printf("%8s %8s %8s %-20s %s\n", "RES", "PAGES", "SIZE", "BY", "FILE");
        if (f->on_host && f->host.known)
                print_row(f, "page cache", &f->host);
        else if (f->on_host)
                printf("%8s %8s %8s %-20s %s\n", "?", "?", "?", "page cache", f->host.why_not);
        status = tell_engines(f);
        print_extents(f);
        return fflush(stdout) ? fail(NULL, "write", "%s", strerror(errno)) : status;
}

static int print_program(struct file_stat *f)
{
        json_t *extents = json_array(), *object;
        int status;

        f->rows = json_array();
        if (f->on_host && f->host.known)
                json_array_append_new(f->rows, row_json(f, "page cache", &f->host));
        status = tell_engines(f);
        for (size_t i = 0; i < f->extents.count; i++) {
                const struct extent *e = &f->extents.item[i];

                json_array_append_new(
                        extents,
                        json_pack("{s:I, s:I, s:o}", "offset", (json_int_t)e->offset, "bytes",
                                  (json_int_t)e->bytes, "at",
                                  e->somewhere ? json_integer((json_int_t)e->at) : json_null()));
        }
        object = json_pack("{s:o, s:I, s:o, s:o, s:o}", "file", live_json(f->uri), "size",
                           (json_int_t)f->size, "id", live_json(f->id), "in_memory", f->rows,
                           "extents", f->extents.why_not ? json_null() : extents);
        if (f->extents.why_not)
                json_decref(extents);
        return print_json(stdout, object) ? status : fail(f->uri, "print", "%s", strerror(errno));
}

static int run(struct options *o, int argc, char **argv)
{
        struct file_stat f = { .options = o };
        const struct option_spec own[] = {
                { "bytes", OPTION_FLAG, &f.bytes, NULL, 0 },
                { "b", OPTION_FLAG, &f.bytes, NULL, 0 },
                { 0 },
        };
        int status = options_parse_uri(o, own, argc, argv, &f.uri);

        if (!f.uri)
                return status;
        setlocale(LC_CTYPE, "");
        status = host_path(f.uri) ? look_at_host_file(&f, host_path(f.uri)) : look_at_image(&f);
        if (!status)
                status = o->json ? print_program(&f) : print_people(&f);
        free(f.extents.item);
        return status;
}

const struct command command_stat = {
        .name = "stat",
        .summary = "what is in memory of a file, in the page cache and in running engines",
        .help = "stat URI [-b|--bytes] [OPTIONS]\n"
                "\n"
                "One row for the host's page cache, where the file is the host's, and one for "
                "each\n"
                "engine of this user that has it open: bytes and pages in memory, the file's "
                "size,\n"
                "and a bar of the whole file in which O is a part that is in memory, o one that "
                "is\n"
                "so in part. Then where the file lies on its device.\n"
                "  --bytes, -b   sizes in bytes\n"
                "  --json        all of it, with every extent, in one JSON object\n"
                "\n"
                "Examples:\n"
                "  faultline stat data.bin\n"
                "  faultline stat ext4:disk.img#/etc/fstab --json\n",
        .run = run,
};
