/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.c - an image's metadata: super block, paths, symbolic links, directories.
 *
 * The library parses; what it would believe of an image without asking is asked here: how many
 * entries a table has, how long a list of blocks or the target of a link is. A directory is walked
 * part by part, since `..` and links have to be followed by hand; an inode is known by where it lies,
 * not by the number that it claims.
 */
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fs/squashfs/squashfs.h"

#define MAX_LINKS 40   /* as Linux */
#define MAX_DEPTH 2048 /* of directories; more do not fit into a path of PATH_MAX bytes */
#define MAX_TARGET 65535u
#define MAX_LIST (UINT64_C(256) << 20) /* bytes of a list of blocks, or of the table of fragments */

static const char damaged[] = "the squashfs image is damaged";

int tree_error_locked(struct tree *t, int result, const char **why)
{
        switch (result) {
        case 0:
                return 0;
        case SQFS_ERROR_ALLOC:
                return -ENOMEM;
        case SQFS_ERROR_IO:
                return t->image->error ? t->image->error : -EIO;
        case SQFS_ERROR_NOT_DIR:
                return -ENOTDIR;
        case SQFS_ERROR_NO_ENTRY:
                return -ENOENT;
        case SFQS_ERROR_SUPER_MAGIC:
                *why = "no squashfs image";
                return -EINVAL;
        case SFQS_ERROR_SUPER_VERSION:
                *why = "a squashfs of another version than 4.0";
                return -EINVAL;
        default:
                *why = damaged;
                return -EUCLEAN;
        }
}

/* ---- mounting ---- */

/* What the library takes on trust. */
static int check_super(const sqfs_super_t *super, uint64_t size, const char **why)
{
        *why = damaged;
        if (super->block_size < SQFS_MIN_BLOCK_SIZE || super->block_size > SQFS_MAX_BLOCK_SIZE)
                return -EUCLEAN;
        if (super->bytes_used > size) {
                *why = "the squashfs image is cut short";
                return -EUCLEAN;
        }
        if (super->inode_table_start >= super->bytes_used ||
            super->directory_table_start >= super->bytes_used ||
            super->id_table_start >= super->bytes_used)
                return -EUCLEAN;
        /* A fragment block takes a byte at least. */
        if (super->fragment_entry_count > super->bytes_used ||
            super->fragment_entry_count > MAX_LIST / sizeof(sqfs_fragment_t))
                return -EUCLEAN;
        *why = NULL;
        return 0;
}

static int unknown_compressor(unsigned id, const char **why)
{
        static const char *const phrases[] = {
                [SQFS_COMP_GZIP] = "compressed with gzip, which this libsquashfs cannot read",
                [SQFS_COMP_LZMA] = "compressed with lzma, which this libsquashfs cannot read",
                [SQFS_COMP_LZO] = "compressed with lzo, which this libsquashfs cannot read",
                [SQFS_COMP_XZ] = "compressed with xz, which this libsquashfs cannot read",
                [SQFS_COMP_LZ4] = "compressed with lz4, which this libsquashfs cannot read",
                [SQFS_COMP_ZSTD] = "compressed with zstd, which this libsquashfs cannot read",
        };

        *why = id < ARRAY_SIZE(phrases) && phrases[id] ? phrases[id] : damaged;
        return -EOPNOTSUPP;
}

/* The end of the table of directories: whatever begins next. */
static uint64_t names_end(const sqfs_super_t *super)
{
        uint64_t end = super->id_table_start;

        if (super->fragment_table_start > super->directory_table_start)
                end = min_u64(end, super->fragment_table_start);
        if (super->export_table_start > super->directory_table_start)
                end = min_u64(end, super->export_table_start);
        return end;
}

static int read_tables_locked(struct tree *t, const char **why)
{
        sqfs_file_t *file = &t->image->file;
        sqfs_super_t *super = &t->super;
        int err;

        t->inodes = sqfs_meta_reader_create(file, t->packer, super->inode_table_start,
                                            super->directory_table_start);
        t->names = sqfs_meta_reader_create(file, t->packer, super->directory_table_start,
                                           names_end(super));
        t->ids = sqfs_id_table_create(0);
        t->fragments = sqfs_frag_table_create(0);
        if (!t->inodes || !t->names || !t->ids || !t->fragments)
                return -ENOMEM;
        err = sqfs_id_table_read(t->ids, file, super, t->packer);
        if (!err)
                err = sqfs_frag_table_read(t->fragments, file, super, t->packer);
        return tree_error_locked(t, err, why);
}

