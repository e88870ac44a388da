/* SPDX-License-Identifier: Apache-2.0
 *
 * faultline.h - memory-mapped I/O with a budget, a policy and an error path of its own.
 *
 * An engine owns a page cache with a hard limit and serves the page faults of the mappings made
 * through it. A mapping is plain memory: load from it, store to it, pass it to functions. The
 * calls mirror the system's, argument for argument, after a handle; they return what the
 * system's return and set errno to what it sets. Sizes are bytes, times nanoseconds.
 *
 *     struct fl_engine *e = fl_engine_open(NULL);
 *     struct fl_file *f = fl_file_open(e, "data.bin", O_RDONLY, NULL);
 *     const char *p = fl_mmap(e, NULL, len, PROT_READ, MAP_SHARED, f, 0);
 *
 * Threads: every function may be called from any thread, and several at once; a handle must not
 * be used while or after it is closed. Mapped memory may be touched from any thread.
 * Signals: none of these functions is async-signal-safe; touching mapped memory is, in any handler.
 * A thread that is inside one of these functions takes no signals until it is over (long ones let
 * them in on the way), and cannot be cancelled; but for SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP and
 * SIGSYS, whose handlers must not touch mapped memory if somebody else has sent them.
 * With the MMU "sigbus" a fault is a SIGBUS, with "sigsegv" a SIGSEGV, which the library catches and
 * serves in the thread that touched. What is not its own, and what is an error, goes on to the
 * handler that the program had installed before the engine was opened; a handler installed later
 * must call the one whose place it took. A thread that blocks the signal must not touch mappings:
 * the kernel would end the process.
 * Fork: no function may be called on a handle that the parent has opened: EPERM. With "dontfork" the
 * child has no mappings: touching them is a SIGSEGV. With "inherit" (the MMUs uffd and sigbus) a child
 * of fork(3) has them: shared ones are the parent's, private pages are copies, each charged to the cache
 * at the fork; MADV_DONTFORK and MADV_WIPEONFORK hold. The child may unmap them, with munmap(2), but
 * not move or protect them. The parent's engine serves it; when that has closed or ended, a touch that
 * must be served is a SIGBUS, never zeros, and so is any touch of shared anonymous memory when it has
 * closed. A thread of the library's, fl-keeper, is in the child for that; so it must not end by
 * pthread_exit(3) of its last thread. The child's own children, and those of _Fork(3) and clone(2),
 * have no mappings. Do not fork in a signal handler that has interrupted one of these functions. exec
 * is safe; nothing is left behind. A child does not answer on the sockets of an engine.
 */
#ifndef FAULTLINE_FAULTLINE_H
#define FAULTLINE_FAULTLINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FL_API __attribute__((visibility("default")))

struct fl_engine;
struct fl_file;

/* Zero every member you do not set; a zero means the default. The struct may grow: `size` tells
 * the library which members you know. */
