/* SPDX-License-Identifier: Apache-2.0
 *
 * cli.h - what the commands of `faultline` share.
 *
 * Interface:
 *   - a command is one `struct command` in a file of its own, listed in main.c;
 *   - options.c parses the options all have in common, and a command's own, into plain variables;
 *   - output.c is the only place that writes messages, progress and counters;
 *   - guard.c turns a SIGBUS on mapped memory into an error.
 * Exit status: 0 done, 1 failed, 2 used wrongly. An error is one line on stderr:
 * `faultline: URI: what was tried: reason`.
 */
#ifndef FAULTLINE_CLI_H
#define FAULTLINE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <faultline/faultline.h>

#include "util/base.h"
#include "util/quantity.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* ---- options.c ---- */

/* The options every command takes; 0 or NULL: not given. */
struct options {
        uint64_t cache, readahead, pagesize, spin, pagers, perturb, watchdog;
        const char *mmu, *policy, *driver, *elevator, *error, *faults, *fork, *trace, *swap, *tune;
        const char *metrics, *publish;
        bool stats, json, help;
        const struct command *command;
};

enum option_kind {
        OPTION_FLAG,   /* bool */
        OPTION_STRING, /* const char * */
        OPTION_SIZE,   /* uint64_t, bytes: 64M */
        OPTION_COUNT,  /* uint64_t: 200000 */
        OPTION_SPIN,   /* uint64_t, ns: on, off, 50us */
        OPTION_TIME,   /* uint64_t, ns: 2s */
        OPTION_CHOICE, /* const char *, one of `choices` ("auto|uffd") */
        OPTION_LIST,   /* struct string_list: may be given several times */
};

struct string_list {
        const char **item;
        size_t count;
};

struct option_spec {
        const char *name; /* without the dashes: two, or one before a letter; NULL ends the table */
        enum option_kind kind;
        void *value;
        const char *choices;
        uint64_t least; /* smallest size or count allowed */
};

/* Reads the environment, then argv[1..]; `own` may be NULL. What is no option is put, in order,
 * at the front of argv + 1; *argc is 1 + their number. 0, or EXIT_USAGE, having said why. */
int options_parse(struct options *o, const struct option_spec *own, int *argc, char **argv);
/* The same for a command with one operand; what: in a word. *operand is NULL if there is nothing more
 * to do: the exit status is what is returned. */
int options_parse_one(struct options *o, const struct option_spec *own, int argc, char **argv,
                      const char *what, const char **operand);
int options_parse_uri(struct options *o, const struct option_spec *own, int argc, char **argv,
                      const char **uri);
/* The options that stand before the command's name: argv[*next] is then the name. */
int options_parse_leading(struct options *o, int argc, char **argv, int *next);
/* Puts every common option that is set into the environment, for a process to be started. */
void options_to_environment(const struct options *o);
void string_list_free(struct string_list *list);

bool parse_count(const char *text, uint64_t *out);

/* ---- main.c ---- */

struct command {
        const char *name, *summary;
        const char *help;     /* printed after the usage line, ends with examples */
        const char *policies; /* what --policy may be; NULL: what an engine may have */
        int (*run)(struct options *, int argc, char **argv);
};

extern const struct command command_cat, command_ls, command_put, command_touch, command_explain,
        command_bench, command_doctor, command_replay, command_export, command_report, command_stat,
        command_top;

int print_command_help(const struct command *command);

/* ---- output.c ---- */

/* `faultline: URI: what: reason`; reason may be a format. Returns EXIT_FAILED. */
int fail(const char *uri, const char *what, const char *reason, ...)
        __attribute__((format(printf, 3, 4)));
/* `faultline: ` and the library's sentence of the call that just failed. EXIT_FAILED. */
int fail_library(void);
/* `faultline: cat: ... (see faultline cat --help)`. Returns EXIT_USAGE. */
int fail_usage(const struct options *o, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* A bar on stderr, when that is a terminal and the work lasts. Any thread, one at a time. */
struct progress {
        const char *what;
        uint64_t total, shown_at, started;
        bool enabled, drawn;
};
void progress_begin(struct progress *p, const char *what, uint64_t total);
void progress_show(struct progress *p, uint64_t done);
void progress_end(struct progress *p);

/* Text for people, in a buffer of the caller's of at least TEXT_MAX bytes, which they return. */
#define TEXT_MAX 48
const char *text_bytes(char *buf, uint64_t bytes);
const char *text_time(char *buf, uint64_t ns);
const char *text_count(char *buf, uint64_t n);

struct json_t;
/* All counters as an object with the keys of --stats --json. NULL: no memory. */
struct json_t *stats_json(const struct fl_stats *stats);
/* One line, and frees the object. False: could not be written. */
bool print_json(FILE *stream, struct json_t *object);
/* What --stats asks for, on stderr; nothing if it was not asked for. */
void print_stats(const struct options *o, struct fl_engine *engine);
/* The same as lines `key value`. */
void print_stats_lines(FILE *stream, const struct fl_stats *stats);

/* ---- session.c: an engine and one file ---- */

struct session {
        const struct options *options;
        const char *uri;
        struct fl_engine *engine;
        struct fl_file *file;
        uint64_t size; /* of the file, when it was opened */
};

/* All return 0 or EXIT_FAILED, having said why. */
int session_open(struct session *s, const struct options *o, const char *uri, int flags,
                 const struct fl_file_config *config);
/* Without a file. */
int session_open_engine(struct session *s, const struct options *o, const char *uri);
/* Without a file, for `size` bytes of memory. */
int session_open_anon(struct session *s, const struct options *o, uint64_t size);
/* Looks at the size again. */
int session_refresh(struct session *s);
/* Prints --stats, closes what is open. Call it on every path; `status` is what has happened so
 * far, and is returned unless closing fails. */
int session_close(struct session *s, int status);
/* Why the page at `offset` could not be touched, as far as the file can still tell. */
const char *session_reason(struct session *s, uint64_t offset, bool private_store);

#endif