int tree_init(struct tree *t, struct image *image, sqfs_compressor_config_t *packer,
              const char **why)
{
        int err;

        *t = (struct tree){ .image = image };
        mutex_init(&t->lock, LOCK_SQUASHFS_TREE);
        mutex_lock(&t->lock);
        err = tree_error_locked(t, sqfs_super_read(&t->super, &image->file), why);
        if (err == -EUCLEAN && image->size < sizeof t->super)
                err = -EINVAL, *why = "no squashfs image";
        if (!err)
                err = check_super(&t->super, image->size, why);
        if (!err && sqfs_compressor_config_init(packer, (SQFS_COMPRESSOR)t->super.compression_id,
                                                t->super.block_size, SQFS_COMP_FLAG_UNCOMPRESS))
                err = unknown_compressor(t->super.compression_id, why);
        if (!err && sqfs_compressor_create(packer, &t->packer)) {
                t->packer = NULL;
                err = unknown_compressor(t->super.compression_id, why);
        }
        if (!err)
                err = read_tables_locked(t, why);
        mutex_unlock(&t->lock);
        return err;
}

void tree_destroy(struct tree *t)
{
        sqfs_destroy(t->fragments);
        sqfs_destroy(t->ids);
        sqfs_destroy(t->names);
        sqfs_destroy(t->inodes);
        sqfs_destroy(t->packer);
}

/* ---- inodes ---- */

/* What follows the base of an inode in those that are not of one size, as on the disk. */
union raw_inode {
        sqfs_inode_file_t file;
        sqfs_inode_file_ext_t file_ext;
        sqfs_inode_slink_t slink;
};

/* How much of it says how long the whole is; 0: all are of one size. */
static size_t head_bytes(unsigned type)
{
        switch (type) {
        case SQFS_INODE_FILE:
                return sizeof(sqfs_inode_file_t);
        case SQFS_INODE_EXT_FILE:
                return sizeof(sqfs_inode_file_ext_t);
        case SQFS_INODE_SLINK:
        case SQFS_INODE_EXT_SLINK:
                return sizeof(sqfs_inode_slink_t);
        default:
                return 0;
        }
}

static int check_length(const struct tree *t, unsigned type, const union raw_inode *raw,
                        const char **why)
{
        uint64_t size;

        if (type == SQFS_INODE_SLINK || type == SQFS_INODE_EXT_SLINK) {
                if (le32toh(raw->slink.target_size) <= MAX_TARGET)
                        return 0;
                *why = damaged;
                return -EUCLEAN;
        }
        size = type == SQFS_INODE_FILE ? le32toh(raw->file.file_size)
                                       : le64toh(raw->file_ext.file_size);
        if (size <= INT64_MAX && size / t->super.block_size <= MAX_LIST / sizeof(sqfs_u32))
                return 0;
        *why = "the list of the file's blocks is too long";
        return -EFBIG;
}

/* Would the library take memory for the inode beyond reason? */
static int check_inode_locked(struct tree *t, uint64_t at, size_t offset, const char **why)
{
        union raw_inode raw;
        sqfs_inode_t base;
        unsigned type;
        size_t more;
        int err = sqfs_meta_reader_seek(t->inodes, at, offset);

        if (!err)
                err = sqfs_meta_reader_read(t->inodes, &base, sizeof base);
        if (err)
                return tree_error_locked(t, err, why);
        type = le16toh(base.type);
        more = head_bytes(type);
        if (!more)
                return 0;
        err = sqfs_meta_reader_read(t->inodes, &raw, more);
        if (err)
                return tree_error_locked(t, err, why);
        return check_length(t, type, &raw, why);
}

/* ref: the block, from the start of the table of inodes, and the offset in it. */
static int read_inode_locked(struct tree *t, uint64_t ref, struct node *out, const char **why)
{
        uint64_t block = ref >> 16, at = t->super.inode_table_start + block;
        size_t offset = ref & 0xffff;
        int err = check_inode_locked(t, at, offset, why);

        if (!err)
                err = tree_error_locked(t,
                                        sqfs_meta_reader_read_inode(t->inodes, &t->super, block,
                                                                    offset, &out->inode),
                                        why);
        out->ref = ref;
        return err;
}

