/* SPDX-License-Identifier: Apache-2.0
 *
 * driver.h - the bottom of the path: a device that reads and writes bytes.
 *
 * A driver is one `struct driver_ops`. The smallest is driver/ram.c, the worked example.
 * `driver/faulty.c` wraps any device and makes it fail as told.
 * The block layer is the only caller; it never has more than `depth` I/Os in flight.
 */
#ifndef FL_DRIVER_DRIVER_H
#define FL_DRIVER_DRIVER_H

#include <sys/uio.h>

#include "trace/trace.h"
#include "util/base.h"
#include "util/loop.h"
#include "util/spin.h"

/* Numbers as in Linux's enum req_op. Odd = data goes out.
 * IO_DISCARD: nobody wants these bytes any more; what is read there until it is written again may be
 * anything that was ever there, or zeros. IO_WRITE_ZEROES: zeros are read there. Neither has buffers. */
enum io_op { IO_READ = 0, IO_WRITE = 1, IO_FLUSH = 2, IO_DISCARD = 3, IO_WRITE_ZEROES = 9 };

#define DRIVER_FUA (1u << 0)  /* on a write: durable when it completes */
#define DRIVER_SYNC (1u << 1) /* somebody waits: a hint */
/* Through the host's page cache. For the last, partial page of a host file: the host itself writes
 * to that page there when the file grows, and fails the next flush if it finds a direct write of
 * the page under way. */
#define DRIVER_BUFFERED (1u << 2)
#define DRIVER_META (1u << 3)    /* a file system's own: faulty tears it between its blocks only */
#define DRIVER_NOUNMAP (1u << 4) /* on IO_WRITE_ZEROES: what has room keeps it */

struct device;
struct driver_batch;

struct driver_io {
        enum io_op op;
        uint32_t flags;
        uint64_t offset;   /* bytes */
        uint64_t len;      /* bytes; the sum of iov, where there are buffers */
        struct iovec *iov; /* the driver may change it, to go on after a short transfer */
        unsigned iovcnt;
        uint64_t fault, object; /* for the trace; object: the device's */
        /* Whose write it is, if the thread that submits it has begun this one. NULL: nobody's; may be
         * another's, and one that has ended, which is the same. */
        struct driver_batch *batch;
        /* Bytes moved, or -errno. Either may move fewer than asked for; who called goes on behind
         * them. A read moves fewer, in the end none, where the device ends: the rest of the buffer is
         * then unspecified. */
        int64_t result;
        /* Called once, from any thread, maybe before submit() returns. */
        void (*done)(struct driver_io *);
        struct device *dev;     /* filled in by device_submit() */
        struct driver_io *next; /* the driver's, from submit to done */
        uint64_t priv[4];       /* the driver's, from submit to done */
};

/* What every device of one engine shares. */
struct driver_env {
        struct loop *loop; /* io_uring is submitted to and reaped by its threads only */
        struct trace *trace;
        unsigned depth;      /* I/Os in flight per device, default 64 */
        struct uring *uring; /* the one ring, made on first use; NULL: none yet */
        void *memory;        /* driver_env_add_memory() */
        size_t memory_bytes;
        struct spin spin; /* of threads that wait for their own reads; set before the first open */
        struct pool_threads *threads; /* posix's workers, made on first use */
        const char *driver;           /* "auto" (or NULL), "uring" or "posix", for host files */
        const char *faults;           /* --faults SPEC, or NULL: every device opened gets wrapped */
        const void *core;        /* the table for modules (fs/module.h); NULL: none are loaded */
        char why[256];           /* driver_why(); whoever opens something has it */
        _Atomic uint64_t writes; /* that came to wrapped devices, for powercut=N */
};

struct driver_ops {
        const char *name;
        bool signal_safe; /* submit() neither allocates nor takes a lock a program may hold */
        /* Queue the I/O. Must not wait for it. May call io->done() itself. */
        void (*submit)(struct device *, struct driver_io *);
        /* The same for a thread that would wait for it in any case: is over when it returns, having called
         * done(). Sleeps for the I/O, with no lock held. NULL: cannot. */
        void (*perform)(struct device *, struct driver_io *);
        /* device_batch_begin(). NULL: cannot. */
        struct driver_batch *(*batch_begin)(struct device *);
        /* Everything submitted so far should start now (a batch ends). NULL: nothing to do. */
        void (*commit)(struct device *);
        /* Nothing is in flight. */
        void (*close)(struct device *);
        /* Look at the size again (a host file may have changed): *size is what was seen, while
         * dev->size may already be from another's look, before or after. 0 or -errno. NULL: fixed. */
        int (*refresh)(struct device *, uint64_t *size);
        /* Make the device this long. NULL: cannot. */
        int (*resize)(struct device *, uint64_t size);
        /* These bytes read as zeros from now on, and need no room: 0 or -errno, as fallocate(2)
         * with FALLOC_FL_PUNCH_HOLE. Blocks. NULL: cannot. */
        int (*punch)(struct device *, uint64_t offset, uint64_t len);
        /* Room for these bytes, which are within the device: *end is up to where there is room for
         * sure. 0 or -errno (ENOSPC); 0 too where the host cannot tell beforehand. Blocks. NULL:
         * there always is. */
        int (*allocate)(struct device *, uint64_t offset, uint64_t len, uint64_t *end);
        /* The host's descriptor (buffered). NULL: has none. */
        int (*fd)(const struct device *);
};