struct fl_engine_config {
        size_t size;        /* sizeof(struct fl_engine_config) */
        uint64_t cache;     /* the hard budget; default: the smaller of a quarter of MemAvailable
                             * and half the room under the cgroup's limit; at least 64 pages */
        const char *mmu;    /* how faults are taken: "auto" (default), "uffd", "sigbus",
                             * "sigsegv"; see faultline(7) */
        const char *policy; /* "adaptive" (default), "linux", "linux-5.13", "solaris",
                             * "solaris-book"; see faultline(7) */
        const char *driver; /* for host files: "auto" (default), "uring", "posix" */
        uint64_t readahead; /* largest window; default: the device's read_ahead_kb, never more
                             * than an eighth of the cache */
        const char *faults; /* inject errors: faultline(1), --faults; NULL: none */
        const char *trace;  /* write a trace to this file; NULL: none */
        uint64_t spin;      /* poll up to so many nanoseconds before sleeping, where that has
                             * been worth it lately; 0: sleep at once */
        unsigned pagers;    /* threads that serve faults; default 1. Of two, one may read while the
                             * other waits for faults */
        unsigned flags;     /* FL_ENGINE_ */
        uint64_t perturb;   /* for tests: random yields and sleeps where threads may race, from this
                             * seed, in the whole process; 0: none */
        uint64_t watchdog;  /* a line on stderr for each fault that waits longer; 0: none */
        const char *swap;   /* where private pages go when the cache is full: PATH[:SIZE] of a file
                             * or block device, ram:SIZE, or "off" (default): faultline(1), --swap */
        const char *on_error; /* of every mapping, unless fl_mapping_set says otherwise: "sigbus"
                               * (default), "zero", "retry" */
        const char *fork;     /* what a child of fork() gets of the mappings: "dontfork" (default),
                               * nothing; "inherit", what the kernel would give it. See above */
        const char *elevator; /* the order in which requests go to a device: "deadline" (default),
                               * "none" */
        const char *tune;     /* parameters of the policy "solaris", by their names there, such as
                               * "autoup=10,lotsfree=2M": faultline(7); NULL: those that fit */
        uint64_t page_size;   /* bytes of a page as the policy sees it: a power of two from 4096 to
                               * 65536, more than 4096 only with "solaris" and "solaris-book", whose
                               * default is 8192. What an address and a length must be a multiple of
                               * is 4096 all the same */
        const char *metrics;  /* figures for Prometheus and its like: FILE, unix:PATH, HOST:PORT or
                               * PORT, which is one of 127.0.0.1: faultline(1), --metrics. What is
                               * taken or cannot be written is said on stderr, and the engine goes
                               * on without; NULL or "": none */
        const char *publish;  /* "on" (default): processes of the same user can ask the engine how
                               * it does, as `faultline top` does, by a socket in
                               * $XDG_RUNTIME_DIR/faultline, or else /run/faultline-UID or
                               * /tmp/faultline-UID; "off". $FAULTLINE_PUBLISH, if it is set, says
                               * so to engines whose config does not */
};
#define FL_ENGINE_QUIET 1u /* no line on stderr when a SIGBUS is raised: the program tells */

/* NULL and errno: EINVAL (an option; budget under 64 pages), E2BIG (a member that this library does
 * not know is not zero), EPERM, ENOSYS (the machine does not allow what is needed).
 * fl_strerror() has the sentence. config may be NULL. */
FL_API struct fl_engine *fl_engine_open(const struct fl_engine_config *config);
/* Unmaps what is mapped, writes back what is dirty, frees everything. 0, or -1 and errno when data
 * could not be written; the engine is gone in either case. Only EBUSY, files opened through it
 * are still open, leaves everything as it is. */
FL_API int fl_engine_close(struct fl_engine *engine);
/* The MMU that the engine uses: "uffd", "sigbus", "sigsegv". */
FL_API const char *fl_engine_mmu(const struct fl_engine *engine);
/* The parameters that its policy goes by now, all of them, in the form of `tune`; "" if it has none.
 * Returns the length of the whole, of which as much as fits is in buf, as snprintf(3). */
FL_API int fl_engine_tune(const struct fl_engine *engine, char *buf, size_t size);
/* Change the budget; shrinking evicts and waits. EINVAL under 64 pages, EBUSY if what cannot be
 * reclaimed, or what files have been promised (fl_mapping_set), does not fit. */
FL_API int fl_engine_set_cache(struct fl_engine *engine, uint64_t bytes);

/* The sentence that belongs to the last error of this thread: "URI: what was tried: reason".
 * Never NULL; valid until the next call of the library by this thread. */
FL_API const char *fl_strerror(void);

