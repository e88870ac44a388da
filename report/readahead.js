// SPDX-License-Identifier: Apache-2.0
//
// readahead.js - windows, and what became of their pages.
import { bytesAxis, color, makeChart, timeAxis } from './chart.js';
import { el, folded, section, swatch, table } from './dom.js';
import * as text from './text.js';

const fates = ['wasted', 'used', 'late'];
const meaning = [
        'wasted: no fault asked for it or mapped it before it was read again or the trace ended',
        'used: a fault asked for it or mapped it',
        'late: another fault asked for it while it was still being read',
];

const whyColumns = [
        { name: 'why', text: true, long: true, of: (line) => line.why, show: (line) => line.why },
        ...['windows', 'pages', 'used', 'late', 'wasted'].map((key) => ({ name: key, of: (line) => line[key], show: (line) => text.count(line[key]) })),
        { name: 'used or late', of: (line) => (line.used + line.late) / Math.max(1, line.pages), show: (line) => text.percent(line.used + line.late, line.used + line.late + line.wasted) },
];

export function windowSection(doc, view) {
        const { list: all, count, whys } = doc.windows;
        const root = section('readahead', 'Read-ahead',
                'Each window is a box: as high as the part of the file that it read, as wide as the time from when it was asked for until it came.' +
                (count > all.length ? ` ${text.count(all.length)} of ${text.count(count)} are drawn, at equal distances in order of time; the table counts all.` : ''));
        if (!count) {
                root.append(el('p', { class: 'empty' }, 'No window was read in this trace.'));
                root.start = () => {};
                return root;
        }
        let list = [];
        const begin = (w) => w.t / 1e9, end = (w) => (w.end ? w.end / 1e9 : w.t / 1e9);
        function refilter() {
                const [from, to] = view.time, [low, high] = view.offsets();
                list = all.filter((w) => w.file === view.file && end(w) >= from && begin(w) <= to &&
                        (w.start + w.pages) * 4096 >= low && w.start * 4096 <= high);
        }
        function became(w) {
                const pages = [0, 0, 0];
                for (let i = 0; i < w.fates.length; i += 2)
                        pages[w.fates[i]] += w.fates[i + 1];
                return pages;
        }
        const words = (w) => [
                `pages ${text.count(w.start)} to ${text.count(w.start + w.pages - 1)} (${text.bytes(w.pages * 4096)}), ${whys[w.why].why}`,
                w.end ? `came after ${text.time(w.end - w.t)}` : 'had not come when the trace ended',
                w.fates.length ? became(w).map((pages, fate) => `${text.count(pages)} ${fates[fate]}`).join(', ') : 'too large to be followed',
        ];
        const chart = makeChart({
                title: 'Read-ahead windows',
                about: 'Time to the right, offset in the file upwards; pages used, late and wasted have colours, wasted ones are hatched too. The table below tells it by reason.',
                view,
                height: 340,
                time: true,
                offsets: true,
                scales: () => ({ x: { time: false, range: () => view.time }, y: { range: () => view.offsets() } }),
                axes: () => [timeAxis(), bytesAxis()],
                data: () => [[view.time[0], view.time[1]], [null, null]],
                draw: (u) => {
                        const { ctx } = u;
                        const least = 3 * devicePixelRatio, seen = 6 * devicePixelRatio;
                        for (const w of list) {
                                const left = u.valToPos(begin(w), 'x', true);
                                const width = Math.max(least, u.valToPos(end(w), 'x', true) - left);
                                let page = w.start;
                                let runs = w.fates.length ? w.fates : [0, w.pages];
                                const foot = u.valToPos(w.start * 4096, 'y', true);
                                const high = foot - u.valToPos((w.start + w.pages) * 4096, 'y', true);
                                if (high < seen) { // too low to be seen: its shares, in a box that is not
                                        let at = foot - (high - seen) / 2;
                                        became(w).forEach((pages, fate) => {
                                                const part = (pages / w.pages) * seen;
                                                ctx.fillStyle = color(`fate${fate}`);
                                                ctx.fillRect(left, at - part, width, part);
                                                at -= part;
                                        });
                                        runs = [];
                                }
                                for (let i = 0; i < runs.length; i += 2) {
                                        const bottom = u.valToPos(page * 4096, 'y', true);
                                        const top = u.valToPos((page + runs[i + 1]) * 4096, 'y', true);
                                        ctx.fillStyle = color(`fate${runs[i]}`);
                                        ctx.fillRect(left, top, width, Math.max(1, bottom - top));
                                        if (runs[i] === 0 && width > 8 * devicePixelRatio && bottom - top > 8 * devicePixelRatio)
                                                hatch(ctx, left, top, width, bottom - top);
                                        page += runs[i + 1];
                                }
                        }
                },
                items: {
                        count: () => list.length,
                        at: (i) => [Math.max(begin(list[i]), view.time[0]), (list[i].start + list[i].pages / 2) * 4096],
                        near: (u, left, top) => {
                                let best = -1, least = 100;
                                list.forEach((w, i) => {
                                        const x0 = u.valToPos(begin(w), 'x'), x1 = Math.max(x0 + 3, u.valToPos(end(w), 'x'));
                                        const y1 = u.valToPos(w.start * 4096, 'y'), y0 = u.valToPos((w.start + w.pages) * 4096, 'y');
                                        const x = Math.max(x0 - left, left - x1, 0), y = Math.max(y0 - top, top - y1, 0);
                                        if (x * x + y * y < least) {
                                                least = x * x + y * y;
                                                best = i;
                                        }
                                });
                                return best;
                        },
                        tip: (i) => el('div', {}, ...words(list[i]).map((line, n) => el(n ? 'div' : 'b', {}, line))),
                        words: (i) => `${i + 1} of ${list.length}: ${words(list[i]).join('; ')}`,
                },
        });
        root.append(
                el('ul', { class: 'keys', 'aria-label': 'What the colours mean' }, ...[1, 2, 0].map((fate) => el('li', {}, swatch(`fate${fate}`), meaning[fate]))),
                el('figure', {}, chart.box),
                table('Windows by reason, of the whole trace', whyColumns, whys, [1, true]),
                folded('The windows in view as a table', () => table('Windows in view', [
                        { name: 'after', of: (w) => w.t, show: (w) => text.exactly(w.t) },
                        { name: 'offset', of: (w) => w.start, show: (w) => text.count(w.start * 4096) },
                        { name: 'pages', of: (w) => w.pages, show: (w) => text.count(w.pages) },
                        { name: 'came after', of: (w) => (w.end ? w.end - w.t : Infinity), show: (w) => (w.end ? text.time(w.end - w.t) : 'never') },
                        ...[1, 2, 0].map((fate) => ({ name: fates[fate], of: (w) => became(w)[fate], show: (w) => text.count(became(w)[fate]) })),
                        { name: 'why', text: true, long: true, of: (w) => whys[w.why].why, show: (w) => whys[w.why].why },
                ], list)));
        function renew() {
                refilter();
                chart.renew();
        }
        root.start = () => { refilter(); chart.build(); };
        view.listen(renew);
        return root;
}

function hatch(ctx, left, top, width, height) {
        const step = 6 * devicePixelRatio;
        ctx.save();
        ctx.beginPath();
        ctx.rect(left, top, width, height);
        ctx.clip();
        ctx.strokeStyle = color('paper');
        ctx.lineWidth = devicePixelRatio;
        ctx.beginPath();
        for (let at = left - height; at < left + width; at += step) {
                ctx.moveTo(at, top + height);
                ctx.lineTo(at + height, top);
        }
        ctx.stroke();
        ctx.restore();
}
