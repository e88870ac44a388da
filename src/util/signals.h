/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.h - the program's signals, and its threads while they are inside the library.
 *
 * A handler of the program's may touch mapped memory, and the fault may need a lock that the code it
 * has interrupted holds: that of its own thread, which goes on only when the handler is over. So no
 * handler runs in a thread that is inside a call: its signals wait until the call is over, as they
 * do in a system call that cannot be interrupted.
 *
 * What an instruction of the thread's own raises still comes through: a call that copies from or to
 * mapped memory has its faults served so, and holds no lock then.
 */
#ifndef FL_UTIL_SIGNALS_H
#define FL_UTIL_SIGNALS_H

#include <signal.h>

/* All signals but those that instructions raise. */
void signals_asynchronous(sigset_t *set);

struct signals_held {
        sigset_t mask;
        int cancel;
        struct signals_held *outer;
};

/* The calling thread takes no such signal, and cannot be cancelled, until signals_release(). Calls
 * may be nested. errno stays. */
void signals_hold(struct signals_held *h);
void signals_release(struct signals_held *h);
/* What has come meanwhile is let in; for a call that takes long. => nothing is locked */
void signals_let_in(void);

#endif
