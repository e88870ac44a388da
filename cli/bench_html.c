/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_html.c - the document of a run as one page that needs nothing else: no network, no script.
 *
 * Every plot is an inline SVG with a title and a description; the same figures stand in real
 * tables. Colours follow the reader's light or dark setting and are never the only sign.
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "bench.h"

#define LEFT 190    /* where bars begin */
#define LONGEST 330 /* of a bar, with its whisker */
#define WIDTH 760
#define LINE 26

static const char style[] =
        ":root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--line:#d0d7de;"
        "--ours:#0a5fb4;--beside:#8a4b08;--other:#8c959f}\n"
        "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b3;--paper:#0d1117;"
        "--line:#30363d;--ours:#58a6ff;--beside:#e3a04b;--other:#6e7681}}\n"
        "body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
        "max-width:60rem;margin:0 auto;padding:1rem}\n"
        "h1{line-height:1.2}h2{margin-top:2.5rem;border-top:1px solid var(--line);"
        "padding-top:1rem}\n"
        "figure{margin:1rem "
        "0}figcaption{color:var(--soft)}figure{overflow-x:auto}svg{width:100%;min-width:36rem;"
        "height:auto}\n"
        "svg text{font:13px system-ui,sans-serif;fill:var(--ink)}\n"
        ".ours{fill:var(--ours)}.beside{fill:var(--beside)}.other{fill:var(--other)}\n"
        ".rule{stroke:var(--line)}.one{stroke:var(--ink);stroke-dasharray:4 3}"
        ".whisker{stroke:var(--ink);stroke-width:1.5}\n"
        ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}"
        "caption{text-align:left;color:var(--soft);padding:.3rem 0}\n"
        "th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid var(--line);"
        "font-variant-numeric:tabular-nums}th:first-child,td.text{text-align:left}\n"
        "a{color:var(--ours)}:focus-visible{outline:3px solid var(--ours);outline-offset:2px}\n"
        ".skip{position:absolute;left:-100rem}.skip:focus{position:static}\n"
        "nav ul{columns:3 11rem;padding-left:1.2rem}\n";

static void put_text(FILE *out, const char *text)
{
        for (; *text; text++) {
                switch (*text) {
                case '&':
                        fputs("&amp;", out);
                        break;
                case '<':
                        fputs("&lt;", out);
                        break;
                case '>':
                        fputs("&gt;", out);
                        break;
                case '"':
                        fputs("&quot;", out);
                        break;
                default:
                        fputc(*text, out);
                }
        }
}

static void put_name(FILE *out, const json_t *row)
{
        put_text(out, bench_string(row, "name"));
        if (bench_is(row, "busy"))
                fputs("+busy", out);
}

static bool counts_bytes(const json_t *row)
{
        return !strcmp(bench_string(row, "per_second"), "bytes");
}

static double ratio_of(const json_t *row)
{
        return bench_number(row, "ratio_permille") / 1000;
}

static const char *class_of(const json_t *row, const json_t *side)
{
        const char *key = bench_string(side, "side");

        if (!strcmp(key, "faultline"))
                return "ours";
        return strcmp(key, bench_string(row, "beside")) ? "other" : "beside";
}

/* ---- the ratios of all rows, on a logarithmic scale around 1 ---- */

/* From the power of ten that no ratio is below to 10; what is above that has the number only. */
struct axis {
        double low; /* its exponent */
};

static struct axis axis_of(const json_t *rows)
{
        struct axis axis = { .low = -1 };

        for (size_t i = 0; i < json_array_size(rows); i++) {
                const json_t *row = json_array_get(rows, i);
                double ratio = ratio_of(row);

                while (bench_is(row, "comparable") && ratio > 0 && axis.low > -6 &&
                       log10(ratio) < axis.low)
                        axis.low--;
        }
        return axis;
}

static double ratio_x(struct axis axis, double ratio)
{
        double at = ratio > 0 ? log10(ratio) : axis.low;

        at = at < axis.low ? axis.low : at > 1 ? 1 : at;
        return LEFT + (at - axis.low) / (1 - axis.low) * (WIDTH - LEFT - 90);
}

static void ratio_bar(FILE *out, struct axis axis, const json_t *row, unsigned y)
{
        double ratio = ratio_of(row), one = ratio_x(axis, 1), x = ratio_x(axis, ratio);
        double floor = ratio_x(axis, bench_number(row, "floor_permille") / 1000);

        fprintf(out, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">", LEFT - 8, y + 15);
        put_name(out, row);
        fputs("</text>", out);
        if (!bench_is(row, "comparable")) {
                fprintf(out, "<text x=\"%.1f\" y=\"%u\">not comparable</text>\n", one + 6, y + 15);
                return;
        }
        fprintf(out,
                "<rect class=\"ours\" x=\"%.1f\" y=\"%u\" width=\"%.1f\" height=\"16\"/>"
                "<text x=\"%.1f\" y=\"%u\">%.2f</text>",
                x < one ? x : one, y + 3, fabs(x - one) + 0.5, (x > one ? x : one) + 6, y + 15,
                ratio);
        if (bench_number(row, "floor_permille") > 0)
                fprintf(out,
                        "<line class=\"whisker\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%u\" y2=\"%u\"/>",
                        floor, floor, y, y + 22);
        fputc('\n', out);
}

