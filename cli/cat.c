/* SPDX-License-Identifier: Apache-2.0
 *
 * cat.c - `faultline cat`: the bytes of a file, through a mapping, to standard output.
 *
 * Mapped memory is never handed to write(2): not every way of taking faults serves those the
 * kernel meets inside a system call, so the bytes are copied to a buffer first.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"
#include "guard.h"

#define CHUNK (256 * 1024UL)

static bool write_all(const char *buf, size_t n)
{
        while (n) {
                ssize_t done = write(STDOUT_FILENO, buf, n);

                if (done < 0 && errno == EINTR)
                        continue;
                if (done < 0)
                        return false;
                buf += done;
                n -= (size_t)done;
        }
        return true;
}

/* Copies [from, to) of the file out of `mapping`, which starts at the file's offset `base`. */
static int print_bytes(struct session *s, const char *mapping, uint64_t base, uint64_t from,
                       uint64_t to, char *buf)
{
        struct progress progress;
        int status = 0;

        progress_begin(&progress, "cat", isatty(STDOUT_FILENO) ? 0 : to - from);
        for (uint64_t at = from; at < to && !status;) {
                uint64_t n = CHUNK - at % CHUNK, got;

                if (n > to - at)
                        n = to - at;
                got = guard_copy(buf, mapping + (at - base), n, mapping + (at - base));
                if (!write_all(buf, got)) {
                        int error = errno;

                        progress_end(&progress);
                        status = EXIT_FAILED;
                        if (error != EPIPE) /* the reader has seen enough: nothing to say */
                                fail("standard output", "write", "%s", strerror(error));
                } else if (got < n) {
                        progress_end(&progress);
                        status = fail(s->uri, "read through the mapping", "offset %" PRIu64 ": %s",
                                      at + got, session_reason(s, at + got, false));
                }
                at += got;
                progress_show(&progress, at - from);
        }
        progress_end(&progress);
        return status;
}

static int cat(struct session *s, uint64_t offset, uint64_t length)
{
        uint64_t end, base = offset - offset % PAGE_SIZE;
        char *mapping, *buf;
        int status;

        if (offset > s->size)
                return fail(s->uri, "cat", "offset %" PRIu64 " is past the end (%" PRIu64 " bytes)",
                            offset, s->size);
        end = length < s->size - offset ? offset + length : s->size;
        if (end == offset)
                return 0;
        buf = malloc(CHUNK);
        if (!buf)
                return fail(s->uri, "cat", "%s", strerror(ENOMEM));
        mapping = fl_mmap(s->engine, NULL, end - base, PROT_READ, MAP_SHARED, s->file, (off_t)base);
        if (mapping == MAP_FAILED) {
                free(buf);
                return fail_library();
        }
        if (fl_madvise(s->engine, mapping, end - base, MADV_SEQUENTIAL))
                status = fail_library();
        else
                status = print_bytes(s, mapping, base, offset, end, buf);
        if (fl_munmap(s->engine, mapping, end - base) && !status)
                status = fail_library();
        free(buf);
        return status;
}

static int run(struct options *o, int argc, char **argv)
{
        uint64_t offset = 0, length = UINT64_MAX;
        const struct option_spec own[] = {
                { "offset", OPTION_SIZE, &offset, NULL, 0 },
                { "length", OPTION_SIZE, &length, NULL, 1 },
                { 0 },
        };
        struct session s;
        const char *uri;
        int status = options_parse_uri(o, own, argc, argv, &uri);

        if (!uri)
                return status;
        if (offset > INT64_MAX || (length != UINT64_MAX && length > INT64_MAX - offset))
                return fail_usage(o, "offset and length: beyond the largest file offset");
        signal(SIGPIPE, SIG_IGN);
        status = session_open(&s, o, uri, O_RDONLY, NULL);
        if (!status)
                status = cat(&s, offset, length);
        return session_close(&s, status);
}

const struct command command_cat = {
        .name = "cat",
        .summary = "the bytes of a file, through a mapping, to standard output",
        .help = "cat URI [--offset N] [--length N] [OPTIONS]\n"
                "\n"
                "Maps the file shared and read-only, advises MADV_SEQUENTIAL, and copies the\n"
                "mapped bytes to standard output. --length beyond the end stops at the end; an\n"
                "offset past the end is an error. With --stats the counters go to stderr.\n"
                "\n"
                "Examples:\n"
                "  faultline cat data.bin | sha256sum\n"
                "  faultline cat data.bin --cache 32M --stats >/dev/null   what did it cost?\n"
                "  faultline cat data.bin --offset 1M --length 64 | xxd\n"
                "  faultline cat data.bin --faults eio@1M+4K >/dev/null    watch a read fail\n",
        .run = run,
};
