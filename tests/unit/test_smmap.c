/* SPDX-License-Identifier: Apache-2.0
 *
 * test_smmap.c - Solaris's mmap, what it refuses and in which order (S1 to S3), on files that are made
 * up: no file system of ours has one that cannot be mapped at all.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "util/mman.h"
#include "vm/map.h"
#include "vm/mm.h"

#define R PROT_READ
#define W PROT_WRITE
#define X PROT_EXEC
#define PAGE 4096ul

static mode_t mode;
static bool locked, maps;
static int map_result, maxprot, prot_left;

static int map(struct inode *inode, int prot, int flags, int *max)
{
        (void)inode, (void)prot, (void)flags, (void)max;
        maps = true;
        return map_result;
}

static bool is_locked(struct inode *inode)
{
        (void)inode;
        return locked;
}

static void getattr(struct inode *inode, struct stat *st)
{
        (void)inode;
        *st = (struct stat){ .st_mode = mode };
}

static const struct inode_operations i_op = { .getattr = getattr };
static const struct file_operations f_op = { .map = map, .locked = is_locked };
static const struct file_operations f_op_nomap = { .locked = is_locked };

static struct inode inode;
static struct file file;

static void begin(int oflags)
{
        memset(&inode, 0, sizeof(inode));
        inode.i_op = &i_op;
        inode.f_op = &f_op;
        file = (struct file){ .inode = &inode, .oflags = oflags };
        mode = S_IFREG | 0644;
        locked = maps = false;
        map_result = 0;
}

/* The error, positive; 0: it is to be mapped. */
static int try_with(const struct vm_policy_ops *policy, uint64_t len, int prot, int flags,
                    uint64_t offset)
{
        static struct page_cache cache;
        static struct mm mm = { .cache = &cache };
        const struct file *f = flags & MAP_ANONYMOUS ? NULL : &file;

        cache.policy = policy;
        prot_left = prot;
        return -smmap_check(&mm, 0, &len, &prot_left, flags, f, offset, &maxprot);
}

static int try(uint64_t len, int prot, int flags, uint64_t offset)
{
        return try_with(&solaris_policy, len, prot, flags, offset);
}

Test(smmap, S1_EINVAL)
{
        uint64_t len = PAGE;
        struct mm none;

        begin(O_RDWR);
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), 0);
        cr_assert_eq(try(0, R, MAP_SHARED, 0), EINVAL, "no length");
        cr_assert_eq(try(PAGE, R, 0, 0), EINVAL, "no type");
        cr_assert_eq(try(PAGE, R, MAP_SHARED_VALIDATE, 0), EINVAL, "both types");
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 512), EINVAL, "an offset in a page");
        cr_assert_eq(try(PAGE, R, MAP_SHARED | MAP_GROWSDOWN, 0), EINVAL, "an unknown flag");
        prot_left = R;
        cr_assert_eq(smmap_check(&none, 0, &len, &prot_left, MAP_PRIVATE | MAP_ANONYMOUS, &file, 0,
                                 &maxprot),
                     -EINVAL, "MAP_ANON with a file");
        cr_assert_eq(smmap_check(&none, 512, &len, &prot_left, MAP_PRIVATE | MAP_FIXED, &file, 0,
                                 &maxprot),
                     -EINVAL, "an address in a page");
        cr_assert_eq(smmap_check(&none, 0, &len, &prot_left, MAP_PRIVATE, NULL, 0, &maxprot),
                     -EBADF, "no file");
        /* Arguments come before the file. */
        cr_assert_eq(try(0, R, MAP_SHARED, (uint64_t)-PAGE), EINVAL);
}

Test(smmap, S2_maxprot_and_EACCES)
{
        begin(O_RDWR);
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), 0);
        cr_assert_eq(maxprot, R | W | X);
        inode.noexec = true;
        cr_assert_eq(try(PAGE, R, MAP_PRIVATE, 0), 0);
        cr_assert_eq(maxprot, R | W, "a file system without programs");
        cr_assert_eq(try(PAGE, R | X, MAP_PRIVATE, 0), EACCES, "is EPERM of Linux");
        begin(O_RDONLY);
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), 0);
        cr_assert_eq(maxprot, R | X);
        cr_assert_eq(try(PAGE, R | W, MAP_SHARED, 0), EACCES);
        cr_assert_eq(try(PAGE, R | W, MAP_PRIVATE, 0), 0);
        cr_assert_eq(maxprot, R | W | X);
        begin(O_WRONLY);
        cr_assert_eq(try(PAGE, W, MAP_SHARED, 0), EACCES, "not open for reading");
        cr_assert_not(maps, "the file system was asked");
}