static void ratio_figure(FILE *out, const json_t *rows)
{
        static const double tick[] = { 0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10 };
        struct axis axis = axis_of(rows);
        unsigned height = (unsigned)json_array_size(rows) * LINE + 30;

        fprintf(out,
                "<figure><svg viewBox=\"0 0 %d %u\" role=\"img\" aria-labelledby=\"t-all d-all\">"
                "<title id=\"t-all\">Ratio of Faultline's rate to that of the side it is compared "
                "with</title><desc id=\"d-all\">One bar a workload from 1 to its ratio, on a "
                "logarithmic scale from %g to 10; the table below has the numbers.</desc>\n",
                WIDTH, height, pow(10, axis.low));
        for (unsigned i = 0; i < sizeof(tick) / sizeof(*tick); i++) {
                double x = ratio_x(axis, tick[i]);

                if (log10(tick[i]) < axis.low - 0.1)
                        continue;
                fprintf(out,
                        "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%u\"/>"
                        "<text x=\"%.1f\" y=\"%u\" text-anchor=\"middle\">%g</text>\n",
                        tick[i] > 0.9 && tick[i] < 1.1 ? "one" : "rule", x, x, height - 24, x,
                        height - 8, tick[i]);
        }
        for (size_t i = 0; i < json_array_size(rows); i++)
                ratio_bar(out, axis, json_array_get(rows, i), (unsigned)i * LINE);
        fputs("</svg><figcaption>To the right of 1 Faultline is faster. A short upright line is "
              "the floor that the row is held to.</figcaption></figure>\n",
              out);
}

static void ratio_table(FILE *out, const json_t *rows)
{
        fputs("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Ratios\"><table>"
              "<caption>Ratios</caption><thead><tr><th scope=\"col\">workload</th>"
              "<th scope=\"col\">ratio</th><th scope=\"col\">floor</th>"
              "<th scope=\"col\">beside</th></tr></thead><tbody>\n",
              out);
        for (size_t i = 0; i < json_array_size(rows); i++) {
                const json_t *row = json_array_get(rows, i);
                double floor = bench_number(row, "floor_permille") / 1000;

                fprintf(out, "<tr><th scope=\"row\"><a href=\"#row-%zu\">", i);
                put_name(out, row);
                fputs("</a></th><td>", out);
                if (bench_is(row, "comparable"))
                        fprintf(out, "%.2f", ratio_of(row));
                else
                        fputs("not comparable", out);
                fputs("</td><td>", out);
                if (floor > 0)
                        fprintf(out, "%.2f, %s", floor, bench_is(row, "met") ? "met" : "missed");
                fputs("</td><td>", out);
                put_text(out, bench_string(row, "beside"));
                fputs("</td></tr>\n", out);
        }
        fputs("</tbody></table></div>\n", out);
}

/* ---- one row ---- */

static double most_of(const json_t *sides)
{
        double most = 1;

        for (size_t i = 0; i < json_array_size(sides); i++) {
                double rate = bench_number(json_array_get(sides, i), "max");

                most = rate > most ? rate : most;
        }
        return most;
}

static void side_bar(FILE *out, const json_t *row, const json_t *side, unsigned y, double most)
{
        char rate[TEXT_MAX], cpu[TEXT_MAX];
        double scale = LONGEST / most, median = bench_number(side, "median") * scale;
        double least = LEFT + bench_number(side, "min") * scale;
        double greatest = LEFT + bench_number(side, "max") * scale;
        bool bytes = counts_bytes(row);

        fprintf(out, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">", LEFT - 8, y + 15);
        put_text(out, bench_string(side, "name"));
        fprintf(out,
                "</text><rect class=\"%s\" x=\"%d\" y=\"%u\" width=\"%.1f\" height=\"16\"/>"
                "<path class=\"whisker\" d=\"M%.1f %uv8M%.1f %uh%.1fM%.1f %uv8\"/>"
                "<text x=\"%.1f\" y=\"%u\">%s, CPU %s</text>\n",
                class_of(row, side), LEFT, y + 3, median, least, y + 7, least, y + 11,
                greatest - least, greatest, y + 7, greatest + 8, y + 15,
                bench_text_rate(rate, bytes, bench_number(side, "median")),
                bench_text_cpu(cpu, bytes, side));
}

