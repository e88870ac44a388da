/* SPDX-License-Identifier: Apache-2.0
 *
 * nbd.h - an export of an NBD server as a device; what the files of this driver share.
 *
 *   target.c   what a URI says: where the server is, which export, how long to wait
 *   connect.c  a connected, negotiated libnbd handle, within a deadline; what the server says of
 *              the export
 *   log.c      writes that the server has answered but not made durable yet
 *   command.c  NBD commands: sent, answered, done again
 *   io.c       the commands that an I/O takes, and its end
 *   conn.c     a connection and the thread that serves it
 *   nbd.c      the device: open, submit, commit, close
 *
 * Threads. libnbd locks and allocates, so nothing of it runs where I/O is submitted: submit() puts
 * the I/O on the list of a connection under device.lock, and commit() wakes that connection's thread
 * through an eventfd. The handle belongs to that thread alone.
 *
 *        submit                    start                     reply
 *   ----------> conn.queue ----------------> conn.inflight ----------> driver_io_done()
 *                 [nbd]      conn.waiting       |      ^
 *                                               v lost | connected again
 *                                            conn.redo
 *
 * Several connections are of use only to one server. While the first still waits for the network to say
 * that its server has gone, another might reach the one that has come in its place, and that one has
 * forgotten what was not flushed. So one that has connected is used once the first has been answered
 * after that (vouch() in conn.c).
 *
 * A lost connection. When one is lost all are dropped (`epoch`): the server may have died, and with
 * it what it had answered and not made durable. Connection 0 connects again, has the log written
 * again in its order, and lets the others follow (`up`); then what was in flight is sent once more.
 *   - Reads, writes, zeroes and trims may be done twice: nobody else is told of the first time, and
 *     nothing that overlaps them is in flight.
 *   - A flush is done again, after the log: it covers the writes that were answered before.
 *   - A server that is not dead but only silent may still have our commands before it, and do them
 *     later than what we would send it next. So a connection that had writes in flight counts as
 *     lost only when the server, told that nothing more will come, has closed it, or the network
 *     has given it up (fence() in conn.c).
 * An I/O that has been waiting for `timeout` while the connection was lost fails. Those that follow
 * wait for an eighth of it only, until the server has answered something.
 */
#ifndef FL_DRIVER_NBD_H
#define FL_DRIVER_NBD_H

#include <fcntl.h>
#include <libnbd.h>
#include <pthread.h>
#include <unistd.h>

#include "driver/device.h"
#include "util/lock.h"

#define NBD_MAX_CONNECTIONS 8
#define NBD_COMMANDS 64           /* in flight on one connection */
#define NBD_MAX_BYTES (2u << 20)  /* of one I/O */
#define NBD_LOG_BYTES (32u << 20) /* memory of the log, touched as it is needed */
#define NBD_LOG_RECORDS 8192
#define NBD_SPANS 8

/* ---- target.c ---- */

struct nbd_target {
        bool local;     /* a Unix socket */
        char host[256]; /* or the socket's path */
        char port[32];  /* number or name */
        char export_name[4097];
        uint64_t connect_ns;  /* a try to connect and negotiate takes no longer */
        uint64_t timeout_ns;  /* without an answer an I/O fails after */
        unsigned connections; /* at most, if the server allows several */
};

/* nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, each with [?&]timeout=TIME,
 * connect=TIME, connections=N. 0 or -EINVAL, then *why says what is wrong. */
int nbd_target_parse(struct nbd_target *t, const char *uri, const char **why);

/* ---- connect.c ---- */

/* What the server says of the export. */
struct nbd_export {
        uint64_t size;
        uint32_t block_min, block_max; /* bytes; of every command */
        bool read_only, flush, fua, trim, zero, multi_conn;
};

/* A handle that is ready, and a descriptor of its socket, which is the caller's. Gives up at
 * `deadline` (now_ns()), or when `cancel` (an eventfd, -1: none) becomes readable: -ECANCELED.
 * -errno; *why is a phrase for people, or NULL. */
int nbd_connect(const struct nbd_target *t, uint64_t deadline, int cancel, struct nbd_handle **h,
                int *sock, const char **why);
int nbd_export_read(struct nbd_handle *h, struct nbd_export *e);
/* Is the export that came back the one that went? */
bool nbd_export_same(const struct nbd_export *a, const struct nbd_export *b);

/* ---- log.c ---- */

/* A change that the server may still forget, in the order in which changes were begun. */
struct nbd_record {
        enum io_op op;
        uint64_t offset;
        uint32_t len;
        uint32_t room;    /* bytes of the ring it takes, with what is left free before it */
        char *data;       /* IO_WRITE: len bytes */
        uint64_t replied; /* its number among the answered; 0: not answered yet */
        bool gone;        /* durable, or never done */
};

