/* SPDX-License-Identifier: Apache-2.0
 *
 * options.c - the command line: options all commands share, and a command's own.
 *
 * `--name VALUE` and `--name=VALUE`; `--` ends the options; they may stand before or after the
 * operands. Each common option has an environment twin, FAULTLINE_NAME, read first.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define SPIN_ON 50000u /* ns: about what waking an idle core costs */
#define NR_COMMON 22

static void common_options(struct options *o, struct option_spec spec[NR_COMMON + 1])
{
        const char *policies = o->command ? o->command->policies : NULL;
        const struct option_spec all[NR_COMMON + 1] = {
                { "cache", OPTION_SIZE, &o->cache, NULL, 64 * PAGE_SIZE },
                { "policy", OPTION_CHOICE, &o->policy,
                  policies ? policies : "adaptive|linux|linux-5.13|solaris|solaris-book", 0 },
                { "mmu", OPTION_CHOICE, &o->mmu, "auto|uffd|sigbus|sigsegv", 0 },
                { "driver", OPTION_CHOICE, &o->driver, "auto|uring|posix", 0 },
                { "tune", OPTION_STRING, &o->tune, NULL, 0 },
                { "elevator", OPTION_CHOICE, &o->elevator, "deadline|none", 0 },
                { "readahead", OPTION_SIZE, &o->readahead, NULL, PAGE_SIZE },
                { "pagesize", OPTION_SIZE, &o->pagesize, NULL, 0 },
                { "error", OPTION_CHOICE, &o->error, "sigbus|zero|retry", 0 },
                { "fork", OPTION_CHOICE, &o->fork, "dontfork|inherit", 0 },
                { "faults", OPTION_STRING, &o->faults, NULL, 0 },
                { "swap", OPTION_STRING, &o->swap, NULL, 0 },
                { "trace", OPTION_STRING, &o->trace, NULL, 0 },
                { "metrics", OPTION_STRING, &o->metrics, NULL, 0 },
                { "publish", OPTION_CHOICE, &o->publish, "on|off", 0 },
                { "spin", OPTION_SPIN, &o->spin, NULL, 0 },
                { "pagers", OPTION_COUNT, &o->pagers, NULL, 0 },
                { "perturb", OPTION_COUNT, &o->perturb, NULL, 0 },
                { "watchdog", OPTION_TIME, &o->watchdog, NULL, 1 },
                { "stats", OPTION_FLAG, &o->stats, NULL, 0 },
                { "json", OPTION_FLAG, &o->json, NULL, 0 },
                { "help", OPTION_FLAG, &o->help, NULL, 0 },
        };

        memcpy(spec, all, sizeof(all));
}

bool parse_count(const char *text, uint64_t *out)
{
        char *end;

        if (!isdigit((unsigned char)*text))
                return false;
        errno = 0;
        *out = strtoull(text, &end, 10);
        return !errno && !*end;
}

/* "on", "off", or a time with its unit. */
static bool parse_spin(const char *text, uint64_t *out)
{
        if (!strcmp(text, "on") || !strcmp(text, "off")) {
                *out = text[1] == 'n' ? SPIN_ON : 0;
                return true;
        }
        return take_time(&text, out) && !*text;
}