Test(smmap, S2_the_book_reduces_instead)
{
        begin(O_RDONLY);
        cr_assert_eq(try_with(&solaris_book_policy, PAGE, R | W, MAP_SHARED, 0), 0);
        cr_assert_eq(prot_left, R);
        begin(O_WRONLY);
        cr_assert_eq(try_with(&solaris_book_policy, PAGE, W, MAP_SHARED, 0), EACCES);
}

Test(smmap, S2_ENXIO_of_an_offset_below_zero)
{
        begin(O_RDONLY);
        cr_assert_eq(try(PAGE, R, MAP_SHARED, (uint64_t)-PAGE), ENXIO);
        cr_assert_eq(try(PAGE, R, MAP_SHARED, UINT64_C(1) << 63), ENXIO);
        cr_assert_eq(try(PAGE, R | W, MAP_SHARED, (uint64_t)-PAGE), ENXIO, "before EACCES");
        inode.f_op = &f_op_nomap;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, (uint64_t)-PAGE), ENXIO, "and before ENOSYS");
}

Test(smmap, S2_EOVERFLOW_behind_the_largest_offset)
{
        uint64_t last = INT64_MAX & ~(PAGE - 1);

        begin(O_RDONLY);
        cr_assert_eq(try(PAGE - 1, R, MAP_SHARED, last), 0, "to the last byte");
        cr_assert_eq(try(PAGE, R, MAP_SHARED, last), EOVERFLOW);
        cr_assert_eq(try(UINT64_MAX, R, MAP_SHARED, 0), EOVERFLOW);
        cr_assert_eq(try(PAGE, R | W, MAP_SHARED, last), EOVERFLOW, "before EACCES");
}

Test(smmap, S3_VNOMAP_is_ENOSYS)
{
        begin(O_RDWR);
        inode.f_op = &f_op_nomap;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), ENOSYS);
        cr_assert_eq(try(PAGE, R, MAP_PRIVATE, 0), ENOSYS);
        mode |= S_ISGID;
        locked = true;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), ENOSYS, "before EAGAIN");
        inode.f_op = NULL;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), ENOSYS);
        file.oflags = O_WRONLY;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), EACCES, "behind EACCES");
}

Test(smmap, S3_ENODEV_is_the_file_systems_word)
{
        begin(O_RDWR);
        map_result = -ENODEV;
        mode |= S_ISGID;
        locked = true;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), ENODEV, "before EAGAIN");
}

Test(smmap, S3_EAGAIN_of_mandatory_locks)
{
        begin(O_RDWR);
        locked = true;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), 0, "not by force");
        mode = S_IFREG | 02644;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), EAGAIN);
        cr_assert_eq(try(PAGE, R, MAP_PRIVATE, 0), EAGAIN);
        mode = S_IFREG | 02654;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), 0, "a group that runs it");
        mode = S_IFREG | 02644;
        locked = false;
        cr_assert_eq(try(PAGE, R, MAP_SHARED, 0), 0, "nothing is locked");
        cr_assert_eq(try_with(&solaris_book_policy, PAGE, R, MAP_SHARED, 0), EAGAIN, "the book");
}

/* More than there are addresses is none of mmap's arguments that are wrong. */
Test(smmap, S5_ENOMEM_behind_all_else)
{
        begin(O_RDONLY);
        cr_assert_eq(try(UINT64_C(1) << 48, R, MAP_SHARED, 0), ENOMEM);
        cr_assert_eq(try(UINT64_C(1) << 48, R | W, MAP_SHARED, 0), EACCES);
        cr_assert_eq(try(UINT64_MAX, R, MAP_PRIVATE | MAP_ANONYMOUS, 0), ENOMEM);
}