static void row_figure(FILE *out, const json_t *row, size_t number)
{
        const json_t *sides = json_object_get(row, "sides");
        double most = most_of(sides);

        fprintf(out,
                "<figure><svg viewBox=\"0 0 %d %zu\" role=\"img\" "
                "aria-labelledby=\"t-%zu d-%zu\"><title id=\"t-%zu\">",
                WIDTH, json_array_size(sides) * LINE + 6, number, number, number);
        put_name(out, row);
        fprintf(out,
                ": %s a second on each side</title><desc id=\"d-%zu\">One bar a side: the median, "
                "and a whisker from the least to the most; the table below has the numbers."
                "</desc>\n",
                bench_string(row, "per_second"), number);
        for (size_t i = 0; i < json_array_size(sides); i++)
                side_bar(out, row, json_array_get(sides, i), (unsigned)i * LINE, most);
        fputs("</svg><figcaption>", out);
        put_text(out, bench_string(row, "title"));
        fprintf(out, ". Threads %.0f, depth of io_uring %.0f; the row's ratio is beside ",
                bench_number(row, "threads"), bench_number(row, "depth"));
        put_text(out, bench_string(row, "beside"));
        if (bench_is(row, "busy"))
                fputs("; one more thread of the process runs all the while", out);
        if (!bench_is(row, "comparable")) {
                fputs(". Not comparable: ", out);
                put_text(out, bench_string(row, "problem"));
        }
        fputs(".</figcaption></figure>\n", out);
}

static void table_line(FILE *out, const json_t *row, const json_t *side)
{
        char median[TEXT_MAX], least[TEXT_MAX], most[TEXT_MAX], cpu[TEXT_MAX], hits[2 * TEXT_MAX];
        bool bytes = counts_bytes(row);

        fputs("<tr><th scope=\"row\">", out);
        put_text(out, bench_string(side, "name"));
        if (*bench_string(side, "note")) {
                fputs(" (", out);
                put_text(out, bench_string(side, "note"));
                fputc(')', out);
        }
        fprintf(out, "</th><td>%.2f</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
                bench_number(side, "ratio_permille") / 1000,
                bench_text_rate(median, bytes, bench_number(side, "median")),
                bench_text_rate(least, bytes, bench_number(side, "min")),
                bench_text_rate(most, bytes, bench_number(side, "max")),
                bench_text_cpu(cpu, bytes, side));
        if (bench_text_spin(cpu, hits, bytes, side))
                fprintf(out,
                        "<tr><th scope=\"row\">of which polling before sleeping</th>"
                        "<td colspan=\"4\">%s</td><td>%s</td></tr>\n",
                        hits, cpu);
}

static void row_section(FILE *out, const json_t *row, size_t number)
{
        const json_t *sides = json_object_get(row, "sides");

        fprintf(out, "<section aria-labelledby=\"row-%zu\"><h2 id=\"row-%zu\">", number, number);
        put_name(out, row);
        fputs("</h2>\n", out);
        row_figure(out, row, number);
        fputs("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Figures of ", out);
        put_name(out, row);
        fputs("\"><table><caption>", out);
        put_name(out, row);
        fprintf(out,
                "</caption><thead><tr><th scope=\"col\">side</th><th scope=\"col\">ratio</th>"
                "<th scope=\"col\">median</th><th scope=\"col\">least</th><th scope=\"col\">most"
                "</th><th scope=\"col\">CPU %s</th></tr></thead><tbody>\n",
                counts_bytes(row) ? "" : "an operation");
        for (size_t i = 0; i < json_array_size(sides); i++)
                table_line(out, row, json_array_get(sides, i));
        fputs("</tbody></table></div></section>\n", out);
}

void bench_print_html(FILE *out, const json_t *document)
{
        const json_t *rows = json_object_get(document, "rows");
        char buf[512];

        fprintf(out,
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                "<title>Faultline beside the kernel</title><style>\n%s</style></head><body>\n"
                "<a class=\"skip\" href=\"#ratios\">To the ratios</a>\n"
                "<header><h1>Faultline beside the kernel</h1><ul>\n",
                style);
        for (unsigned i = 0; bench_fact(document, i, buf); i++) {
                fputs("<li>", out);
                put_text(out, buf);
                fputs("</li>\n", out);
        }
        fputs("</ul></header>\n<main><h2 id=\"ratios\">Ratios</h2>\n", out);
        ratio_figure(out, rows);
        ratio_table(out, rows);
        for (size_t i = 0; i < json_array_size(rows); i++)
                row_section(out, json_array_get(rows, i), i);
        fputs("</main></body></html>\n", out);
}