struct fl_file_config {
        size_t size;        /* sizeof(struct fl_file_config) */
        mode_t mode;        /* for O_CREAT; default 0666 less umask */
        uint64_t readahead; /* largest window of this open; default the engine's */
};
/* URI: a host path, file:PATH, ram:SIZE, or a file in an image, ext4:DEV#/path[?norecovery] or
 * squashfs:DEV#/path (faultline(7)).
 * flags as in open(2): O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC. Errors of open(2); EISDIR
 * also for reading; ENODEV for what has no pages (FIFO, socket, terminal); E2BIG as for an engine;
 * of images also EUCLEAN (damaged), EOPNOTSUPP (made in a way that is not known here), ENOPKG,
 * ELIBBAD (the module for it is not installed, or does not load). Two opens of one file share its
 * pages. */
FL_API struct fl_file *fl_file_open(struct fl_engine *engine, const char *uri, int flags,
                                    const struct fl_file_config *config);
/* Mappings stay. The last close of a file that nothing maps writes its dirty pages and drops its
 * pages: 0, or -1 and errno when they could not be written. */
FL_API int fl_file_close(struct fl_file *file);

/* mmap(2). flags: MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, with MAP_FIXED,
 * MAP_FIXED_NOREPLACE, MAP_NORESERVE. With MAP_ANONYMOUS file is ignored: MAP_PRIVATE is memory of the
 * mapping's own, MAP_SHARED memory that fl_mremap can show a second time, which is as long as it was
 * made: access behind that raises SIGBUS, also if the mapping has grown.
 * MAP_POPULATE faults the pages in before it returns, those that a store would make private as
 * stores, up to the first that cannot be had, which is no error; with MAP_NONBLOCK it does nothing.
 * MAP_LOCKED does so too, and locks them as fl_mlock does.
 * MAP_FAILED and errno: EACCES, EAGAIN (MAP_LOCKED over the limit), EBADF, EEXIST, EINVAL, ENODEV,
 * ENOMEM (also: anonymous memory that can never fit into cache and swap area, unless MAP_NORESERVE),
 * EOPNOTSUPP, EOVERFLOW, EPERM (PROT_EXEC of a file on a file system mounted noexec). Access beyond
 * the last page of the file, a page that cannot be read, or one that does not fit into the budget
 * raises SIGBUS, unless fl_mapping_set says otherwise. */
FL_API void *fl_mmap(struct fl_engine *engine, void *addr, size_t len, int prot, int flags,
                     struct fl_file *file, off_t offset);
/* munmap(2): any part of mappings of this engine. Dirty pages stay in the cache. What the program unmaps or
 * maps over by itself the engine takes for its own still: memory that comes to lie there is emptied when
 * the page that was there is evicted. */
FL_API int fl_munmap(struct fl_engine *engine, void *addr, size_t len);
/* mremap(2): shrinks, grows in place, or moves with MREMAP_MAYMOVE; with MREMAP_FIXED to new_addr, with
 * MREMAP_DONTUNMAP leaving the old range mapped and empty. Old length 0 makes a second view of a
 * shared mapping. What moves is within one mapping of one protection and advice (EFAULT). What is
 * locked stays so, and what is new of it is faulted in. MAP_FAILED and errno: EAGAIN (locked, and
 * over the limit), EFAULT, EINVAL, ENOMEM. */
FL_API void *fl_mremap(struct fl_engine *engine, void *old_addr, size_t old_len, size_t new_len,
                       int flags, ... /* void *new_addr */);
/* mlock(2), mlock2(2) with MLOCK_ONFAULT, munlock(2): what the engine shows there is not reclaimed. The
 * limit is the budget, less what reads and writes under way take of it, and less an eighth, or 32 pages
 * if that is more. -1 and errno: EAGAIN (no room for the pages), EINVAL, ENOMEM (a hole, over the limit,
 * or a page that cannot be had). */
FL_API int fl_mlock(struct fl_engine *engine, const void *addr, size_t len);
FL_API int fl_mlock2(struct fl_engine *engine, const void *addr, size_t len, unsigned flags);
FL_API int fl_munlock(struct fl_engine *engine, const void *addr, size_t len);
/* mprotect(2). EACCES for what the file was not opened for, or may not be executed; ENOMEM for a
 * hole. Private memory that is locked and may be written from now on is faulted in as by stores. */
