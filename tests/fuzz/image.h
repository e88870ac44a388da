/* SPDX-License-Identifier: Apache-2.0
 *
 * image.h - fuzzing a file system by its images: all that a program can have of one is listed and read.
 */
#ifndef FAULTLINE_TESTS_FUZZ_IMAGE_H
#define FAULTLINE_TESTS_FUZZ_IMAGE_H

#include <errno.h>
#include <fcntl.h>

#include "fs/module.h"
#include "fuzz.h"
#include "util/wait.h"

#define MOST_FILES 8 /* of one input */
#define RUN_PAGES 40

struct image_fuzz {
        struct trace trace;
        struct driver_env drivers;
        struct block_pool *pool;
        struct fs_env env;
        const struct file_system_type *type;
        int oflags; /* files are opened so */
        /* More that can be done with a file, or NULL. */
        void (*more)(struct image_fuzz *f, struct inode *inode);
        unsigned files;     /* left */
        struct inode *held; /* the image stays mounted until the last has been read */
        char *buf;
};

static inline void image_fuzz_start(struct image_fuzz *f, const struct file_system_type *type)
{
        f->type = type;
        trace_init(&f->trace);
        must(!loop_create(&f->drivers.loop, 1, "fuzz"));
        f->drivers.trace = &f->trace;
        f->drivers.depth = 8;
        f->drivers.driver = "posix";
        must(!block_pool_create(&f->pool, 256));
        fs_env_init(&f->env, &f->drivers, f->pool, &f->trace);
        f->buf = aligned_alloc(PAGE_SIZE, RUN_PAGES * PAGE_SIZE);
        must(f->buf);
}

struct image_run {
        struct fs_run run;
        struct waiter waiter;
};

static inline void image_run_end(struct fs_run *run)
{
        struct image_run *r = container_of(run, struct image_run, run);

        r->waiter.wake(&r->waiter);
}

/* opf: IO_READ or IO_WRITE */
static inline void image_run(struct image_fuzz *f, struct inode *inode, uint32_t opf,
                             uint64_t index, uint32_t nr)
{
        struct image_run r = { .run = { .inode = inode,
                                        .index = index,
                                        .nr_pages = nr,
                                        .opf = opf | REQ_SYNC,
                                        .buf = f->buf,
                                        .end_io = image_run_end } };
        struct blk_plug plug;

        waiter_init_sync(&r.waiter);
        blk_start_plug(&plug);
        if (opf == IO_READ)
                inode->a_ops->readahead(&r.run, &plug);
        else
                inode->a_ops->writepages(&r.run, &plug);
        blk_finish_plug(&plug);
        must(!waiter_sleep(&r.waiter, UINT64_C(20000000000)));
        must(r.run.error <= 0 && r.run.valid <= (uint64_t)nr * PAGE_SIZE);
}

static inline void image_open_file(struct image_fuzz *f, const struct uri *u)
{
        struct inode *inode = NULL;
        const char *why = NULL;
        struct stat st;
        uint64_t pages, at = 0;
        int err = f->type->open(&f->env, u->inner, u, f->oflags, &inode, &why);

        must(err <= 0 && (!why || *why));
        if (err)
                return;
        inode->i_op->getattr(inode, &st);
        pages = pages_of(inode->i_size);
        image_run(f, inode, IO_READ, 0, RUN_PAGES);
        if (pages > RUN_PAGES)
                image_run(f, inode, IO_READ, pages - 1, 2);
        if (pages > 200)
                image_run(f, inode, IO_READ, pages / 2 - 3, RUN_PAGES / 2);
        if (inode->a_ops->place && pages)
                (void)inode->a_ops->place(inode, pages - 1, &at);
        if (f->more)
                f->more(f, inode);
        if (f->held)
                inode_put(inode);
        else
                f->held = inode;
}

struct image_folder {
        struct image_fuzz *f;
        const struct uri *u;
        unsigned nr;
        char names[MOST_FILES][256];
        bool folder[MOST_FILES];
};

static inline int image_entry(void *arg, const struct fs_entry *e)
{
        struct image_folder *to = arg;

        must(*e->name && !strchr(e->name, '/'));
        if (to->nr == MOST_FILES)
                return 1;
        if (strlen(e->name) >= sizeof(to->names[0]))
                return 0;
        strcpy(to->names[to->nr], e->name);
        to->folder[to->nr++] = S_ISDIR(e->st.st_mode);
        return 0;
}

static inline void image_walk(struct image_fuzz *f, struct uri *u, unsigned depth)
{
        struct image_folder folder = { .f = f, .u = u };
        size_t length = strlen(u->inner);
        const char *why = NULL;
        int err = f->type->list(&f->env, u, image_entry, &folder, &why);

        must(err <= 1 && (!why || *why));
        for (unsigned i = 0; i < folder.nr && f->files; i++) {
                if (length + 260 >= sizeof(u->inner))
                        break;
                snprintf(u->inner + length, sizeof(u->inner) - length, "/%s", folder.names[i]);
                f->files--;
                if (folder.folder[i] && depth < 3)
                        image_walk(f, u, depth + 1);
                else
                        image_open_file(f, u);
                u->inner[length] = 0;
        }
}

static inline void image_fuzz_one(struct image_fuzz *f, const uint8_t *data, size_t size)
{
        static struct uri u;

        u.scheme = URI_IMAGE;
        u.type = f->type->name;
        u.path = u.inner;
        strcpy(u.dev, fuzz_file(data, size));
        strcpy(u.inner, "/");
        f->files = MOST_FILES;
        image_walk(f, &u, 0);
        if (f->held)
                inode_put(f->held);
        f->held = NULL;
        must(!f->env.supers);
}

#endif
