/* SPDX-License-Identifier: Apache-2.0
 *
 * error.c - errno for programs, a sentence for people.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/engine.h"
#include "util/text.h"

#define URI_SHOWN 500 /* of a longer one its end, so that the reason always fits */

static _Thread_local char sentence[768] = "no error";

const char *fl_strerror(void)
{
        return sentence;
}

int fl_fail(int error, const char *uri, const char *tried, const char *why)
{
        size_t len = uri ? strlen(uri) : 0;
        const char *cut = "";
        char reason[128];

        if (len > URI_SHOWN) {
                uri += len - URI_SHOWN;
                cut = "...";
        }
        if (!why || !*why)
                why = strerror_r(error, reason, sizeof(reason));
        snprintf(sentence, sizeof(sentence), "%s%s%s%s: %s", cut, uri ? uri : "", uri ? ": " : "",
                 tried, why);
        text_one_line(sentence);
        errno = error;
        return -1;
}

int fl_result(int result, const char *uri, const char *tried)
{
        return result < 0 ? fl_fail(-result, uri, tried, NULL) : result;
}

bool fl_refuse(const struct fl_engine *e, const char *tried)
{
        if (!mm_is_foreign(e->mm))
                return false;
        fl_fail(EPERM, NULL, tried, "the engine is that of the parent of this process");
        return true;
}
