/* SPDX-License-Identifier: Apache-2.0
 *
 * nbd_server.c - an NBD server that misbehaves as it is told; nothing of the tests but this knows
 * the protocol.
 *
 *   nbd_server SOCKET FILE [WORD...]
 *
 * Serves FILE (the export's name is "", or "disk") until it is killed, one client at a time.
 *   garbage      says something else than NBD
 *   mute         says nothing at all
 *   deaf         negotiates, and answers no command
 *   deaf-writes  answers reads and flushes only
 *   truncated    ends the connection in the middle of each answer to a read
 *   holes        leaves a piece out of each answer to a read
 *   twice        sends a piece twice in place of another
 *   backwards    sends the pieces of a read from back to front (which is allowed)
 *   volatile     keeps writes in memory until it is told to flush, as a disk's cache does
 *   flush-fails  offers to flush, and fails it (EIO)
 *   die=N        at the Nth command it dies without an answer, and what it had in memory with it;
 *                another takes its place
 *   deaths=N     so many die so (1)
 *   late=MS      the other comes so many milliseconds later
 *   shrink       each new one offers a page less
 *   min=N max=N  block sizes
 *   noflush nofua readonly  does not offer it, or says that it is
 *   once         after its first death it refuses connections for good
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST 0x25609513u
#define SIMPLE 0x67446698u
#define STRUCTURED 0x668e33efu
#define OPTION_REPLY 0x3e889045565a9ull
#define ERR(n) (1u << 31 | (n))
#define MAX_LEN (32u << 20)

enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_ZEROES = 6 };

static struct {
        bool garbage, mute, deaf, deaf_writes, truncated, holes, twice, backwards, is_volatile;
        bool flush_fails, shrink, noflush, nofua, readonly, once;
        long die, deaths, late;
        uint32_t min, max;
} told;
static uint64_t size;
static int file_fd, client;
static char *cache; /* what is read and written: the file, or a copy of it */
static unsigned char *dirty;
static bool structured;

static bool get(void *buf, size_t n)
{
        char *p = buf;

        while (n) {
                ssize_t got = read(client, p, n);

                if (got <= 0)
                        return false;
                p += got;
                n -= (size_t)got;
        }
        return true;
}

static bool put(const void *buf, size_t n)
{
        const char *p = buf;

        while (n) {
                ssize_t done = send(client, p, n, MSG_NOSIGNAL);

                if (done <= 0)
                        return false;
                p += done;
                n -= (size_t)done;
        }
        return true;
}

static bool put16(uint16_t v)
{
        v = htobe16(v);
        return put(&v, sizeof v);
}

static bool put32(uint32_t v)
{
        v = htobe32(v);
        return put(&v, sizeof v);
}

static bool put64(uint64_t v)
{
        v = htobe64(v);
        return put(&v, sizeof v);
}

static bool get32(uint32_t *v)
{
        bool ok = get(v, sizeof *v);

        *v = be32toh(*v);
        return ok;
}

/* ---- the handshake ---- */

static bool reply(uint32_t option, uint32_t type, uint32_t len)
{
        return put64(OPTION_REPLY) && put32(option) && put32(type) && put32(len);
}

static bool offer(uint32_t option)
{
        uint16_t flags = 1 | (told.readonly ? 2 : 0) | (told.noflush ? 0 : 4) |
                         (told.nofua ? 0 : 8) | 32 | 64;

        if (!reply(option, 3, 12) || !put16(0) || !put64(size) || !put16(flags))
                return false;
        if (told.min && (!reply(option, 3, 14) || !put16(3) || !put32(told.min) ||
                         !put32(told.min > 4096 ? told.min : 4096) || !put32(told.max)))
                return false;
        return reply(option, 1, 0);
}

