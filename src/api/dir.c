/* SPDX-License-Identifier: Apache-2.0
 *
 * dir.c - fl_opendir, fl_readdir, fl_closedir: a directory in an image, all read when it is opened.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/engine.h"
#include "fs/module.h"

#define MOST_ENTRIES (1u << 22) /* an image may claim more than memory can hold */

struct fl_dir {
        struct fl_dirent *entry;
        size_t nr, room, next;
};

static void free_dir(struct fl_dir *d)
{
        for (size_t i = 0; i < d->nr; i++) {
                free((char *)d->entry[i].name);
                free((char *)d->entry[i].link);
        }
        free(d->entry);
        free(d);
}

static int make_room(struct fl_dir *d)
{
        size_t room = d->room ? d->room * 2 : 64;
        struct fl_dirent *entry;

        if (d->nr < d->room)
                return 0;
        if (d->nr == MOST_ENTRIES)
                return -EOVERFLOW;
        entry = reallocarray(d->entry, room, sizeof(*entry));
        if (!entry)
                return -ENOMEM;
        d->entry = entry;
        d->room = room;
        return 0;
}

static int add_entry(void *arg, const struct fs_entry *e)
{
        struct fl_dir *d = arg;
        struct fl_dirent *to;
        int error = make_room(d);

        if (error)
                return error;
        to = &d->entry[d->nr];
        to->name = strdup(e->name);
        to->link = e->link ? strdup(e->link) : NULL;
        to->st = e->st;
        if (to->name && (to->link || !e->link)) {
                d->nr++;
                return 0;
        }
        free((char *)to->name);
        return -ENOMEM;
}

struct fl_dir *fl_opendir(struct fl_engine *e, const char *uri)
{
        const char *why = NULL;
        struct fl_dir *d;
        int error;

        begin_call();
        if (fl_refuse(e, "listing"))
                return NULL;
        d = calloc(1, sizeof(*d));
        if (!d || !uri) {
                free(d);
                fl_fail(uri ? ENOMEM : EFAULT, uri, "listing", NULL);
                return NULL;
        }
        mutex_lock(&e->cache->open_lock);
        error = fs_list(&e->fs, uri, add_entry, d, &why);
        if (error)
                fl_fail(-error, uri, "listing", why);
        mutex_unlock(&e->cache->open_lock);
        if (!error)
                return d;
        free_dir(d);
        errno = -error;
        return NULL;
}

const struct fl_dirent *fl_readdir(struct fl_dir *d)
{
        return d->next < d->nr ? &d->entry[d->next++] : NULL;
}

void fl_closedir(struct fl_dir *d)
{
        free_dir(d);
}
