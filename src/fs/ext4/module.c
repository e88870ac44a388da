/* SPDX-License-Identifier: Apache-2.0
 *
 * module.c - what the core sees of ext4: opening a file of an image, listing a directory.
 */
#include <errno.h>
#include <fcntl.h>

#include "fs/ext4/ext4.h"

static int type_open(struct fs_env *env, const char *uri, const struct uri *u, int oflags,
                     struct inode **out, const char **why)
{
        bool write = (oflags & O_ACCMODE) != O_RDONLY;
        struct inode *inode = NULL;
        struct ext4 *e;
        int err;

        if ((oflags & O_TRUNC) && !write) {
                *why = "O_TRUNC needs an open for writing";
                return -EINVAL;
        }
        mutex_lock(&env->lock);
        err = ext4_get_locked(env, u, write, &e, why);
        if (!err) {
                err = ext4_open_locked(e, uri, u->path, oflags, &inode, why);
                if (err && !inode)
                        ext4_put_locked(e);
        }
        mutex_unlock(&env->lock);
        if (!err)
                *out = inode;
        else if (inode)
                inode_put(inode);
        return err;
}

struct list_call {
        struct ext4 *e;
        const struct uri *u;
        int (*entry)(void *, const struct fs_entry *);
        void *arg;
        const char **why;
};

static int list_on_worker(void *arg)
{
        struct list_call *c = arg;

        return ext4_list(c->e, c->u->path, c->entry, c->arg, c->why);
}

static int type_list(struct fs_env *env, const struct uri *u,
                     int (*entry)(void *, const struct fs_entry *), void *arg, const char **why)
{
        struct list_call c = { .u = u, .entry = entry, .arg = arg, .why = why };
        int err;

        mutex_lock(&env->lock);
        err = ext4_get_locked(env, u, false, &c.e, why);
        if (!err) {
                err = ext4_call(c.e, list_on_worker, &c);
                ext4_put_locked(c.e);
        }
        mutex_unlock(&env->lock);
        return err;
}

const struct file_system_type ext4_type = {
        .name = "ext4",
        .open = type_open,
        .list = type_list,
};