FL_API int fl_mprotect(struct fl_engine *engine, void *addr, size_t len, int prot);
/* msync(2). MS_SYNC writes exactly the pages of the range and returns when they are durable.
 * An earlier failed write-back of the file is reported once (EIO, ENOSPC). */
FL_API int fl_msync(struct fl_engine *engine, void *addr, size_t len, int flags);
/* madvise(2): MADV_NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, DONTNEED_LOCKED, FREE, REMOVE,
 * COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE, DONTFORK, DOFORK, WIPEONFORK, KEEPONFORK. COLD and
 * PAGEOUT act on pages that no other mapping shows: COLD makes them the next to go; PAGEOUT evicts a
 * file's clean ones and starts writing the others, and returns when memory that is no file's has gone to
 * the swap area, if there is one. WILLNEED reads that back, as far as there is room. FREE frees at once.
 * DONTFORK and WIPEONFORK matter to engines whose children inherit mappings. */
FL_API int fl_madvise(struct fl_engine *engine, void *addr, size_t len, int advice);
/* Drop the clean pages that are mapped there from the cache, whoever else shows them; they are read
 * again when touched. A file's dirty ones stay (fl_msync first). Private pages and memory without a file
 * go to the swap area; without one they stay. So does what is locked. What is not mapped is passed by.
 * Where a private mapping of a file has copies, the file's pages behind them go too. The bytes of memory
 * really given back, of copies and of the file's pages alike, so up to twice len there; or -1 and errno:
 * EINVAL, addr is not at a page. */
FL_API ssize_t fl_evict(struct fl_engine *engine, void *addr, size_t len);
/* mincore(2): vec gets a byte a page, 1 if resident in the cache or as a private copy. */
FL_API int fl_mincore(struct fl_engine *engine, void *addr, size_t len, unsigned char *vec);
/* memcntl(2) of Solaris, under every policy. cmd, and what arg is, an integer cast to a pointer but for
 * the last:
 *   FL_MC_SYNC      MS_SYNC (also without a flag) writes the files' dirty pages of the range and
 *                   returns when they are durable, MS_ASYNC starts writing them, unlike fl_msync under
 *                   "linux". With MS_INVALIDATE they go from the cache too when they are clean, also
 *                   where others map them; private copies and memory without a file go to the swap
 *                   area, if there is one. Nothing that was stored is ever lost
 *   FL_MC_LOCK      as fl_mlock, and FL_MC_UNLOCK as fl_munlock; no arg. Locks do not add up. If a
 *                   page cannot be had, all that this call has locked is unlocked again
 *   FL_MC_LOCKAS    MCL_CURRENT: the same of all mappings of the engine; MCL_FUTURE: of those to come,
 *                   or fl_mmap fails with EAGAIN. FL_MC_UNLOCKAS ends both. addr and len are 0
 *   FL_MC_ADVISE    MADV_NORMAL, RANDOM, SEQUENTIAL as fl_madvise; MADV_WILLNEED starts reading all of
 *                   the range, however long; MADV_DONTNEED is FL_MC_SYNC with MS_ASYNC and
 *                   MS_INVALIDATE: unlike fl_madvise's it loses nothing; MADV_FREE of private memory
 *                   without a file frees it, len rounded down, of others nothing; FL_MADV_ACCESS_ ones
 *                   have no effect
 *   FL_MC_HAT_ADVISE  arg: a struct fl_memcntl_mha: the size of pages wished for
 * attr: 0, or only pages mapped FL_SHARED or FL_PRIVATE (also without either) whose protection is
 * exactly the PROT_ given with it; others are passed by, which is no error. mask: 0.
 * 0, or -1 and errno: EAGAIN (locking: over the limit of fl_mlock, or no room for a page), EBUSY
 * (MS_INVALIDATE of what is locked; what lies before has been done), EFAULT (no arg), EINVAL, EIO,
 * ENOMEM (an address that is not mapped; what lies before has been done, or locked and unlocked
 * again), and those of a failed write-back, as fl_msync. */