struct nbd_log {
        struct mutex lock;
        char *ring;
        struct nbd_record *records;    /* [log] NBD_LOG_RECORDS, a ring too */
        uint64_t first, end;           /* [log] records [first, end) are in use, modulo */
        uint64_t byte_first, byte_end; /* [log] likewise, of the ring */
        uint64_t replies;              /* [log] counts answers */
        unsigned unflushed;            /* [log] answered, not durable */
        bool wanted;                   /* [log] somebody waits for room */
        bool keep;                     /* (c) the server has something to flush */
};

int nbd_log_init(struct nbd_log *log, bool keep);
void nbd_log_free(struct nbd_log *log);
/* A place for a change and its data; NULL: none until something is flushed. */
struct nbd_record *nbd_log_begin(struct nbd_log *log, enum io_op op, uint64_t offset, uint32_t len);
/* It was answered; or it has failed. True if somebody waited for the room that this gives. */
bool nbd_log_replied(struct nbd_log *log, struct nbd_record *r);
bool nbd_log_drop(struct nbd_log *log, struct nbd_record *r);
/* Before a flush is sent: what it will cover. */
uint64_t nbd_log_mark(struct nbd_log *log);
/* The flush was answered. True as above. */
bool nbd_log_flushed(struct nbd_log *log, uint64_t mark);
/* Is anything there that a flush would make durable? */
bool nbd_log_dirty(struct nbd_log *log);
/* The next record from *at on that has been answered and is not durable, or NULL; *at moves on.
 * For the one that writes all of it again, when nobody else uses the log. */
struct nbd_record *nbd_log_next(struct nbd_log *log, uint64_t *at);

/* ---- command.c ---- */

struct nbd_conn;
struct nbd_span {
        uint64_t start, end;
};

struct nbd_command {
        struct nbd_command *next, *prev; /* in inflight, redo or the free list */
        struct nbd_conn *conn;
        struct driver_io *io; /* NULL: the driver's own */
        enum io_op op;        /* IO_READ while an unaligned write reads its blocks, too */
        bool fua;
        bool unaligned; /* io goes through `bounce` */
        uint64_t offset;
        uint32_t len;
        char *buf;
        char *bounce;           /* of an unaligned read; ours */
        struct nbd_record *rec; /* of a change */
        uint64_t mark;          /* of a flush, or a question (nbd_device.asked) */
        uint64_t sent_ns;
        int error; /* 0 or -errno, once done */
        bool done;
        bool answered; /* by the server */
        /* Structured replies: what has come. */
        unsigned nr_spans;
        struct nbd_span spans[NBD_SPANS];
};

struct nbd_list {
        struct nbd_command *head, *tail;
};

/* ---- conn.c ---- */

struct nbd_device;

/* Its fields belong to its thread, but for those with letters. */
struct nbd_conn {
        struct nbd_device *d;   /* (c) */
        unsigned nr;            /* (c) */
        int wake;               /* (c) eventfd */
        pthread_t thread;       /* (c) */
        bool running;           /* (c) the thread is */
        struct io_list queue;   /* [nbd] submitted */
        unsigned load;          /* [nbd] I/Os submitted and not done */
        bool sleeping;          /* [nbd] to be woken */
        struct nbd_handle *h;   /* NULL: not connected */
        int sock;               /* of the handle, or of the one that was lost and is not over */
        unsigned epoch;         /* in which it was connected */
        bool counted;           /* in nbd_device.connected */
        struct io_list waiting; /* taken, not begun or not wholly */
        struct nbd_list free, inflight, redo;
        struct nbd_list given;    /* [nbd] other connections' that are to be done here */
        struct nbd_list returned; /* [nbd] ours, which we had given */
        uint64_t asked;           /* as nbd_device.asked was when it looked last, */
        uint64_t last_asked;      /* and when it last asked its server */
        bool asking;              /* whether the server is still there */
        bool unaligned_write;     /* one is under way */
        bool own_flush;           /* one of ours is, to get room in the log */
        bool ended;               /* the server says that it ends */
        bool replaying;           /* the log is being written again */
        uint64_t replay_at;
        uint64_t next_try; /* now_ns() at which to connect again */
        uint64_t heard_ns; /* now_ns() when the server last said something */
        unsigned tries;    /* since the last success */
        bool refused;      /* [nbd] the server takes no more connections than the others */
        struct nbd_command commands[NBD_COMMANDS];
};

