/* SPDX-License-Identifier: Apache-2.0
 *
 * export_place.c - where in which file each event of a trace is about.
 *
 * An event says so itself, by its object and an argument; or its fault does. Below the file systems
 * there are devices and sectors only: FS_MAP, which comes before the bio it is about, tells what of
 * which file lies there. What is no file's (a file system's own, a flush) stays with the device.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"
#include "util/base.h"

#define RECENT 65536u /* places on devices that are remembered */

struct mapped {
        uint64_t device, sector, object, offset;
};

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash && slash[1] ? slash + 1 : path;
}

bool export_is_file(const struct export_input *in, uint64_t object)
{
        enum trace_kind kind;

        return object && trace_reader_object(in->reader, object, &kind) && kind == TRACE_OF_FILE;
}

/* Bytes a unit of the argument of that name is; 0: it is no place. Addresses are none. */
static unsigned unit_of(const char *argument, const char *layer)
{
        bool in_file = !strcmp(layer, "cache") || !strcmp(layer, "fs");

        if (!strcmp(argument, "index") || (!strcmp(argument, "start") && in_file))
                return PAGE_SIZE;
        if (!strcmp(argument, "sector") && !in_file)
                return SECTOR_SIZE;
        return !strcmp(argument, "offset") || !strcmp(argument, "off");
}

bool export_own_offset(const struct export_input *in, const struct trace_record *r,
                       uint64_t *offset)
{
        const char *layer = trace_reader_layer(in->reader, r->event);

        for (unsigned i = 0; i < 4; i++) {
                unsigned unit = unit_of(trace_reader_arg(in->reader, r->event, i), layer);

                if (unit && r->arg[i] <= INT64_MAX / unit) {
                        *offset = r->arg[i] * unit;
                        return true;
                }
        }
        return false;
}

static struct mapped *mapped_at(struct mapped *recent, uint64_t device, uint64_t sector)
{
        return &recent[((device << 56 ^ sector) * 0x9e3779b97f4a7c15u >> 40) % RECENT];
}

static struct export_place place_of(const struct export_input *in, struct mapped *recent,
                                    const struct trace_record *r)
{
        const struct export_fault *f = r->fault ? export_fault_of(in, r->fault) : NULL;
        struct export_place place = { .object = r->object };
        bool device = r->object && !export_is_file(in, r->object);

        place.placed = export_own_offset(in, r, &place.offset);
        if (device && place.placed && r->arg[1]) { /* a flush is of no bytes, and of no place */
                uint64_t sector = place.offset / SECTOR_SIZE;
                const struct mapped *m = mapped_at(recent, r->object, sector);

                if (m->object && m->device == r->object && m->sector == sector) {
                        place.object = m->object;
                        place.offset = m->offset;
                }
                return place;
        }
        if (device)
                place.placed = false;
        if (!place.object && f)
                place.object = f->object;
        if (!place.placed && f && f->placed && !device) {
                place.offset = f->offset;
                place.placed = true;
        }
        return place;
}

int export_place_all(struct export_input *in)
{
        struct mapped *recent = calloc(RECENT, sizeof(*recent));

        in->place = calloc(in->nr + 1, sizeof(*in->place));
        if (!recent || !in->place) {
                free(recent);
                return -ENOMEM;
        }
        for (size_t i = 0; i < in->nr; i++) {
                const struct trace_record *r = &in->record[i];

                if (r->event == in->ev.fs_map)
                        *mapped_at(recent, r->arg[3], r->arg[2]) = (struct mapped){
                                .device = r->arg[3],
                                .sector = r->arg[2],
                                .object = r->object,
                                .offset = r->arg[0],
                        };
                in->place[i] = place_of(in, recent, r);
        }
        free(recent);
        return 0;
}

const char *export_file_of(const struct export_input *in, size_t i, char buf[32])
{
        const struct trace_record *r = &in->record[i];
        const struct export_fault *f = r->fault ? export_fault_of(in, r->fault) : NULL;
        const char *name = trace_reader_object(in->reader, in->place[i].object, NULL);

        snprintf(buf, 32, "%s", name ? base_name(name) : "-");
        if (!name && f && f->short_name)
                trace_name_of(f->short_name, buf);
        return buf;
}