FL_API int fl_memcntl(struct fl_engine *engine, void *addr, size_t len, int cmd, void *arg,
                      int attr, int mask);
#define FL_MC_SYNC 1
#define FL_MC_LOCK 2
#define FL_MC_UNLOCK 3
#define FL_MC_ADVISE 4
#define FL_MC_LOCKAS 5
#define FL_MC_UNLOCKAS 6
#define FL_MC_HAT_ADVISE 7
#define FL_SHARED 0x10
#define FL_PRIVATE 0x20
#define FL_PROC_TEXT (PROT_READ | PROT_EXEC)
#define FL_PROC_DATA (PROT_READ | PROT_WRITE | PROT_EXEC)
#define FL_MADV_ACCESS_DEFAULT 0x506
#define FL_MADV_ACCESS_LWP 0x507
#define FL_MADV_ACCESS_MANY 0x508
struct fl_memcntl_mha {
        unsigned mha_cmd;    /* one FL_MHA_ */
        unsigned mha_flags;  /* 0 */
        size_t mha_pagesize; /* 0: any; or the engine's. addr and len are multiples of it */
};
#define FL_MHA_MAPSIZE_VA 1u
#define FL_MHA_MAPSIZE_BSSBRK 2u /* an engine has neither: addr and len are 0, nothing is done */
#define FL_MHA_MAPSIZE_STACK 4u
/* What Solaris's segments say of each page (incore); vec gets a byte a page, 0: not in memory. Errors of
 * fl_mincore. */
#define FL_INCORE_INCORE 0x01
#define FL_INCORE_LOCKED 0x02
#define FL_INCORE_HASCOW 0x04 /* a private copy of a file's page */
#define FL_INCORE_ANON 0x20   /* memory of its own, that may be stored to, or without a file */
#define FL_INCORE_VNODE 0x40  /* the file's page */
FL_API int fl_incore(struct fl_engine *engine, void *addr, size_t len, unsigned char *vec);
/* Fault every page of [addr, addr+len) in, as a load (write 0) or a store of this thread would, so
 * that a system call finds it there. Needed where faults of the kernel are not served: with the MMU
 * "sigbus", and with "uffd" where only faults of user mode are permitted, read(2) into memory that
 * is not mapped, or not yet stored to, fails with EFAULT. Nothing keeps the pages from being
 * evicted, or a page stored to from being written back and so protected again, before the call:
 * on EFAULT touch and call again. 0, or -1 and errno: EFAULT (not mapped, or not so), or why a page
 * could not be had (EIO, ENOSPC, ENOMEM; ENXIO past the end of the file); no signal is raised. */
FL_API int fl_touch_range(struct fl_engine *engine, void *addr, size_t len, int write);

/* What the mappings of a range follow from now on. Zero every member you do not set: a zero is the
 * default, that of the engine or of the file, also where something else was set before. The struct
 * may grow. */