bool tree_is_directory(const sqfs_inode_generic_t *inode)
{
        return inode->base.type == SQFS_INODE_DIR || inode->base.type == SQFS_INODE_EXT_DIR;
}

/* The library has ended it with a zero. */
const char *tree_link(const sqfs_inode_generic_t *inode)
{
        bool is = inode->base.type == SQFS_INODE_SLINK || inode->base.type == SQFS_INODE_EXT_SLINK;

        return is ? (const char *)inode->extra : NULL;
}

static unsigned links_of(const sqfs_inode_generic_t *inode)
{
        switch (inode->base.type) {
        case SQFS_INODE_DIR:
                return inode->data.dir.nlink;
        case SQFS_INODE_EXT_DIR:
                return inode->data.dir_ext.nlink;
        case SQFS_INODE_EXT_FILE:
                return inode->data.file_ext.nlink;
        case SQFS_INODE_SLINK:
        case SQFS_INODE_EXT_SLINK:
                return inode->data.slink.nlink;
        case SQFS_INODE_FILE:
                return 1;
        default: /* in all the others it comes first */
                return inode->data.dev.nlink;
        }
}

static uint64_t size_of(const sqfs_inode_generic_t *inode)
{
        uint64_t size = 0;

        if (tree_is_directory(inode))
                return inode->base.type == SQFS_INODE_DIR ? inode->data.dir.size
                                                          : inode->data.dir_ext.size;
        if (tree_link(inode))
                return inode->data.slink.target_size;
        return sqfs_inode_get_file_size(inode, &size) ? 0 : size;
}

void tree_stat_locked(struct tree *t, const sqfs_inode_generic_t *inode, struct stat *st)
{
        sqfs_u32 uid = 0, gid = 0;

        mutex_assert_held(&t->lock);
        /* An owner that is not in the table is nobody's fault that matters here. */
        (void)sqfs_id_table_index_to_id(t->ids, inode->base.uid_idx, &uid);
        (void)sqfs_id_table_index_to_id(t->ids, inode->base.gid_idx, &gid);
        *st = (struct stat){
                .st_ino = inode->base.inode_number,
                .st_mode = inode->base.mode,
                .st_nlink = links_of(inode),
                .st_uid = uid,
                .st_gid = gid,
                .st_size = (off_t)size_of(inode),
                .st_blksize = t->super.block_size,
                .st_mtim.tv_sec = inode->base.mod_time,
        };
        if (S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode)) {
                unsigned number = inode->data.dev.devno;

                st->st_rdev =
                        makedev((number >> 8) & 0xfff, (number & 0xff) | (number >> 12 & 0xfff00));
        }
        st->st_ctim = st->st_atim = st->st_mtim;
}

/* ---- directories ---- */

/* A name that could not be in a path is no name. */
static bool is_name(const sqfs_dir_entry_t *entry)
{
        size_t length = (size_t)entry->size + 1;
        const char *name = (const char *)entry->name;

        return strnlen(name, length) == length && !memchr(name, '/', length) && strcmp(name, ".") &&
               strcmp(name, "..");
}

/* The next entry, to be freed; 0, 1 at the end, or -errno. */
static int next_entry_locked(struct tree *t, sqfs_readdir_state_t *at, sqfs_dir_entry_t **entry,
                             uint64_t *ref, const char **why)
{
        int err = sqfs_meta_reader_readdir(t->names, at, entry, NULL, ref);

        if (err)
                return err > 0 ? 1 : tree_error_locked(t, err, why);
        if (is_name(*entry))
                return 0;
        sqfs_free(*entry);
        *why = damaged;
        return -EUCLEAN;
}

static int find_entry_locked(struct tree *t, const sqfs_inode_generic_t *dir, const char *name,
                             size_t length, uint64_t *ref, const char **why)
{
        sqfs_readdir_state_t at;
        sqfs_dir_entry_t *entry;
        int err = tree_error_locked(t, sqfs_readdir_state_init(&at, &t->super, dir), why);

        while (!err) {
                bool found;

                err = next_entry_locked(t, &at, &entry, ref, why);
                if (err)
                        break;
                found = (size_t)entry->size + 1 == length && !memcmp(entry->name, name, length);
                sqfs_free(entry);
                if (found)
                        return 0;
        }
        return err > 0 ? -ENOENT : err;
}