struct nbd_device {
        struct device dev;
        struct nbd_target target; /* (c) */
        struct nbd_export export; /* (c) */
        struct nbd_log log;
        struct mutex lock;
        unsigned epoch;       /* [nbd] bumped when a connection is lost */
        unsigned connected;   /* [nbd] connections that are not lost wholly */
        uint64_t asked;       /* [nbd] questions whether connection 0's server is still there */
        uint64_t vouched;     /* [nbd] so many of them have been answered */
        int stop_fd;          /* (c) eventfd, readable once it stops */
        char *block;          /* (c) for the answers, which nobody reads */
        bool up;              /* [nbd] the log is written; I/O goes on */
        bool stop;            /* [nbd] */
        _Atomic bool gave_up; /* an I/O has failed for want of an answer, and none has come since */
        int last_error;       /* [nbd] of the last try to connect again */
        int flush_error;      /* [nbd] of what nobody waited for: the next flush says it */
        unsigned nr_conns;    /* (c) once open */
        struct nbd_conn *conns[NBD_MAX_CONNECTIONS]; /* (c) */
};

/* `nr` of them, or fewer; the first takes the handle and the descriptor over, the others connect
 * when there is something for them to do. 0 or -errno: then nothing is taken over. */
int nbd_conns_start(struct nbd_device *d, unsigned nr, struct nbd_handle *h, int sock);
/* Of all connections: ends and joins their threads. Nothing is in flight. */
void nbd_conns_stop(struct nbd_device *d);
void nbd_conn_kick(struct nbd_conn *c);
void nbd_conns_kick(struct nbd_device *d);
/* The log has been written again: I/O goes on. */
void nbd_conn_is_up(struct nbd_conn *c);

/* How long an I/O may wait for an answer now. */
static inline uint64_t nbd_timeout(struct nbd_device *d)
{
        return atomic_load(&d->gave_up) ? d->target.timeout_ns / 8 : d->target.timeout_ns;
}

static inline struct nbd_device *to_nbd(struct device *dev)
{
        return container_of(dev, struct nbd_device, dev);
}

/* ---- io.c: each in the connection's thread ---- */

/* Sends what can be sent: of the log, of what is to be done again, of what waits. */
void nbd_start(struct nbd_conn *c);
/* One of its commands is over, and its memory free: with the last the I/O ends. */
void nbd_io_command_done(struct nbd_conn *c, struct driver_io *io, int error);
/* No more of it is begun. Returns true. */
bool nbd_io_refused(struct nbd_conn *c, struct driver_io *io, int error);
/* Its bytes to, or from, where they belong in the blocks at `start`. */
void nbd_io_gather(const struct driver_io *io, uint64_t start, char *blocks);
void nbd_io_scatter(const struct driver_io *io, uint64_t start, const char *blocks, uint64_t len);

/* ---- command.c: each in the connection's thread ---- */

void nbd_list_push(struct nbd_list *l, struct nbd_command *cmd);
void nbd_list_remove(struct nbd_list *l, struct nbd_command *cmd);
static inline bool nbd_is_lost(const struct nbd_conn *c)
{
        return nbd_aio_is_dead(c->h) || nbd_aio_is_closed(c->h);
}
/* A command that is the I/O's (NULL: the driver's own), not sent yet; NULL: all are in use. */
struct nbd_command *nbd_command_new(struct nbd_conn *c, struct driver_io *io, enum io_op op,
                                    uint64_t offset, uint32_t len);
void nbd_command_send(struct nbd_conn *c, struct nbd_command *cmd);
void nbd_command_free(struct nbd_conn *c, struct nbd_command *cmd);
/* Ends the commands that have been answered. True if any. */
bool nbd_reap(struct nbd_conn *c);
/* The handle is gone: what was in flight is to be done again. True if any of it changes data. */
bool nbd_take_back(struct nbd_conn *c);
/* Fails the I/Os that have been waiting since before `since`. When the oldest of the others was
 * submitted: now_ns(), or 0. */
uint64_t nbd_expire(struct nbd_conn *c, uint64_t since, int error);
/* When the oldest command in flight was sent, or 0. */
uint64_t nbd_oldest(const struct nbd_conn *c);

/* When it was submitted. In an I/O's priv: [1] bytes begun, [2] commands under way, [3] the first
 * error, negated. */
#define PRIV_SUBMITTED 0
#define PRIV_BEGUN 1
#define PRIV_COMMANDS 2
#define PRIV_ERROR 3

/* What this driver is to the core (driver/open.c). */
extern const struct driver_type nbd_type;

#endif