struct fl_mapping_config {
        size_t size;        /* sizeof(struct fl_mapping_config) */
        const char *policy; /* the engine's; no other */
        uint64_t readahead; /* largest window for faults of these mappings; at least a page and
                             * never more than an eighth of the cache; default: the file's */
        uint64_t share;     /* bytes of the cache that are its file's: while the cache holds no
                             * more of the file, nothing that is read elsewhere evicts any of it.
                             * The file has the largest share that one of its mappings asks for, as
                             * long as that is mapped. What it does not fill others may use. All
                             * files' shares and private copies together leave an eighth of the
                             * cache free, at least 16 pages. Default: none */
        /* When a page cannot be had: it cannot be read (EIO), there is no room on the disk for a store
         * to it (ENOSPC), or none in the cache for it or for its private copy (ENOMEM).
         * "sigbus"  whoever touches it gets the signal, as from the kernel. Default: the engine's
         * "zero"    zeros stand in for it, in this mapping only; if just a store was refused, the
         *           bytes as they were. Stores there succeed and go nowhere: they are never written
         *           and no other mapping sees them. It takes a page of the cache's budget; if there
         *           is none, and behind the end of the file, it is "sigbus" after all. A line on
         *           stderr says so
         * "retry"   tried again, the thread waiting, after 1 ms, 2 ms, 4 ms, ... 100 ms, and then
         *           what retry_then says */
        const char *on_error;
        const char *retry_then; /* "sigbus" (default), "zero" */
        unsigned retries;       /* at most so many; default 5 */
        uint64_t retry_time;    /* ns from the first failure, none begins later; default 1 s */
};
/* The rules belong to the pages of the range, whatever is mapped there, and stay until they are set
 * again or unmapped; the mapping is split where it must be, as by mprotect(2), and joined again where
 * neighbours have the same. config may be NULL: all defaults. 0, or -1 and errno: EINVAL (addr is
 * not at a page's start; a value that is not allowed), ENOMEM (an address that is not mapped, or a
 * share that does not fit: what lies before it has been set), E2BIG (a member that this library does not know is not zero). */
FL_API int fl_mapping_set(struct fl_engine *engine, void *addr, size_t len,
                          const struct fl_mapping_config *config);

/* The mapping at an address: the largest span around it in which all of this is the same. The
 * strings are the library's and stay. */
struct fl_mapping_info {
        size_t size; /* sizeof(struct fl_mapping_info), set by the caller */
        void *addr;
        size_t len;
        off_t offset; /* in its file, of addr */
        int prot;     /* PROT_, as mapped or as changed by fl_mprotect */
        int max_prot; /* what fl_mprotect would allow */
        int flags;    /* MAP_SHARED or MAP_PRIVATE */
        const char *policy;
        uint64_t readahead; /* what counts, if nothing is set the file's */
        uint64_t share;     /* what this mapping asks for */
        uint64_t cached;    /* bytes of its file in the cache now, of which that many stay */
        const char *on_error, *retry_then;
        unsigned retries;
        uint64_t retry_time;
        /* What the policy makes of the accesses to its file, in words, a clause for each stream that it
         * follows; "": nothing, or the policy does not look for any. */
        char streams[512];
};
/* 0, or -1 and errno: ENOMEM (nothing of this engine is mapped there), EINVAL (size). */
FL_API int fl_mapping_info(struct fl_engine *engine, const void *addr,
                           struct fl_mapping_info *info);

/* What went wrong with a page, and has not been cleared. */
struct fl_error_info {
        size_t size;  /* sizeof(struct fl_error_info), set by the caller */
        void *addr;   /* the page, in the range that was asked for */
        off_t offset; /* and in its file */
        int error;    /* errno: EIO, ENOSPC, ENOMEM, ... */
        int writing;  /* 1: a write-back failed; 0: a load or store could not be served */
        int dirty;    /* 1: what was stored is in the cache only: the next msync or write-back tries
                       * again, and nothing is lost while the engine is open. 0 with `writing`: it has
                       * been written since */
        int zeroed;   /* 1: zeros stand in for the page ("zero"); 0 without `writing`: touching it
                       * raises SIGBUS */
        char file[256]; /* its URI */
};
/* The first such page of [addr, addr+len). 1 and *info; 0 if there is none; -1 and errno: EINVAL (addr
 * is not at a page's start, or size), ENOMEM (an address before it is not mapped). To see them all go
 * on at info.addr + 4096. An error stays until it is cleared: that of a page also with MADV_DONTNEED
 * or munmap of the page; that of a write-back is the file's, the first since it was cleared, and
 * unlike msync's is told as often as it is asked for. */
FL_API int fl_error(struct fl_engine *engine, const void *addr, size_t len,
                    struct fl_error_info *info);