/* True: the export has been chosen. */
static bool negotiate(void)
{
        uint32_t flags, option, len, name_len;
        uint64_t magic;
        char data[8192];

        if (!put("NBDMAGICIHAVEOPT", 16) || !put16(3) || !get32(&flags))
                return false;
        while (get(&magic, 8) && get32(&option) && get32(&len) && len < sizeof data &&
               get(data, len)) {
                bool ok = true;

                if (option == 8) {
                        structured = told.holes || told.twice || told.backwards;
                        ok = reply(option, structured ? 1 : ERR(1), 0);
                } else if (option == 7 && len >= 6) {
                        memcpy(&name_len, data, 4);
                        name_len = be32toh(name_len);
                        if (!name_len || (name_len == 4 && !memcmp(data + 4, "disk", 4)))
                                return offer(option);
                        ok = reply(option, ERR(6), 0);
                } else if (option == 2) {
                        reply(option, 1, 0);
                        return false;
                } else {
                        ok = reply(option, ERR(1), 0);
                }
                if (!ok)
                        return false;
        }
        return false;
}

/* ---- commands ---- */

struct request {
        uint32_t magic;
        uint16_t flags, type;
        uint64_t handle, offset;
        uint32_t len;
} __attribute__((packed));

static bool answer(const struct request *r, uint32_t error)
{
        if (!structured)
                return put32(SIMPLE) && put32(error) && put(&r->handle, 8);
        return put32(STRUCTURED) && put16(1) && put16(error ? 32769 : 0) && put(&r->handle, 8) &&
               (error ? put32(6) && put32(error) && put16(0) : put32(0));
}

static bool piece(const struct request *r, uint64_t offset, uint32_t len)
{
        return put32(STRUCTURED) && put16(0) && put16(1) && put(&r->handle, 8) && put32(len + 8) &&
               put64(offset) && put(cache + offset, len);
}

static bool answer_read(const struct request *r)
{
        uint32_t half = r->len / 2 & ~511u, rest = r->len - half;

        if (told.truncated) {
                answer(r, 0);
                put(cache + r->offset, r->len / 2);
                return false;
        }
        if (!structured)
                return answer(r, 0) && put(cache + r->offset, r->len);
        if (told.backwards)
                return piece(r, r->offset + half, rest) && (!half || piece(r, r->offset, half)) &&
                       answer(r, 0);
        if (told.twice)
                return piece(r, r->offset + half, rest) && piece(r, r->offset + half, rest) &&
                       answer(r, 0);
        return piece(r, r->offset + half, rest) && answer(r, 0);
}

static void change(uint64_t offset, uint32_t len, bool durable)
{
        if (durable) {
                if (pwrite(file_fd, cache + offset, len, (off_t)offset) != (ssize_t)len)
                        abort();
        } else {
                memset(dirty + offset / 512, 1, (len + 511) / 512 + 1);
        }
}

static void flush(void)
{
        for (uint64_t i = 0; i * 512 < size; i++) {
                uint64_t n = size - i * 512 < 512 ? size - i * 512 : 512;

                if (dirty[i] && pwrite(file_fd, cache + i * 512, n, (off_t)(i * 512)) != (ssize_t)n)
                        abort();
                dirty[i] = 0;
        }
}

static bool is_bad(const struct request *r)
{
        if (r->type == CMD_FLUSH || r->type == CMD_DISC)
                return false;
        if (r->offset > size || r->len > size - r->offset || r->len > MAX_LEN)
                return true;
        return (told.min && (r->offset | r->len) & (told.min - 1)) ||
               (told.max && r->len > told.max && r->type <= CMD_WRITE);
}

/* False: the connection ends. */
static bool serve(const struct request *r)
{
        bool fua = r->flags & 1;

        if (r->type == CMD_DISC)
                return false;
        if (is_bad(r))
                return r->type == CMD_WRITE ? false : answer(r, EINVAL);
        if (r->type == CMD_WRITE && !get(cache + r->offset, r->len))
                return false;
        if (told.deaf || (told.deaf_writes && r->type != CMD_READ && r->type != CMD_FLUSH))
                return true;
        switch (r->type) {
        case CMD_READ:
                return answer_read(r);
        case CMD_ZEROES:
        case CMD_WRITE:
                if (told.readonly)
                        return answer(r, EPERM);
                if (r->type == CMD_ZEROES)
                        memset(cache + r->offset, 0, r->len);
                change(r->offset, r->len, fua || !told.is_volatile);
                return answer(r, 0);
        case CMD_FLUSH:
                if (told.flush_fails)
                        return answer(r, EIO);
                flush();
                return answer(r, 0);
        default:
                return answer(r, r->type == CMD_TRIM ? 0 : EINVAL);
        }
}

