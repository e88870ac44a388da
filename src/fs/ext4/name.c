/* SPDX-License-Identifier: Apache-2.0
 *
 * name.c - a path within the image, to an inode; what lies in a directory.
 *
 * Component by component, so that links are counted and each step can be refused by name. A link
 * with an absolute path begins at the image's root: nothing leads out of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/ext4/ext4.h"

#define MAX_LINKS 40 /* on one path, as the kernel */

int ext4_read_inode(struct ext4 *e, ext2_ino_t ino, struct ext2_inode_large **out)
{
        int size = EXT2_INODE_SIZE(e->fs->super);
        int room = size < (int)sizeof(**out) ? (int)sizeof(**out) : size;
        struct ext2_inode_large *raw = calloc(1, (size_t)room);
        int err;

        if (!raw)
                return -ENOMEM;
        err = ext4_error(ext2fs_read_inode_full(e->fs, ino, EXT2_INODE(raw), size));
        if (err) {
                free(raw);
                return err == -EINVAL ? -EUCLEAN : err;
        }
        *out = raw;
        return 0;
}

int ext4_read_link(struct ext4 *e, ext2_ino_t ino, struct ext2_inode *raw, char *to, size_t room)
{
        uint64_t size = EXT2_I_SIZE(raw);
        char *block = NULL;
        blk64_t at = 0;
        size_t n = room;
        int err;

        if (raw->i_flags & EXT4_ENCRYPT_FL)
                return -ENOKEY;
        if (size == 0 || size >= room || size > e->block_size)
                return -EUCLEAN;
        if (raw->i_flags & EXT4_INLINE_DATA_FL) {
                block = calloc(1, e->block_size);
                if (!block)
                        return -ENOMEM;
                err = ext4_error(ext2fs_inline_data_size(e->fs, ino, &n));
                if (!err && (n > e->block_size || n < size))
                        err = -EUCLEAN;
                if (!err)
                        err = ext4_error(ext2fs_inline_data_get(e->fs, ino, raw, block, &n));
        } else if (ext2fs_is_fast_symlink(raw)) {
                block = NULL;
                err = size > sizeof(raw->i_block) ? -EUCLEAN : 0;
                if (!err)
                        memcpy(to, raw->i_block, size);
        } else {
                block = malloc(e->block_size);
                if (!block)
                        return -ENOMEM;
                err = ext4_error(ext2fs_bmap2(e->fs, ino, raw, NULL, 0, 0, NULL, &at));
                if (!err && (at == 0 || at >= e->nr_blocks))
                        err = -EUCLEAN;
                if (!err)
                        err = ext4_read_block(e, at, block);
        }
        if (!err && block)
                memcpy(to, block, size);
        to[err ? 0 : size] = 0;
        free(block);
        if (!err && strlen(to) != size)
                err = -EUCLEAN;
        return err;
}

/* What is still to be walked, and where we are. */
struct walk {
        struct ext4 *e;
        ext2_ino_t at;
        unsigned links;
        char rest[2 * URI_PART_MAX];
        const char *why;
};

/* The link's path comes before what is left. */
static int follow(struct walk *w, ext2_ino_t ino, struct ext2_inode *raw)
{
        char target[URI_PART_MAX];
        size_t len, left = strlen(w->rest);
        int err;

        if (++w->links > MAX_LINKS)
                return -ELOOP;
        err = ext4_read_link(w->e, ino, raw, target, sizeof(target));
        if (err == -ENOKEY)
                w->why = "a symbolic link on the way is encrypted";
        if (err)
                return err;
        len = strlen(target);
        if (len + left + 1 > sizeof(w->rest))
                return -ENAMETOOLONG;
        memmove(w->rest + len, w->rest, left + 1); /* "" or what begins with a slash */
        memcpy(w->rest, target, len);
        if (*target == '/')
                w->at = EXT2_ROOT_INO;
        return 0;
}