/* Forget what went wrong in the range: a page that could not be had is tried again when it is next
 * touched, and zeros that stood in for one go, with what was stored there; a private page that could
 * not be read from the swap area, or for which there was no room in memory, has kept its place there,
 * and is read again (MADV_DONTNEED drops it: then it begins anew, with zeros or as a copy of its
 * file's). Dirty pages stay dirty and are written by the next write-back. 0, or -1 and errno: EINVAL, ENOMEM as above, after what lies
 * before. */
FL_API int fl_error_clear(struct fl_engine *engine, void *addr, size_t len);

/* pread(2), pwrite(2) through the same pages. The buffer may be a mapping of the same file. */
FL_API ssize_t fl_pread(struct fl_file *file, void *buf, size_t count, off_t offset);
FL_API ssize_t fl_pwrite(struct fl_file *file, const void *buf, size_t count, off_t offset);

/* --- many ranges at once, ahead of need: what madvise(MADV_WILLNEED) or readahead(2) would take a call
 * for each, and would not tell the end of */

struct fl_range {
        off_t offset; /* bytes of the file, */
        size_t len;   /* whole pages of which are brought in */
};

/* Bring the ranges into the cache, and return before they are there: what is not in it is read by a thread
 * of the engine's, what touches or overlaps as one, in the order of the device, and as many at a time as
 * keep that busy. The ranges, nr of them, thousands if need be, in any order, are the caller's again at
 * once. They may lie in part or whole behind the end of the file: there nothing is brought in. No more
 * is read than the cache can hold; the rest is left out. Nothing is mapped: the first touch of a page is
 * a minor fault, and fl_pread finds it. Nothing keeps the pages from being evicted again.
 *   eventfd: an eventfd(2), to whose counter 1 is added when it is over, however it ended; -1: none. The
 * caller may close it at any time.
 * What it returns is to be ended with fl_prefetch_end, before the engine is closed; the file may be closed
 * meanwhile. NULL and errno: EBADF (the file is open for writing only; no such descriptor), EINVAL (an
 * offset is negative, a range too long for any file, eventfd is something else), EFAULT (no ranges),
 * ENOMEM, EAGAIN (no thread). Several may be under way: they are read one after the other. Any thread,
 * also for the calls below; not from a signal handler. In a child of fork(2) all of them are EPERM. */
struct fl_prefetch;
FL_API struct fl_prefetch *fl_prefetch(struct fl_file *file, const struct fl_range *ranges,
                                       size_t nr, int eventfd);

struct fl_prefetch_result {
        size_t size; /* sizeof(struct fl_prefetch_result), set by the caller */
        uint64_t
                wanted; /* bytes, whole pages, each once; what was there already is in this alone */
        uint64_t read;  /* of these: have come */
        uint64_t failed; /* could not be read, and are read again by who touches them */
        uint64_t left; /* have not been begun with, or, when it is over, left out: it was cancelled,
                          * the cache would not hold them, or there was no memory to keep account */
        int error;     /* errno of the first that failed; 0: none has */
};
/* Waits until it is over, for so many nanoseconds at most; 0: only looks. *result, if not NULL, is how it
 * stands. 0: it is over; or -1 and errno: EAGAIN (it is not yet), EINVAL (size). */
FL_API int fl_prefetch_wait(struct fl_prefetch *prefetch, uint64_t timeout,
                            struct fl_prefetch_result *result);
/* Nothing more is begun; it is over when what is being read has come, and at once if it was not its turn
 * yet. Does not wait. 0. */
FL_API int fl_prefetch_cancel(struct fl_prefetch *prefetch);
/* Cancels it if need be, waits for what is being read, and frees it; NULL does nothing. 0, or -1 and errno
 * of the file's last closing, as fl_file_close; it is freed in either case. */
FL_API int fl_prefetch_end(struct fl_prefetch *prefetch);

/* ftruncate(2), under whatever maps the file: behind the new end all pages go, private copies too,
 * and access raises SIGBUS; a private copy of the page with the new end stays as it is. */
