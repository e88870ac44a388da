/* SPDX-License-Identifier: Apache-2.0
 *
 * cgroup.c - the memory cgroup of this process.
 *
 * /proc/self/cgroup may name a group that is not to be seen below the mount (a container without a
 * cgroup namespace of its own): a folder that is not there has no limit, and the walk goes up.
 */
#include "util/cgroup.h"

#include <stdio.h>
#include <string.h>

#define LINE_ROOM 4096

static FILE *open_below(const char *folder, const char *file)
{
        char path[CGROUP_PATH_MAX + 256];

        snprintf(path, sizeof(path), "%s/%s", folder, file);
        return fopen(path, "re");
}

/* A word of a comma separated list? */
static bool has_word(const char *list, const char *word)
{
        size_t length = strlen(word);

        for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
                if ((at == list || at[-1] == ',') && (!at[length] || at[length] == ','))
                        return true;
        return false;
}

/* In place: /proc/self/mounts writes a space as \040. */
static void decode_octal(char *text)
{
        char *out = text;

        for (const char *in = text; *in; out++) {
                unsigned value;

                if (sscanf(in, "\\%3o", &value) == 1) {
                        *out = (char)value;
                        in += 4;
                } else {
                        *out = *in++;
                }
        }
        *out = '\0';
}

/* Where both are mounted, the memory controller is version 1's. */
static void find_mount(struct cgroup *g, const char *root)
{
        FILE *mounts = open_below(root, "proc/self/mounts");
        char line[LINE_ROOM];

        while (mounts && g->version != 1 && fgets(line, sizeof(line), mounts)) {
                char where[sizeof(g->mount)], type[64], options[1024];

                if (sscanf(line, "%*s %255s %63s %1023s", where, type, options) != 3)
                        continue;
                if (!strcmp(type, "cgroup") && has_word(options, "memory"))
                        g->version = 1;
                else if (!strcmp(type, "cgroup2") && !g->version)
                        g->version = 2;
                else
                        continue;
                decode_octal(where);
                if (snprintf(g->mount, sizeof(g->mount), "%s%s", root, where) >=
                    (int)sizeof(g->mount))
                        g->version = 0;
        }
        if (mounts)
                fclose(mounts);
}

/* "N:controllers:PATH"; version 2 is "0::PATH". A path that is too long counts as not known. */
static void find_own(struct cgroup *g, const char *root)
{
        FILE *groups = open_below(root, "proc/self/cgroup");
        char line[LINE_ROOM];

        while (groups && fgets(line, sizeof(line), groups)) {
                char *controllers = strchr(line, ':');
                char *path = controllers ? strchr(++controllers, ':') : NULL;

                if (!path)
                        continue;
                *path++ = '\0';
                path[strcspn(path, "\n")] = '\0';
                if (g->version == 1 ? !has_word(controllers, "memory") : *controllers)
                        continue;
                if (strcmp(path, "/") != 0 && strlen(path) < sizeof(g->own))
                        strcpy(g->own, path);
                break;
        }
        if (groups)
                fclose(groups);
}

void cgroup_find(struct cgroup *g, const char *root)
{
        *g = (struct cgroup){ .version = 0 };
        find_mount(g, root);
        if (g->version)
                find_own(g, root);
}

const char *cgroup_limit_file(int version)
{
        return version == 1 ? "memory.limit_in_bytes" : "memory.max";
}

/* "max", and what is nearly all of 64 bits, mean none: UINT64_MAX. */
static uint64_t bytes_in(const char *folder, const char *file)
{
        FILE *f = open_below(folder, file);
        unsigned long long n;

        if (!f)
                return UINT64_MAX;
        if (fscanf(f, "%llu", &n) != 1 || n >= 1ull << 60)
                n = UINT64_MAX;
        fclose(f);
        return n;
}

void cgroup_room(const struct cgroup *g, struct cgroup_room *out)
{
        const char *usage = g->version == 1 ? "memory.usage_in_bytes" : "memory.current";
        char own[sizeof(g->own)];

        *out = (struct cgroup_room){ .version = g->version,
                                     .limit = UINT64_MAX,
                                     .room = UINT64_MAX };
        if (!g->version)
                return;
        strcpy(own, g->own);
        snprintf(out->path, sizeof(out->path), "%s%s", g->mount, own);
        for (;;) {
                char folder[CGROUP_PATH_MAX], *last;
                uint64_t limit, used;

                snprintf(folder, sizeof(folder), "%s%s", g->mount, own);
                limit = bytes_in(folder, cgroup_limit_file(g->version));
                used = bytes_in(folder, usage);
                if (limit != UINT64_MAX && used != UINT64_MAX) {
                        uint64_t room = limit > used ? limit - used : 0;

                        if (room < out->room) {
                                out->limit = limit;
                                out->room = room;
                                strcpy(out->path, folder);
                        }
                }
                last = strrchr(own, '/');
                if (!last)
                        return;
                *last = '\0';
        }
}