int tree_list_locked(struct tree *t, const sqfs_inode_generic_t *dir,
                     int (*each)(void *arg, const struct fs_entry *entry), void *arg,
                     const char **why)
{
        sqfs_readdir_state_t at;
        int err = tree_error_locked(t, sqfs_readdir_state_init(&at, &t->super, dir), why);
        bool end = false;

        mutex_assert_held(&t->lock);
        while (!err) {
                struct fs_entry e;
                sqfs_dir_entry_t *entry;
                struct node node;
                uint64_t ref;

                err = next_entry_locked(t, &at, &entry, &ref, why);
                end = err > 0;
                if (err)
                        break;
                err = read_inode_locked(t, ref, &node, why);
                if (!err) {
                        e.name = (const char *)entry->name;
                        e.link = tree_link(node.inode);
                        tree_stat_locked(t, node.inode, &e.st);
                        err = each(arg, &e);
                        sqfs_free(node.inode);
                }
                sqfs_free(entry);
        }
        return end ? 0 : err;
}

/* ---- paths ---- */

/* The way from the root to where a walk has come to; way[0] is the root. */
struct walk {
        struct tree *tree;
        struct node way[MAX_DEPTH];
        unsigned depth; /* of the last node of it */
        unsigned links;
        char path[PATH_MAX]; /* what is still to be gone, from `next` on */
        size_t next;
};

static void step_up(struct walk *w)
{
        sqfs_free(w->way[w->depth].inode);
        w->depth--;
}

/* The rest of the path is now what the link says and then what followed it. */
static int follow(struct walk *w, const struct node *link)
{
        const char *target = tree_link(link->inode);
        char path[PATH_MAX];
        int n;

        if (++w->links > MAX_LINKS)
                return -ELOOP;
        if (!*target)
                return -ENOENT;
        /* What follows begins with a slash, or is nothing. */
        n = snprintf(path, sizeof path, "%s%s", target, w->path + w->next);
        if (n >= (int)sizeof path)
                return -ENAMETOOLONG;
        memcpy(w->path, path, sizeof path);
        w->next = 0;
        if (*target == '/')
                while (w->depth)
                        step_up(w);
        return 0;
}

/* One part of the path. */
static int step_locked(struct walk *w, const char *name, size_t length, const char **why)
{
        struct node *here = &w->way[w->depth], node;
        uint64_t ref;
        int err;

        if (!tree_is_directory(here->inode))
                return -ENOTDIR;
        if (length == 1 && *name == '.')
                return 0;
        if (length == 2 && !memcmp(name, "..", 2)) {
                if (w->depth)
                        step_up(w);
                return 0;
        }
        err = find_entry_locked(w->tree, here->inode, name, length, &ref, why);
        if (!err)
                err = read_inode_locked(w->tree, ref, &node, why);
        if (err)
                return err;
        if (tree_link(node.inode)) {
                err = follow(w, &node);
                sqfs_free(node.inode);
                return err;
        }
        if (w->depth + 1 == MAX_DEPTH) {
                sqfs_free(node.inode);
                return -ENAMETOOLONG;
        }
        w->way[++w->depth] = node;
        return 0;
}

static int walk_locked(struct walk *w, const char **why)
{
        int err = read_inode_locked(w->tree, w->tree->super.root_inode_ref, &w->way[0], why);

        if (err)
                return err;
        while (!err) {
                const char *name;
                size_t length;

                w->next += strspn(w->path + w->next, "/");
                name = w->path + w->next;
                length = strcspn(name, "/");
                if (!length)
                        break;
                w->next += length;
                /* A link takes the place of the path that its name is in: a slash behind the name says
                 * that a directory is meant, whatever it is reached by. */
                err = step_locked(w, name, length, why);
                if (!err && w->path[w->next] == '/' && !tree_is_directory(w->way[w->depth].inode))
                        err = -ENOTDIR;
        }
        return err;
}

int tree_find_locked(struct tree *t, const char *path, struct node *out, const char **why)
{
        struct walk *w;
        int err;

        mutex_assert_held(&t->lock);
        if (strlen(path) >= PATH_MAX)
                return -ENAMETOOLONG;
        w = calloc(1, sizeof *w);
        if (!w)
                return -ENOMEM;
        w->tree = t;
        strcpy(w->path, path);
        err = walk_locked(w, why);
        if (!err) {
                *out = w->way[w->depth];
                w->way[w->depth].inode = NULL;
        }
        for (unsigned i = 0; i <= w->depth; i++)
                sqfs_free(w->way[i].inode);
        free(w);
        return err;
}
