/* SPDX-License-Identifier: Apache-2.0
 *
 * module_functions.h - the functions of the core that modules may call; a list to be included, once
 * for each thing that is made of it.
 *
 * CORE(result, name, parameters, arguments)
 */
/* util */
CORE(uint64_t, now_ns, (void), ())
CORE(uint32_t, thread_id, (void), ())
CORE(bool, parse_size, (const char *text, uint64_t *out), (text, out))
CORE(bool, take_number, (const char **s, uint64_t *out), (s, out))
CORE(bool, take_time, (const char **s, uint64_t *out), (s, out))
CORE(int, futex_wait, (_Atomic uint32_t *word, uint32_t value, uint64_t ns), (word, value, ns))
CORE(void, futex_wake, (_Atomic uint32_t *word, int how_many), (word, how_many))
CORE(void, say_line, (char *line), (line))
#ifdef NDEBUG
CORE(void, mutex_lock, (struct mutex * m), (m))
CORE(bool, mutex_trylock, (struct mutex * m), (m))
CORE(void, mutex_unlock, (struct mutex * m), (m))
#else
CORE(void, mutex_lock_at, (struct mutex * m, const char *where), (m, where))
CORE(bool, mutex_trylock_at, (struct mutex * m, const char *where), (m, where))
CORE(void, mutex_unlock_at, (struct mutex * m, const char *where), (m, where))
CORE(void, mutex_assert_held_at, (const struct mutex *m, const char *where), (m, where))
CORE(void, lock_assert_none_at, (const char *where), (where))
CORE(void, lock_assert_may_sleep_at, (const char *where), (where))
CORE(void, lock_assert_below_at, (enum lock_class class, const char *where), (class, where))
#endif
/* trace */
CORE(void, trace_write,
     (struct trace * t, enum trace_event ev, uint64_t fault, uint64_t object, uint64_t a,
      uint64_t b, uint64_t c, uint64_t d),
     (t, ev, fault, object, a, b, c, d))
CORE(uint64_t, trace_object, (struct trace * t, enum trace_kind kind, const char *name),
     (t, kind, name))
CORE(uint64_t, trace_name, (const char *name), (name))
/* driver */
CORE(int, device_open_uri,
     (struct driver_env * env, const char *uri, int oflags, struct device **out, const char **why),
     (env, uri, oflags, out, why))
CORE(int, device_opened, (struct driver_env * env, struct device *dev, struct device **out),
     (env, dev, out))
CORE(void, device_close, (struct device * dev), (dev))
CORE(int, device_fd, (const struct device *dev), (dev))
CORE(void, device_id, (const struct device *dev, const char *uri, char *out, size_t size),
     (dev, uri, out, size))
/* block */
CORE(int, blk_queue_create,
     (struct request_queue * *out, struct device *dev, struct block_pool *pool,
      struct trace *trace),
     (out, dev, pool, trace))
CORE(void, blk_queue_destroy, (struct request_queue * q), (q))
CORE(struct device *, blk_queue_device, (struct request_queue * q), (q))
CORE(struct queue_limits *, blk_queue_limits, (struct request_queue * q), (q))
CORE(struct bio *, bio_alloc,
     (struct request_queue * q, uint32_t opf, uint64_t sector, void *buf, uint32_t bytes),
     (q, opf, sector, buf, bytes))
CORE(void, submit_bio, (struct bio * bio, struct blk_plug *plug), (bio, plug))
CORE(int, submit_bio_wait,
     (struct request_queue * q, uint32_t opf, uint64_t sector, void *buf, uint32_t bytes,
      uint64_t fault),
     (q, opf, sector, buf, bytes, fault))
CORE(void, blk_start_plug, (struct blk_plug * plug), (plug))
CORE(void, blk_finish_plug, (struct blk_plug * plug), (plug))
/* fs */
CORE(struct inode *, inode_find_locked, (struct fs_env * env, uint64_t dev, uint64_t ino),
     (env, dev, ino))
CORE(void, inode_insert_locked, (struct fs_env * env, struct inode *inode, const char *uri),
     (env, inode, uri))
CORE(void, inode_get, (struct inode * inode), (inode))
CORE(void, inode_put, (struct inode * inode), (inode))
CORE(void, super_insert_locked, (struct fs_env * env, struct super_block *sb), (env, sb))
CORE(void, super_remove_locked, (struct fs_env * env, struct super_block *sb), (env, sb))
CORE(struct super_block *, super_find_locked,
     (struct fs_env * env, const struct super_operations *s_op, const char *id), (env, s_op, id))
CORE(struct super_block *, super_find_name_locked,
     (struct fs_env * env, const struct super_operations *s_op, const char *uri), (env, s_op, uri))
CORE(int, generic_file_map, (struct inode * inode, int prot, int flags, int *maxprot),
     (inode, prot, flags, maxprot))
CORE(int, generic_fsync, (struct inode * inode, struct request_queue *q), (inode, q))
CORE(void, fs_run_begin, (struct fs_run * run), (run))
CORE(int, fs_run_bio,
     (struct fs_run * run, struct request_queue *q, uint64_t sector, uint32_t offset,
      uint32_t bytes, struct blk_plug *plug),
     (run, q, sector, offset, bytes, plug))
CORE(int, fs_run_bio_flags,
     (struct fs_run * run, struct request_queue *q, uint64_t sector, uint32_t offset,
      uint32_t bytes, uint32_t flags, struct blk_plug *plug),
     (run, q, sector, offset, bytes, flags, plug))
CORE(void, fs_run_error, (struct fs_run * run, int error), (run, error))
CORE(void, fs_run_end, (struct fs_run * run), (run))
CORE(void, fs_run_clip, (struct fs_run * run, uint64_t bytes), (run, bytes))
CORE(int, fs_worker_create, (struct fs_worker * *out, unsigned threads, const char *name),
     (out, threads, name))
CORE(void, fs_worker_destroy, (struct fs_worker * w), (w))
CORE(void, fs_work_queue, (struct fs_worker * w, struct fs_work *work), (w, work))
CORE(int, fs_worker_call, (struct fs_worker * w, int (*call)(void *), void *arg), (w, call, arg))