FL_API int fl_ftruncate(struct fl_file *file, off_t length);
FL_API int fl_fsync(struct fl_file *file);
FL_API int fl_fstat(struct fl_file *file, struct stat *st);
/* FIBMAP of ioctl(2), in bytes: *where becomes the place on the file's device at which the page at
 * `offset` begins; of a compressed page, that at which its block begins; of a host file, that in the
 * file. 1; 0 if it is a hole; -1 and errno: EINVAL (the offset is negative, or past the end),
 * EOPNOTSUPP (the file system does not tell). */
FL_API int fl_bmap(struct fl_file *file, off_t offset, off_t *where);

/* An entry of a directory in an image. */
struct fl_dirent {
        const char *name; /* any bytes but NUL and / */
        const char *link; /* where a symbolic link points to, NULL if it is none */
        struct stat st;   /* as lstat(2) would have it: mode, size, times, owner, links */
};
struct fl_dir;
/* opendir(3) and so on for a directory in an image: squashfs:DEV#/path. All of it is read at once, `.`
 * and `..` left out, in the image's order; of a file there is one entry, itself. NULL and errno as
 * fl_file_open, and EOPNOTSUPP (no image), EOVERFLOW (more than four million entries). */
FL_API struct fl_dir *fl_opendir(struct fl_engine *engine, const char *uri);
/* The next entry, NULL at the end; the directory's, and stays until that is closed. */
FL_API const struct fl_dirent *fl_readdir(struct fl_dir *dir);
/* May come after the engine has been closed. */
FL_API void fl_closedir(struct fl_dir *dir);

/* Counters since the engine was opened. The names are those of `--stats --json`. */
struct fl_stats {
        size_t size; /* sizeof(struct fl_stats), set by the caller */
        uint64_t faults_major, faults_minor, faults_write, cow_copies, zero_fills;
        uint64_t swap_ins, swap_outs;
        uint64_t readahead_pages, readahead_hits, readahead_wasted, evicted_pages;
        uint64_t writeback_pages, bios, requests, merges_back, merges_front, flushes;
        uint64_t read_bytes, write_bytes;
        uint64_t cache_bytes, cache_bytes_peak, meta_bytes, budget_bytes;
        uint64_t io_errors, fault_ns_p50, fault_ns_p99, fault_ns_max, elapsed_ns;
        uint64_t trace_dropped; /* events that the trace lost */
        /* Waits that were polled for (spin), those that ended meanwhile, and processor time spent so. */
        uint64_t spins, spin_hits, spin_ns;
};
FL_API int fl_stats(struct fl_engine *engine, struct fl_stats *stats);
/* What one device has done since it was opened, and with it each kind of operation. */
struct fl_io_stats {
        uint64_t requests, bios; /* complete; the more bios, the more was merged */
        uint64_t bytes;          /* moved */
        uint64_t queue_ns;       /* in sum: from its first bio until a request goes to the driver */
        uint64_t device_ns;      /* and from there to its end */
};
/* Of requests one by one: half of them, and 99 of 100, took no longer, to 2 percent; and the longest. 0:
 * there were none. */
struct fl_latency {
        uint64_t p50_ns, p99_ns, max_ns;
};
struct fl_device_stats {
        size_t size; /* sizeof(struct fl_device_stats), set by the caller */
        char name[64];
        struct fl_io_stats read, write, flush, discard, write_zeroes;
        struct fl_latency read_total, write_total;   /* from its first bio to its end */
        struct fl_latency read_device, write_device; /* from the driver to its end */
};
/* Devices are numbered from 0, in no order, as long as none is opened or closed. 0, or -1 and errno:
 * EINVAL (size), ENOENT (there are not so many). */
FL_API int fl_device_stats(struct fl_engine *engine, unsigned index, struct fl_device_stats *stats);
/* Verifies every invariant of a quiet engine (nothing in flight); 0 if all hold. Slow. */
FL_API int fl_engine_check(struct fl_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