/* One name of the path. */
static int step(struct walk *w, const char *name, size_t len)
{
        ext2_filsys fs = w->e->fs;
        struct ext2_inode_large *raw;
        ext2_ino_t found;
        int err = ext4_read_inode(w->e, w->at, &raw);
        bool encrypted;

        if (err)
                return err;
        err = LINUX_S_ISDIR(raw->i_mode) ? 0 : -ENOTDIR;
        encrypted = raw->i_flags & EXT4_ENCRYPT_FL;
        free(raw);
        if (err || (len == 1 && *name == '.'))
                return err;
        if (len > EXT2_NAME_LEN)
                return -ENAMETOOLONG;
        if (encrypted) {
                w->why = "a directory on the way is encrypted";
                return -ENOKEY;
        }
        if (w->at == EXT2_ROOT_INO && len == 2 && !memcmp(name, "..", 2))
                return 0;
        err = ext4_error(ext2fs_lookup(fs, w->at, name, (int)len, NULL, &found));
        if (err)
                return err;
        /* Those that are the file system's own are in no directory, but for the root. */
        if (found == 0 || found > fs->super->s_inodes_count ||
            (found < EXT2_FIRST_INO(fs->super) && found != EXT2_ROOT_INO))
                return -EUCLEAN;
        err = ext4_read_inode(w->e, found, &raw);
        if (err)
                return err;
        if (raw->i_links_count == 0) /* it was deleted: its blocks may be another's */
                err = -EUCLEAN;
        else if (LINUX_S_ISLNK(raw->i_mode))
                err = follow(w, found, EXT2_INODE(raw));
        else
                w->at = found;
        free(raw);
        return err;
}

/* A name may be as odd as it likes but for NUL and the slash. */
int ext4_lookup(struct ext4 *e, const char *path, ext2_ino_t *out, const char **why)
{
        struct walk *w = calloc(1, sizeof(*w));
        int err = 0;

        if (!w)
                return -ENOMEM;
        w->e = e;
        w->at = EXT2_ROOT_INO;
        if (strlen(path) >= sizeof(w->rest))
                err = -ENAMETOOLONG;
        else
                strcpy(w->rest, path);
        while (!err && *w->rest) {
                char name[EXT2_NAME_LEN + 2];
                size_t slashes = strspn(w->rest, "/"), len;
                size_t copied;

                memmove(w->rest, w->rest + slashes, strlen(w->rest + slashes) + 1);
                len = strcspn(w->rest, "/");
                copied = len < sizeof(name) ? len : sizeof(name);
                memcpy(name, w->rest, copied);
                /* The slash stays: what it stands behind must be a directory. */
                memmove(w->rest, w->rest + len, strlen(w->rest + len) + 1);
                if (len)
                        err = step(w, name, copied);
                else if (slashes)
                        err = step(w, ".", 1);
        }
        *out = w->at;
        if (w->why)
                *why = w->why;
        free(w);
        return err;
}

/* Seconds and the two bits that make them last beyond 2038. */
static struct timespec time_of(uint32_t seconds, uint32_t extra)
{
        return (struct timespec){
                .tv_sec = (time_t)(int32_t)seconds + ((time_t)(extra & EXT4_EPOCH_MASK) << 32),
                .tv_nsec = (long)((extra >> EXT4_EPOCH_BITS) % 1000000000u),
        };
}