static void serve_client(void)
{
        static long commands;
        struct request r;

        if (told.mute)
                pause();
        if (told.garbage) {
                put("HTTP/1.1 400 Bad Request\r\nServer: none\r\n\r\n", 42);
                return;
        }
        if (!negotiate())
                return;
        while (get(&r, sizeof r) && be32toh(r.magic) == REQUEST) {
                r.flags = be16toh(r.flags);
                r.type = be16toh(r.type);
                r.offset = be64toh(r.offset);
                r.len = be32toh(r.len);
                if (told.die && r.type != CMD_DISC && ++commands == told.die)
                        _exit(1);
                if (!serve(&r))
                        return;
        }
}

/* One life of the server: what it has in memory goes with it. */
static void live(int listener)
{
        struct stat st;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fstat(file_fd, &st))
                exit(1);
        if (!size)
                size = (uint64_t)st.st_size;
        cache = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        dirty = calloc(size / 512 + 16, 1);
        if (cache == MAP_FAILED || !dirty || pread(file_fd, cache, size, 0) != (ssize_t)size)
                exit(1);
        while ((client = accept(listener, NULL, NULL)) >= 0) {
                serve_client();
                close(client);
        }
        exit(1);
}

static bool hear(const char *word)
{
        const struct {
                const char *word;
                bool *flag;
        } words[] = {
                { "garbage", &told.garbage },
                { "mute", &told.mute },
                { "deaf", &told.deaf },
                { "deaf-writes", &told.deaf_writes },
                { "truncated", &told.truncated },
                { "holes", &told.holes },
                { "twice", &told.twice },
                { "backwards", &told.backwards },
                { "volatile", &told.is_volatile },
                { "flush-fails", &told.flush_fails },
                { "shrink", &told.shrink },
                { "noflush", &told.noflush },
                { "nofua", &told.nofua },
                { "readonly", &told.readonly },
                { "once", &told.once },
        };

        for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
                if (!strcmp(word, words[i].word))
                        return *words[i].flag = true;
        return sscanf(word, "die=%ld", &told.die) == 1 ||
               sscanf(word, "deaths=%ld", &told.deaths) == 1 ||
               sscanf(word, "late=%ld", &told.late) == 1 ||
               sscanf(word, "min=%u", &told.min) == 1 || sscanf(word, "max=%u", &told.max) == 1;
}

/* The name is there once clients are taken: tests wait for it. */
static int make_listener(const char *path)
{
        struct sockaddr_un addr = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        snprintf(addr.sun_path, sizeof addr.sun_path, "%s.new", path);
        if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 8) ||
            rename(addr.sun_path, path)) {
                perror(path);
                exit(1);
        }
        return fd;
}

int main(int argc, char **argv)
{
        int listener;
        pid_t child;

        if (argc < 3)
                return 2;
        for (int i = 3; i < argc; i++)
                if (!hear(argv[i]))
                        return 2;
        file_fd = open(argv[2], told.readonly ? O_RDONLY : O_RDWR);
        if (file_fd < 0)
                return 1;
        listener = make_listener(argv[1]);
        for (;;) {
                struct stat st;

                child = fork();
                if (!child)
                        live(listener);
                if (child < 0 || waitpid(child, NULL, 0) != child)
                        return 1;
                if (told.once)
                        return 0;
                if (--told.deaths <= 0)
                        told.die = 0;
                if (told.shrink && !fstat(file_fd, &st))
                        size = (size ? size : (uint64_t)st.st_size) - 4096;
                usleep((useconds_t)told.late * 1000);
        }
}
