/* SPDX-License-Identifier: Apache-2.0
 *
 * top_screen.c - `faultline top` on a terminal, by ncurses.
 */
#include <curses.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "top.h"

#define STEP 2 /* + and - double and halve */
#define EVERY_LEAST 100000000ull
#define EVERY_MOST 3600000000000ull

const bool top_has_screen = true;

static const char *const help[] = {
        "faultline top - keys",
        "",
        "  q         end",
        "  h ?       this text; any key leaves it",
        "  space     look again now",
        "  s         engines in the order of faults, of latency (P99), of cache",
        "  + -       twice as long between looks, half as long",
        "",
        "  MAJ/s MIN/s   major and minor faults a second",
        "  P50 P99       half of the faults, and 99 of 100, took no longer",
        "  RD/s WR/s     bytes that drivers moved",
        "  CACHE OF      memory in use, and the limit",
        "  DIRTY WRBACK  stored to and not written yet; being written",
        "  QUE DEV WAIT  requests that wait, requests at the device, faults that wait",
};

static const char *const order_names[TOP_ORDERS] = { "faults", "latency", "cache" };

static void draw_line(int row, const char *text, attr_t how)
{
        attrset(how);
        move(row, 0);
        clrtoeol();
        if (how & A_REVERSE) /* to the edge */
                mvhline(row, 0, ' ' | how, COLS);
        mvaddnstr(row, 0, text, -1);
        attrset(A_NORMAL);
}

static void draw_help(void)
{
        erase();
        for (int i = 0; i < (int)ARRAY_SIZE(help) && i < LINES; i++)
                draw_line(i, help[i], i ? A_NORMAL : A_BOLD);
        refresh();
}

static bool draw(const struct top *t)
{
        static const attr_t how[] = {
                [TOP_PLAIN] = A_NORMAL, [TOP_TITLE] = A_BOLD, [TOP_HEADER] = A_REVERSE
        };
        struct top_lines lines;
        int row = 0;

        if (!top_lines(t, LINES > 1 ? (size_t)LINES - 1 : 1, &lines))
                return false;
        erase();
        for (; row < (int)lines.count && row < LINES - 1; row++)
                draw_line(row, lines.line[row].text, how[lines.line[row].kind]);
        free(lines.line);
        attrset(A_DIM);
        mvprintw(LINES - 1, 0, "q end  h help  s order: %s  +/- delay", order_names[t->order]);
        attrset(A_NORMAL);
        refresh();
        return true;
}

/* What a key does. False: the end. *look: ask the engines again. */
static bool obey(struct top *t, int key, bool *help_shown, bool *look)
{
        *look = false;
        if (*help_shown && key != ERR && key != KEY_RESIZE) {
                *help_shown = false;
                return true;
        }
        switch (key) {
        case 'q':
        case 'Q':
                return false;
        case 'h':
        case 'H':
        case '?':
                *help_shown = true;
                break;
        case 's':
                t->order = (t->order + 1) % TOP_ORDERS;
                *look = true;
                break;
        case '+':
                t->every = min_u64(t->every * STEP, EVERY_MOST);
                break;
        case '-':
                t->every = max_u64(t->every / STEP, EVERY_LEAST);
                break;
        case ' ':
        case ERR: /* its time has come */
                *look = true;
                break;
        default: /* KEY_RESIZE too: it is drawn again */
                break;
        }
        return true;
}

static int show(struct top *t, uint64_t times)
{
        bool help_shown = false, look = true;
        uint64_t next = 0;

        for (uint64_t frames = 0;;) {
                uint64_t now = now_ns();

                if (look || now >= next) {
                        if (times && frames++ == times)
                                return EXIT_DONE;
                        if (!top_sample(t))
                                return EXIT_FAILED;
                        next = now_ns() + t->every;
                }
                if (help_shown)
                        draw_help();
                else if (!draw(t))
                        return EXIT_FAILED;
                now = now_ns();
                timeout(now < next ? (int)((next - now) / 1000000 + 1) : 0);
                if (!obey(t, getch(), &help_shown, &look))
                        return EXIT_DONE;
        }
}

int top_screen(struct top *t, uint64_t times)
{
        SCREEN *screen = newterm(NULL, stdout, stdin);
        int status;

        if (!screen)
                return fail(NULL, "top", "the terminal ($TERM) is not known; use -b");
        cbreak();
        noecho();
        nonl();
        keypad(stdscr, TRUE);
        curs_set(0);
        status = show(t, times);
        endwin();
        delscreen(screen);
        return status ? fail(NULL, "top", "%s", strerror(ENOMEM)) : status;
}