void ext4_stat(struct ext4 *e, ext2_ino_t ino, struct ext2_inode_large *raw, struct stat *st)
{
        struct ext2_inode *inode = EXT2_INODE(raw);
        unsigned extra = EXT2_INODE_SIZE(e->fs->super) > EXT2_GOOD_OLD_INODE_SIZE
                                 ? EXT2_GOOD_OLD_INODE_SIZE + raw->i_extra_isize
                                 : 0;
        bool fine = inode_includes(extra, i_atime_extra);
        uint64_t blocks = inode->i_blocks;

        if (ext2fs_has_feature_huge_file(e->fs->super)) {
                blocks |= (uint64_t)inode->osd2.linux2.l_i_blocks_hi << 32;
                if (inode->i_flags & EXT4_HUGE_FILE_FL)
                        blocks <<= e->block_shift - SECTOR_SHIFT;
        }
        *st = (struct stat){
                .st_ino = ino,
                .st_mode = inode->i_mode,
                .st_nlink = inode->i_links_count,
                .st_uid = inode_uid(*inode),
                .st_gid = inode_gid(*inode),
                .st_size = (off_t)EXT2_I_SIZE(inode),
                .st_blksize = (blksize_t)e->block_size,
                .st_blocks = (blkcnt_t)blocks,
                .st_atim = time_of(inode->i_atime, fine ? raw->i_atime_extra : 0),
                .st_mtim = time_of(inode->i_mtime, fine ? raw->i_mtime_extra : 0),
                .st_ctim = time_of(inode->i_ctime, fine ? raw->i_ctime_extra : 0),
        };
}

/* ---- listing ---- */

struct listing {
        struct ext4 *e;
        int (*entry)(void *, const struct fs_entry *);
        void *arg;
        int error;
};

static int list_inode(struct listing *l, ext2_ino_t ino, const char *name)
{
        char target[URI_PART_MAX];
        struct fs_entry entry = { .name = name };
        struct ext2_inode_large *raw;
        int err = ext4_read_inode(l->e, ino, &raw);

        if (err)
                return err;
        ext4_stat(l->e, ino, raw, &entry.st);
        if (LINUX_S_ISLNK(raw->i_mode) &&
            !ext4_read_link(l->e, ino, EXT2_INODE(raw), target, sizeof(target)))
                entry.link = target;
        free(raw);
        return l->entry(l->arg, &entry);
}

/* The first two of a directory are not asked. */
static bool is_name(const char *name, size_t len)
{
        return len && strlen(name) == len && !memchr(name, '/', len) && strcmp(name, ".") &&
               strcmp(name, "..");
}

static int list_entry(ext2_ino_t dir, int kind, struct ext2_dir_entry *d, int offset, int size,
                      char *buf, void *arg)
{
        struct listing *l = arg;
        char name[EXT2_NAME_LEN + 1];
        size_t len = (size_t)ext2fs_dirent_name_len(d);

        (void)dir, (void)offset, (void)size, (void)buf;
        if (kind != DIRENT_OTHER_FILE)
                return 0;
        memcpy(name, d->name, len);
        name[len] = 0;
        if (d->inode > l->e->fs->super->s_inodes_count || !is_name(name, len))
                l->error = -EUCLEAN;
        else
                l->error = list_inode(l, d->inode, name);
        return l->error ? DIRENT_ABORT : 0;
}

int ext4_list(struct ext4 *e, const char *path, int (*entry)(void *, const struct fs_entry *),
              void *arg, const char **why)
{
        struct listing l = { .e = e, .entry = entry, .arg = arg };
        const char *slash = strrchr(path, '/');
        struct ext2_inode_large *raw;
        ext2_ino_t ino;
        int err = ext4_lookup(e, path, &ino, why);
        bool encrypted, directory;

        if (!err)
                err = ext4_read_inode(e, ino, &raw);
        if (err)
                return err;
        directory = LINUX_S_ISDIR(raw->i_mode);
        encrypted = raw->i_flags & EXT4_ENCRYPT_FL;
        free(raw);
        if (!directory)
                return list_inode(&l, ino, slash ? slash + 1 : path);
        if (encrypted) {
                *why = "the directory is encrypted";
                return -ENOKEY;
        }
        err = ext4_error(ext2fs_dir_iterate2(e->fs, ino, 0, NULL, list_entry, &l));
        return l.error ? l.error : err;
}
