/* SPDX-License-Identifier: Apache-2.0
 *
 * server.h - the thread of an engine that tells others how it is doing.
 *
 * It reads what the engine counts anyway, and nobody ever waits for it: no fault, no call of the
 * library's but closing the engine. Whoever connects has two seconds to say what he wants and five to
 * take the answer; eight at each place are served at once, and when more wait, who has moved nothing for a
 * while makes room. docs/live.md has what is told.
 */
#ifndef FL_LIVE_SERVER_H
#define FL_LIVE_SERVER_H

#include "live/http.h"
#include "live/out.h"

struct live_server;

struct live_ops {
        /* The page behind a path, into `out`: its status, and *type, a literal. `all`: asked over the
         * engine's own socket; else only /metrics is there. Called by the server's thread. */
        int (*get)(void *arg, const struct http_request *rq, bool all, struct out *out,
                   const char **type);
        void *arg;
};

/* publish: on a socket in the user's folder, if that can be. metrics: FILE, unix:PATH or HOST:PORT, NULL
 * or "": nowhere; what is wrong with the words is *why (-EINVAL). What cannot be had of either, a port
 * that is taken, is said on stderr, and the rest goes on. 0 with *out NULL: nothing is to be told. */
int live_start(struct live_server **out, bool publish, const char *metrics,
               const struct live_ops *ops, const char **why);
/* Answers nobody any more, and removes what it has made but for the FILE, which gets the last figures. */
void live_stop(struct live_server *s);

#endif