static bool is_choice(const char *choices, const char *text)
{
        size_t length = strlen(text);

        for (const char *c = choices; c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
                if (length && strcspn(c, "|") == length && !strncmp(c, text, length))
                        return true;
        return false;
}

static bool list_add(struct string_list *list, const char *text)
{
        const char **grown = realloc(list->item, (list->count + 1) * sizeof(*grown));

        if (!grown)
                return false;
        grown[list->count++] = text;
        list->item = grown;
        return true;
}

void string_list_free(struct string_list *list)
{
        free(list->item);
        *list = (struct string_list){ 0 };
}

/* `shown` is the option as the user wrote it: --cache or FAULTLINE_CACHE. */
static int set_value(const struct options *o, const struct option_spec *spec, const char *shown,
                     const char *text)
{
        uint64_t *number = spec->value;

        switch (spec->kind) {
        case OPTION_FLAG:
                *(bool *)spec->value = true;
                return 0;
        case OPTION_STRING:
                if (!*text)
                        return fail_usage(o, "%s: needs a value", shown);
                *(const char **)spec->value = text;
                return 0;
        case OPTION_CHOICE:
                if (!is_choice(spec->choices, text))
                        return fail_usage(o, "%s %s: must be one of %s", shown, text,
                                          spec->choices);
                *(const char **)spec->value = text;
                return 0;
        case OPTION_LIST:
                if (!list_add(spec->value, text))
                        return fail_usage(o, "%s: %s", shown, strerror(ENOMEM));
                return 0;
        case OPTION_TIME:
                if (!take_time(&text, number) || *text)
                        return fail_usage(o, "%s: must be a time such as 500ms or 2s", shown);
                break;
        case OPTION_SPIN:
                if (!parse_spin(text, number))
                        return fail_usage(o, "%s %s: must be on, off or a time such as 50us", shown,
                                          text);
                return 0;
        case OPTION_SIZE:
                if (!parse_size(text, number))
                        return fail_usage(o, "%s %s: is not a size such as 4096, 64M or 1G", shown,
                                          text);
                break;
        case OPTION_COUNT:
                if (!parse_count(text, number))
                        return fail_usage(o, "%s %s: is not a number", shown, text);
                break;
        }
        if (*number < spec->least) {
                char least[TEXT_MAX];

                if (spec->kind == OPTION_SIZE)
                        text_bytes(least, spec->least);
                else
                        text_count(least, spec->least);
                return fail_usage(o, "%s %s: must be at least %s", shown, text, least);
        }
        return 0;
}

static const struct option_spec *find_option(const struct option_spec *spec, const char *name,
                                             size_t length)
{
        for (; spec && spec->name; spec++)
                if (!strncmp(spec->name, name, length) && !spec->name[length])
                        return spec;
        return NULL;
}

static void environment_name(const char *option, char name[40])
{
        int n = snprintf(name, 40, "FAULTLINE_%s", option);

        for (int i = 0; i < n; i++)
                name[i] = (char)toupper((unsigned char)name[i]);
}

static int read_environment(struct options *o, const struct option_spec *common)
{
        for (; common->name; common++) {
                char name[40];
                const char *text;
                int status;

                if (!strcmp(common->name, "help"))
                        continue;
                environment_name(common->name, name);
                text = getenv(name);
                if (!text || !*text)
                        continue;
                if (common->kind == OPTION_FLAG && (!strcmp(text, "0") || !strcmp(text, "off")))
                        continue;
                status = set_value(o, common, name, text);
                if (status)
                        return status;
        }
        return 0;
}

/* One option at argv[*i]; moves *i past its value. */
static int parse_one(struct options *o, const struct option_spec *common,
                     const struct option_spec *own, int argc, char **argv, int *i)
{
        const char *argument = strcmp(argv[*i], "-h") ? argv[*i] : "--help";
        const char *name = argument + (argument[1] == '-' ? 2 : 1), *text = strchr(name, '=');
        size_t length = text ? (size_t)(text - name) : strlen(name);
        const struct option_spec *spec = NULL;
        char shown[64];

        if (length && (argument[1] == '-') == (length > 1)) {
                spec = find_option(common, name, length);
                if (!spec)
                        spec = find_option(own, name, length);
        }
        if (!spec)
                return fail_usage(o, "%s: unknown option", argument);
        snprintf(shown, sizeof(shown), "%s%s", length > 1 ? "--" : "-", spec->name);
        if (spec->kind == OPTION_FLAG) {
                if (text)
                        return fail_usage(o, "%s: takes no value", shown);
                return set_value(o, spec, shown, "");
        }
        if (!text) {
                if (*i + 1 >= argc)
                        return fail_usage(o, "%s: needs a value", shown);
                return set_value(o, spec, shown, argv[++*i]);
        }
        return set_value(o, spec, shown, text + 1);
}

int options_parse_leading(struct options *o, int argc, char **argv, int *next)
{
        struct option_spec common[NR_COMMON + 1] = { 0 };
        int status, i;

        common_options(o, common);
        status = read_environment(o, common);
        for (i = 1; !status && i < argc && argv[i][0] == '-'; i++) {
                if (!strcmp(argv[i], "--")) {
                        i++;
                        break;
                }
                status = parse_one(o, common, NULL, argc, argv, &i);
        }
        *next = i;
        return status;
}

int options_parse(struct options *o, const struct option_spec *own, int *argc, char **argv)
{
        struct option_spec common[NR_COMMON + 1] = { 0 };
        bool only_operands = false;
        int operands = 1, status = 0;

        common_options(o, common);
        for (int i = 1; !status && i < *argc; i++) {
                if (!only_operands && !strcmp(argv[i], "--"))
                        only_operands = true;
                else if (only_operands || argv[i][0] != '-' || !argv[i][1])
                        argv[operands++] = argv[i];
                else
                        status = parse_one(o, common, own, *argc, argv, &i);
        }
        *argc = operands;
        return status;
}

int options_parse_one(struct options *o, const struct option_spec *own, int argc, char **argv,
                      const char *what, const char **operand)
{
        int status = options_parse(o, own, &argc, argv);

        *operand = NULL;
        if (status)
                return status;
        if (o->help)
                return print_command_help(o->command);
        if (argc != 2)
                return fail_usage(o, argc < 2 ? "no %s given" : "one %s, please", what);
        *operand = argv[1];
        return 0;
}

int options_parse_uri(struct options *o, const struct option_spec *own, int argc, char **argv,
                      const char **uri)
{
        return options_parse_one(o, own, argc, argv, "URI", uri);
}

void options_to_environment(const struct options *o)
{
        struct options copy = *o;
        struct option_spec common[NR_COMMON + 1] = { 0 };

        common_options(&copy, common);
        for (const struct option_spec *spec = common; spec->name; spec++) {
                char name[40], text[32];

                environment_name(spec->name, name);
                if (spec->kind == OPTION_STRING || spec->kind == OPTION_CHOICE) {
                        const char *value = *(const char **)spec->value;

                        if (value)
                                setenv(name, value, 1);
                } else if (spec->kind == OPTION_SIZE || spec->kind == OPTION_SPIN ||
                           spec->kind == OPTION_TIME || spec->kind == OPTION_COUNT) {
                        uint64_t value = *(uint64_t *)spec->value;

                        snprintf(text, sizeof(text), "%" PRIu64 "%s", value,
                                 spec->kind == OPTION_SPIN || spec->kind == OPTION_TIME ? "ns"
                                                                                        : "");
                        if (value)
                                setenv(name, text, 1);
                } else {
                        unsetenv(name);
                }
        }
}