struct device {
        const struct driver_ops *ops;
        struct driver_env *env;
        uint64_t object;       /* its number in the trace; 0: it has no queue yet */
        uint64_t size;         /* bytes */
        uint32_t block_size;   /* I/O not aligned to it is allowed, and slow */
        uint32_t max_bytes;    /* of one I/O; 0 = no limit */
        uint32_t max_segments; /* of one I/O */
        uint32_t meta_block;   /* bytes; writes of metadata count on blocks as whole; 0: 4096 */
        uint32_t max_segment_bytes; /* 0 = no limit */
        uint32_t chunk_bytes;       /* no I/O crosses a multiple of it; 0 = any may */
        uint64_t max_discard;       /* bytes of one IO_DISCARD; 0 = it takes none */
        uint64_t max_write_zeroes;  /* likewise */
        bool read_only;
        bool fua; /* takes DRIVER_FUA */
        /* What a write has moved stays, whatever happens: flushes are of no use, and none is sent (an NBD
         * server that knows none). False: it may be in a cache that forgets. */
        bool write_through;
        char name[64]; /* for errors and the trace */
};

/* A host file or block device. oflags: O_RDONLY or O_RDWR. Takes O_DIRECT where the host allows
 * it, buffered I/O where not and for what is not aligned (the last partial block). -errno. */
int device_open_file(struct driver_env *env, const char *path, int oflags, struct device **out);
/* The device of that name: PATH, file:PATH, ram:SIZE, nbd://..., nbd+unix://... oflags: O_RDONLY or
 * O_RDWR. -errno, and then *why is a phrase for people, good until the next open, or NULL. Opens
 * of one env come one after the other. Blocks. */
int device_open_uri(struct driver_env *env, const char *uri, int oflags, struct device **out,
                    const char **why);
/* The module that knows the name's scheme, NULL: none is needed. */
const char *device_module(const char *uri);
/* What tells it from others, however it is spelled: of a host file its inode, else its name. */
void device_id(const struct device *dev, const char *uri, char *out, size_t size);
/* A phrase put together for *why. Returns env->why. */
const char *driver_why(struct driver_env *env, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* What a module that is a driver has to offer (util/module.h). open() ends with device_opened()
 * and does as device_open_uri(). */
struct driver_type {
        const char *name;
        int (*open)(struct driver_env *env, const char *uri, int oflags, struct device **out,
                    const char **why);
};
/* The last step of every open: wraps `dev` when env->faults says so; on error it is closed. */
int device_opened(struct driver_env *env, struct device *dev, struct device **out);
/* `size` bytes of zeros in memory, gone at close. */
int device_open_ram(struct driver_env *env, uint64_t size, struct device **out);
/* Wrap `inner`, which is then closed with the wrapper. spec: docs of --faults. -EINVAL. */
int device_wrap_faulty(struct driver_env *env, struct device *inner, const char *spec,
                       struct device **out);
/* Parses without a device: is the SPEC well formed? 0 or -EINVAL. */
int faults_check(const char *spec);

void device_submit(struct device *dev, struct driver_io *io);
/* => the device can; no lock held but those that may be held across I/O */
void device_perform(struct device *dev, struct driver_io *io);
void device_commit(struct device *dev);
/* From here on the calling thread's writes that name the batch, to any device of the env, are ended by that
 * thread, in the two calls that follow, and by nobody else: it waits for nothing that may wait for them
 * before it has ended them. NULL: cannot, or not now; then all goes as ever. */
struct driver_batch *device_batch_begin(struct device *dev);
/* Under way. */
unsigned device_batch_count(const struct driver_batch *b);
/* Ends what is over; sleeps until no more than `left` are under way. True if any has ended. => no lock but
 * those that may be held across I/O */
bool device_batch_wait(struct driver_batch *b, unsigned left);
/* All of them; it is gone on return. => likewise */
void device_batch_end(struct driver_batch *b);
void device_close(struct device *dev);
/* The host's descriptor of a file device (buffered), -1 for others; the faulty one passes on. */
int device_fd(const struct device *dev);

/* Most I/O goes to and from this memory, which stays until the env is destroyed: the ring may know it
 * beforehand, as far as RLIMIT_MEMLOCK lets it. Before the env has I/O, or while it has none. */
void driver_env_add_memory(struct driver_env *env, void *base, size_t bytes);

/* What io_uring has been asked for, for people and tests. */
struct uring_state {
        bool files;     /* descriptors are in the ring's table */
        bool memory;    /* the memory above is registered */
        uint64_t ios;   /* system calls that the ring has made for us, */
        uint64_t calls; /* in so many of ours */
};
/* False: there is no ring. */
bool uring_state(struct driver_env *env, struct uring_state *state);

/* Frees the ring and the workers. Every device is closed; env->loop still runs. */
void driver_env_destroy(struct driver_env *env);

#endif
