/* SPDX-License-Identifier: Apache-2.0
 *
 * fs.c - the inode table of an engine, and the way from a URI to an inode.
 *
 * An inode is in the table from its first open to the end of its last reference; it is taken out
 * under env->lock and torn down without it, since closing a device waits for its I/O. An open
 * that comes in between makes a new inode of the same file.
 */
#include "fs/fs.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fs/module.h"

void fs_env_init(struct fs_env *env, struct driver_env *drivers, struct block_pool *pool,
                 struct trace *trace)
{
        memset(env, 0, sizeof *env);
        mutex_init(&env->lock, LOCK_FS_ENV);
        env->drivers = drivers;
        env->pool = pool;
        env->trace = trace;
}

void fs_env_destroy(struct fs_env *env)
{
        struct super_block *sb;

        while ((sb = env->supers)) {
                env->supers = sb->next;
                sb->s_op->put_super(sb);
        }
}

static struct inode **hash_chain(struct fs_env *env, uint64_t dev, uint64_t ino)
{
        return &env->hash[(dev * 31 + ino) % ARRAY_SIZE(env->hash)];
}

struct inode *inode_find_locked(struct fs_env *env, uint64_t dev, uint64_t ino)
{
        mutex_assert_held(&env->lock);
        for (struct inode *i = *hash_chain(env, dev, ino); i; i = i->next)
                if (i->i_dev == dev && i->i_ino == ino) {
                        i->refs++;
                        return i;
                }
        return NULL;
}

void inode_insert_locked(struct fs_env *env, struct inode *inode, const char *uri)
{
        struct inode **chain = hash_chain(env, inode->i_dev, inode->i_ino);

        mutex_assert_held(&env->lock);
        strncpy(inode->name, uri, sizeof inode->name - 1);
        inode->i_object = trace_object(env->trace, TRACE_OF_FILE, inode->name);
        inode->refs = 1;
        inode->next = *chain;
        *chain = inode;
}

static void inode_remove_locked(struct fs_env *env, struct inode *inode)
{
        struct inode **at = hash_chain(env, inode->i_dev, inode->i_ino);

        mutex_assert_held(&env->lock);
        while (*at != inode)
                at = &(*at)->next;
        *at = inode->next;
        inode->next = NULL;
}

void super_insert_locked(struct fs_env *env, struct super_block *sb)
{
        mutex_assert_held(&env->lock);
        sb->next = env->supers;
        env->supers = sb;
}

void super_remove_locked(struct fs_env *env, struct super_block *sb)
{
        struct super_block **at = &env->supers;

        mutex_assert_held(&env->lock);
        while (*at != sb)
                at = &(*at)->next;
        *at = sb->next;
        sb->next = NULL;
}

struct super_block *super_find_locked(struct fs_env *env, const struct super_operations *s_op,
                                      const char *id)
{
        mutex_assert_held(&env->lock);
        for (struct super_block *sb = env->supers; sb; sb = sb->next)
                if (sb->s_op == s_op && !strcmp(sb->s_id, id))
                        return sb;
        return NULL;
}

/* device_id() of what has a descriptor begins with a word and a blank; else it is the name. */
struct super_block *super_find_name_locked(struct fs_env *env, const struct super_operations *s_op,
                                           const char *uri)
{
        if (!strncmp(uri, "file ", 5) || !strncmp(uri, "block ", 6))
                return NULL;
        return super_find_locked(env, s_op, uri);
}

void inode_get(struct inode *inode)
{
        struct fs_env *env = inode->i_sb->env;

        mutex_lock(&env->lock);
        inode->refs++;
        mutex_unlock(&env->lock);
}

void inode_put(struct inode *inode)
{
        struct fs_env *env = inode->i_sb->env;
        bool last;

        mutex_lock(&env->lock);
        last = --inode->refs == 0;
        if (last)
                inode_remove_locked(env, inode);
        mutex_unlock(&env->lock);
        if (last)
                inode->i_sb->s_op->evict_inode(inode);
}

bool inode_is_last(struct inode *inode)
{
        struct fs_env *env = inode->i_sb->env;
        bool last;

        mutex_lock(&env->lock);
        last = inode->refs == 1;
        mutex_unlock(&env->lock);
        return last;
}

/* Every image's file system is a module of its type's name. */
static int get_type(struct fs_env *env, const struct uri *u, const struct file_system_type **out,
                    const char **why)
{
        struct driver_env *d = env->drivers;
        const void *type = NULL;
        int err;

        if (u->scheme != URI_IMAGE) {
                *why = "it is not in an image";
                return -EOPNOTSUPP;
        }
        err = module_load(u->type, d->core, &type, d->why, sizeof(d->why));
        if (err)
                *why = d->why;
        *out = type;
        return err;
}

int fs_open(struct fs_env *env, const char *uri, int oflags, int mode, struct inode **out,
            const char **why)
{
        const struct file_system_type *type;
        struct uri u;
        int err;

        *why = NULL;
        *out = NULL;
        err = uri_parse(uri, &u, why);
        if (err)
                return err;
        switch (u.scheme) {
        case URI_FILE:
                return hostfs_open(env, uri, u.path, oflags, mode, out, why);
        case URI_RAM:
                return memfs_open_ram(env, uri, u.size, oflags, out);
        case URI_DEVICE:
                return devfs_open(env, uri, oflags, out, why);
        case URI_IMAGE:
                err = get_type(env, &u, &type, why);
                return err ? err : type->open(env, uri, &u, oflags, out, why);
        }
        return -EINVAL;
}

int fs_list(struct fs_env *env, const char *uri, int (*entry)(void *arg, const struct fs_entry *e),
            void *arg, const char **why)
{
        const struct file_system_type *type;
        struct uri u;
        int err;

        *why = NULL;
        err = uri_parse(uri, &u, why);
        if (!err)
                err = get_type(env, &u, &type, why);
        return err ? err : type->list(env, &u, entry, arg, why);
}

int generic_file_map(struct inode *inode, int prot, int flags, int *maxprot)
{
        if (inode->noexec && (prot & PROT_EXEC))
                return -EPERM;
        if (inode->noexec)
                *maxprot &= ~PROT_EXEC;
        if ((flags & MAP_TYPE) == MAP_PRIVATE)
                return 0;
        if ((prot & PROT_WRITE) && (!inode->writable || inode->append_only))
                return -EACCES;
        if (!inode->writable)
                *maxprot &= ~PROT_WRITE;
        return 0;
}

int generic_fsync(struct inode *inode, struct request_queue *q)
{
        struct trace *t = inode->i_sb->env->trace;

        trace_emit(t, FS_FSYNC, 0, inode->i_object, trace_name(inode->i_sb->type), 0, 0, 0);
        return submit_bio_wait(q, IO_WRITE | REQ_PREFLUSH | REQ_SYNC, 0, NULL, 0, 0);
}
