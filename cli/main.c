/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - `faultline COMMAND`: the table of commands, and help.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"

#ifndef FAULTLINE_VERSION
#define FAULTLINE_VERSION "unknown"
#endif

static const struct command *const commands[] = {
        &command_cat,     &command_ls,     &command_put,    &command_touch,
        &command_explain, &command_bench,  &command_doctor, &command_replay,
        &command_export,  &command_report, &command_stat,   &command_top,
};

#define NR_COMMANDS (sizeof(commands) / sizeof(*commands))

static const char common_help[] =
        "Options of every command (each has an environment twin: FAULTLINE_CACHE, ...):\n"
        "  --cache SIZE       hard limit of the page cache; at least 256K (K, M, G)\n"
        "  --policy adaptive|linux|linux-5.13|solaris|solaris-book\n"
        "                              what decides read-ahead, write-back and reclaim\n"
        "  --tune NAME=N,...  parameters of the policy solaris, by their names there\n"
        "  --mmu auto|uffd|sigbus|sigsegv   how page faults are taken\n"
        "  --driver auto|uring|posix   how host files are read and written\n"
        "  --elevator deadline|none    the order in which requests go to a device\n"
        "  --pagesize SIZE    of a page of the policy's: 8K is solaris's own, 4K that of others\n"
        "  --readahead SIZE   largest read-ahead window; 4K reads single pages\n"
        "  --error sigbus|zero|retry   what follows when a page cannot be had\n"
        "  --fork dontfork|inherit     what a forked child gets of the mappings\n"
        "  --faults SPEC      make I/O fail: eio@OFF+LEN[*COUNT],enospc@OFF+LEN,delay=TIME,\n"
        "                     short@OFF+LEN[*COUNT],powercut=N,torn,seed=N\n"
        "  --trace FILE       write every event of every layer to FILE\n"
        "  --metrics WHERE    figures for Prometheus: FILE, unix:PATH, HOST:PORT or PORT "
        "(127.0.0.1)\n"
        "  --publish on|off   let faultline top and stat of the same user ask the engine (on)\n"
        "  --spin on|off|TIME poll this long before sleeping\n"
        "  --pagers N         threads that serve faults (1)\n"
        "  --swap PATH[:SIZE] where private pages go when the cache is full (off)\n"
        "  --watchdog TIME    report each page fault that waits longer than this\n"
        "  --perturb SEED     for tests: random sleeps where threads may race\n"
        "  --stats            print all counters to stderr at the end\n"
        "  --json             numbers as one JSON object\n"
        "  --help             this text; with a command, its own\n"
        "\n"
        "A URI is PATH, file:PATH, ram:SIZE, nbd://HOST[:PORT]/EXPORT,\n"
        "nbd+unix:///EXPORT?socket=PATH, or DEV#/path after ext4: or squashfs: for a file in an\n"
        "image, where DEV is one of these too (faultline(7)).\n"
        "Exit status: 0 done, 1 failed, 2 used wrongly.\n";

static int print_help(void)
{
        fputs("faultline - memory-mapped I/O with a budget, a policy and an error path of its own\n"
              "\n"
              "Usage: faultline COMMAND [OPTIONS] ARGUMENTS\n"
              "\n"
              "Commands:\n",
              stdout);
        for (size_t i = 0; i < NR_COMMANDS; i++)
                printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
        fputs("\n", stdout);
        fputs(common_help, stdout);
        fputs("\n"
              "Start here:\n"
              "  faultline explain FILE          one page fault, layer by layer\n"
              "  faultline cat FILE | sha256sum  a whole file through a mapping\n"
              "  faultline doctor                what this machine allows\n"
              "  faultline touch --help          the rest by example\n",
              stdout);
        return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

int print_command_help(const struct command *command)
{
        printf("faultline %s - %s\n\nUsage: faultline %s\n", command->name, command->summary,
               command->help);
        fputs("\n", stdout);
        fputs(common_help, stdout);
        return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

int main(int argc, char **argv)
{
        struct options options = { 0 };
        int next, status;

        status = options_parse_leading(&options, argc, argv, &next);
        if (status)
                return status;
        if (next >= argc) {
                if (options.help)
                        return print_help();
                return fail_usage(&options, "no command given");
        }
        if (!strcmp(argv[next], "help")) {
                options.help = true;
                if (++next >= argc)
                        return print_help();
        }
        if (!strcmp(argv[next], "version")) {
                puts("faultline " FAULTLINE_VERSION);
                return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
        }
        for (size_t i = 0; i < NR_COMMANDS; i++) {
                if (strcmp(argv[next], commands[i]->name))
                        continue;
                options.command = commands[i];
                if (options.help)
                        return print_command_help(commands[i]);
                return commands[i]->run(&options, argc - next, argv + next);
        }
        return fail_usage(&options, "%s: unknown command", argv[next]);
}
