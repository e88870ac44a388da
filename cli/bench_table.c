/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_table.c - the document of a run as text: for a terminal, and for Markdown.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "bench.h"

/* ---- looking things up; what is missing is "" or 0 ---- */

const char *bench_string(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

double bench_number(const json_t *object, const char *key)
{
        return json_number_value(json_object_get(object, key));
}

bool bench_is(const json_t *object, const char *key)
{
        return json_is_true(json_object_get(object, key));
}

static bool counts_bytes(const json_t *row)
{
        return !strcmp(bench_string(row, "per_second"), "bytes");
}

const char *bench_text_rate(char buf[TEXT_MAX], bool bytes, double rate)
{
        char number[TEXT_MAX];

        if (bytes)
                snprintf(buf, TEXT_MAX, "%.2f GB/s", rate / 1e9);
        else
                snprintf(buf, TEXT_MAX, "%.30s/s", text_count(number, (uint64_t)rate));
        return buf;
}

static const char *text_us(char buf[TEXT_MAX], bool bytes, double ns)
{
        double us = ns / 1e3;

        snprintf(buf, TEXT_MAX, us < 10 ? "%.2f us%s" : "%.0f us%s", us, bytes ? "/MiB" : "");
        return buf;
}

const char *bench_text_cpu(char buf[TEXT_MAX], bool bytes, const json_t *side)
{
        return text_us(buf, bytes, bench_number(side, "cpu_ns"));
}

bool bench_text_spin(char cpu[TEXT_MAX], char hits[2 * TEXT_MAX], bool bytes, const json_t *side)
{
        double spins = bench_number(side, "spins");
        char count[TEXT_MAX];

        if (spins <= 0)
                return false;
        text_us(cpu, bytes, bench_number(side, "spin_ns"));
        snprintf(hits, 2 * TEXT_MAX, "%.0f %% of %.24s in time",
                 bench_number(side, "spin_hits") * 100 / spins, text_count(count, (uint64_t)spins));
        return true;
}

/* "12,000-13,000", "1.20-1.25" */
static const char *text_range(char buf[2 * TEXT_MAX], bool bytes, const json_t *side)
{
        char least[TEXT_MAX], most[TEXT_MAX];

        if (bytes)
                snprintf(buf, 2 * TEXT_MAX, "%.2f-%.2f", bench_number(side, "min") / 1e9,
                         bench_number(side, "max") / 1e9);
        else
                snprintf(buf, 2 * TEXT_MAX, "%s-%s",
                         text_count(least, (uint64_t)bench_number(side, "min")),
                         text_count(most, (uint64_t)bench_number(side, "max")));
        return buf;
}

/* ---- what holds for the whole run ---- */

static void limit_fact(const json_t *document, char buf[512])
{
        const json_t *limit = json_object_get(document, "limit");
        int version = (int)bench_number(limit, "version");
        char cache[TEXT_MAX], needs[TEXT_MAX];

        if (version && !*bench_string(limit, "problem"))
                snprintf(buf, 512,
                         "kernel's sides: memory cgroup (v%d) of %s + %s for the process itself",
                         version,
                         text_bytes(cache, (uint64_t)bench_number(document, "cache_bytes")),
                         text_bytes(needs, (uint64_t)bench_number(limit, "process_bytes")));
        else
                snprintf(buf, 512, "kernel's sides: no memory limit (%s)",
                         bench_string(limit, "problem"));
}

static void absent_fact(const json_t *document, char buf[512])
{
        const json_t *absent = json_object_get(document, "absent");
        size_t used = (size_t)snprintf(buf, 512, "not here:");

        for (size_t i = 0; i < json_array_size(absent) && used < 400; i++) {
                const json_t *one = json_array_get(absent, i);
                const char *name = bench_string(one, "name");

                used += (size_t)snprintf(buf + used, 512 - used, "%s %.40s (%.60s)", i ? "," : "",
                                         *name ? name : bench_string(one, "side"), /* an old one */
                                         bench_string(one, "why"));
        }
        if (!json_array_size(absent))
                snprintf(buf, 512, "every side is here");
}

const char *bench_fact(const json_t *document, unsigned i, char buf[512])
{
        const json_t *machine = json_object_get(document, "machine");
        char a[TEXT_MAX], b[TEXT_MAX];

        switch (i) {
        case 0:
                snprintf(buf, 512, "machine: %s, %.0f cores, Linux %s, %s of memory%s",
                         bench_string(machine, "cpu"), bench_number(machine, "cores"),
                         bench_string(machine, "kernel"),
                         text_bytes(a, (uint64_t)bench_number(machine, "memory_bytes")),
                         json_is_true(json_object_get(machine, "debug"))
                                 ? "; a debug build, which checks and times its locks: "
                                   "./dev bench measures a release build"
                                 : "");
                return buf;
        case 1:
                snprintf(buf, 512, "device: %s (%s), read_ahead_kb %.0f; Faultline's window %s",
                         bench_string(machine, "device"), bench_string(machine, "file_system"),
                         bench_number(machine, "read_ahead_kb"),
                         text_bytes(a, (uint64_t)bench_number(document, "readahead_bytes")));
                return buf;
        case 2:
                snprintf(buf, 512, "file %s, cache %s",
                         text_bytes(a, (uint64_t)bench_number(document, "file_bytes")),
                         text_bytes(b, (uint64_t)bench_number(document, "cache_bytes")));
                return buf;
        case 3:
                limit_fact(document, buf);
                return buf;
        case 4:
                absent_fact(document, buf);
                return buf;
        case 5:
                snprintf(buf, 512,
                         "%.0f rounds, the sides taking turns, cold; medians (least-most); a ratio "
                         "is Faultline's rate through the other's",
                         bench_number(document, "rounds"));
                return buf;
        default:
                return NULL;
        }
}

/* ---- a terminal ---- */

void bench_print_head(FILE *out, const json_t *document)
{
        char buf[512];

        for (unsigned i = 0; bench_fact(document, i, buf); i++)
                fprintf(out, "%s\n", buf);
        fprintf(out, "\n%-16s %6s  %-12s %12s %-21s %12s  %s\n", "", "ratio", "floor", "rate", "",
                "CPU", "side");
        fflush(out);
}

static const json_t *find_side(const json_t *row, const char *key)
{
        const json_t *sides = json_object_get(row, "sides");

        for (size_t i = 0; i < json_array_size(sides); i++)
                if (!strcmp(bench_string(json_array_get(sides, i), "side"), key))
                        return json_array_get(sides, i);
        return NULL;
}

static void print_side(FILE *out, const json_t *row, const json_t *side)
{
        const char *note = bench_string(side, "note");
        char rate[TEXT_MAX], range[2 * TEXT_MAX], cpu[TEXT_MAX], both[2 * TEXT_MAX + 2];
        bool bytes = counts_bytes(row);

        snprintf(both, sizeof(both), "(%s)", text_range(range, bytes, side));
        fprintf(out, " %12s %-21s %12s  %s%s%s%s\n",
                bench_text_rate(rate, bytes, bench_number(side, "median")), both,
                bench_text_cpu(cpu, bytes, side), bench_string(side, "name"), *note ? " (" : "",
                note, *note ? ")" : "");
        if (bench_text_spin(cpu, range, bytes, side))
                fprintf(out, "%-37s %34s %12s  of which polling before sleeping\n", "", range, cpu);
}

static void print_verdict(FILE *out, const json_t *row, const char *name, const json_t *beside)
{
        double floor = bench_number(row, "floor_permille");
        char verdict[32] = "";

        if (!bench_is(row, "comparable")) {
                fprintf(out, "%-16s not comparable: %s\n", name, bench_string(row, "problem"));
                fprintf(out, "%-37s", "");
                return;
        }
        if (floor > 0)
                snprintf(verdict, sizeof(verdict), "%.2f %s", floor / 1e3,
                         bench_is(row, "met") ? "met" : "missed");
        fprintf(out, "%-16s %6.2f  %-12s", name, bench_number(beside, "ratio_permille") / 1e3,
                verdict);
}

/* First the side that the ratio is about, then Faultline, then the others. */
void bench_print_row(FILE *out, const json_t *row)
{
        const json_t *beside = find_side(row, bench_string(row, "beside"));
        const json_t *ours = find_side(row, "faultline");
        const json_t *sides = json_object_get(row, "sides");
        char name[64];

        snprintf(name, sizeof(name), "%.50s%s", bench_string(row, "name"),
                 bench_is(row, "busy") ? "+busy" : "");
        print_verdict(out, row, name, beside);
        print_side(out, row, beside ? beside : ours);
        for (size_t i = 0; i < json_array_size(sides); i++) {
                const json_t *side = json_array_get(sides, i);

                if (side == beside || (!beside && side == ours))
                        continue;
                if (side == ours)
                        fprintf(out, "%-37s", "");
                else
                        fprintf(out, "%-16s %6.2f  %-12s", "",
                                bench_number(side, "ratio_permille") / 1e3, "");
                print_side(out, row, side);
        }
        fflush(out);
}

/* ---- Markdown ---- */

static void markdown_row(FILE *out, const json_t *row)
{
        const json_t *sides = json_object_get(row, "sides");
        const char *key = bench_string(row, "beside");
        bool bytes = counts_bytes(row);

        for (size_t i = 0; i < json_array_size(sides); i++) {
                const json_t *side = json_array_get(sides, i);
                char rate[TEXT_MAX], range[2 * TEXT_MAX], cpu[TEXT_MAX], ratio[64] = "";
                const char *note = bench_string(side, "note");
                bool is_beside = !strcmp(bench_string(side, "side"), key);

                if (i > 0)
                        snprintf(ratio, sizeof(ratio), is_beside ? "**%.2f**" : "%.2f",
                                 bench_number(side, "ratio_permille") / 1e3);
                if (is_beside && !bench_is(row, "comparable"))
                        snprintf(ratio, sizeof(ratio), "not comparable");
                else if (is_beside && bench_number(row, "floor_permille") > 0)
                        snprintf(ratio + strlen(ratio), sizeof(ratio) - strlen(ratio),
                                 " (floor %.2f)", bench_number(row, "floor_permille") / 1e3);
                fprintf(out, "| %s%s | %s | %s%s%s%s | %s (%s) | %s |\n",
                        i ? "" : bench_string(row, "name"),
                        !i && bench_is(row, "busy") ? "+busy" : "", ratio,
                        bench_string(side, "name"), *note ? " (" : "", note, *note ? ")" : "",
                        bench_text_rate(rate, bytes, bench_number(side, "median")),
                        text_range(range, bytes, side), bench_text_cpu(cpu, bytes, side));
                if (bench_text_spin(cpu, range, bytes, side))
                        fprintf(out, "|  |  | of which polling before sleeping | %s | %s |\n",
                                range, cpu);
        }
}

void bench_print_markdown(FILE *out, const json_t *document)
{
        const json_t *rows = json_object_get(document, "rows");
        char buf[512];

        for (unsigned i = 0; bench_fact(document, i, buf); i++)
                fprintf(out, "- %s\n", buf);
        fputs("\n| workload | ratio | side | rate, median (least-most) | CPU |\n"
              "|---|---:|---|---:|---:|\n",
              out);
        for (size_t i = 0; i < json_array_size(rows); i++)
                markdown_row(out, json_array_get(rows, i));
}
