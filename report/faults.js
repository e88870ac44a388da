// SPDX-License-Identifier: Apache-2.0
//
// faults.js - faults over time and offset, a dot each, and the heat map of the same.
import { bytesAxis, color, makeChart, timeAxis } from './chart.js';
import { el, folded, say, section, table } from './dom.js';
import * as path from './path.js';
import * as text from './text.js';

const svg = 'http://www.w3.org/2000/svg';

// A kind has a shape besides its colour: outlines in a square of -1 to 1.
const outlines = [
        (c, s) => c.arc(0, 0, s, 0, 2 * Math.PI),
        (c, s) => c.rect(-s * 0.85, -s * 0.85, 1.7 * s, 1.7 * s),
        (c, s) => { c.moveTo(0, -s * 1.15); c.lineTo(s * 1.1, s * 0.85); c.lineTo(-s * 1.1, s * 0.85); c.closePath(); },
        (c, s) => { c.moveTo(0, -s * 1.3); c.lineTo(s * 1.3, 0); c.lineTo(0, s * 1.3); c.lineTo(-s * 1.3, 0); c.closePath(); },
        (c, s) => { c.moveTo(-s, -s); c.lineTo(s, s); c.moveTo(s, -s); c.lineTo(-s, s); },
        (c, s) => { c.moveTo(-s, 0); c.lineTo(s, 0); c.moveTo(0, -s); c.lineTo(0, s); },
];
const paths = [
        'M8 3a5 5 0 1 0 .01 0z', 'M4 4h8v8h-8z', 'M8 2l6 11h-12z', 'M8 1l7 7l-7 7l-7-7z',
        'M3 3l10 10M13 3l-10 10', 'M2 8h12M8 2v12',
];

export function shape(kind) {
        const icon = document.createElementNS(svg, 'svg');
        const line = document.createElementNS(svg, 'path');
        icon.setAttribute('viewBox', '0 0 16 16');
        icon.setAttribute('class', 'shape');
        icon.setAttribute('aria-hidden', 'true');
        line.setAttribute('d', paths[kind]);
        line.style.fill = kind < 4 ? `var(--kind${kind})` : 'none';
        line.style.stroke = `var(--kind${kind})`;
        line.style.strokeWidth = kind < 4 ? '1' : '2.5';
        icon.append(line);
        return icon;
}

const offsetOf = (dot) => (dot.page + 0.5) * 4096;

export function faultSection(doc, view) {
        const { list: all, words, together, placed } = doc.dots;
        const root = section('faults', 'Faults over time and offset',
                together
                        ? `${text.count(placed)} faults are drawn as ${text.count(all.length)} dots: those of one kind that are close together are one dot, the larger the more they are; it tells the path of the slowest.`
                        : 'Each fault is a dot; point at one to see its path through the layers, click to keep it below.');
        const pinned = el('div', { class: 'pinned', id: 'path', hidden: true, tabindex: '-1', 'aria-label': 'The fault that was chosen', role: 'region' });
        let list = [];

        function refilter() {
                const [from, to] = view.time, [low, high] = view.offsets();
                list = all.filter((dot) => dot.file === view.file && view.kinds[dot.kind] &&
                        dot.t / 1e9 >= from && dot.t / 1e9 <= to && offsetOf(dot) >= low && offsetOf(dot) <= high)
                        .sort((a, b) => a.t - b.t || a.id - b.id);
        }
        const size = (dot) => Math.min(9, 3 + Math.log2(dot.n));
        function draw(u) {
                const { ctx } = u;
                const ratio = devicePixelRatio;
                // The rare and the slow on top of the many.
                for (const kind of [1, 2, 3, 0, 5, 4]) {
                        ctx.fillStyle = `${color(`kind${kind}`)}b0`;
                        ctx.strokeStyle = color(`kind${kind}`);
                        ctx.lineWidth = (kind < 4 ? 0.8 : 2) * ratio;
                        for (const dot of list) {
                                if (dot.kind !== kind)
                                        continue;
                                ctx.save();
                                ctx.translate(u.valToPos(dot.t / 1e9, 'x', true), u.valToPos(offsetOf(dot), 'y', true));
                                ctx.beginPath();
                                outlines[kind](ctx, size(dot) * ratio);
                                if (kind < 4)
                                        ctx.fill();
                                ctx.stroke();
                                ctx.restore();
                        }
                }
        }
        function keep(dot) {
                pinned.hidden = false;
                pinned.replaceChildren(path.details(doc, words, dot),
                        el('button', { type: 'button', onclick: () => { pinned.hidden = true; chart.box.focus(); } }, 'Close'));
                pinned.focus({ preventScroll: true });
                pinned.scrollIntoView({ block: 'nearest' });
        }
        const chart = makeChart({
                title: 'Faults over time and offset',
                about: 'Time to the right, offset in the file upwards; the slowest are in the table below.',
                view,
                height: 380,
                time: true,
                offsets: true,
                scales: () => ({ x: { time: false, range: () => view.time }, y: { range: () => view.offsets() } }),
                axes: () => [timeAxis(), bytesAxis()],
                data: () => [[view.time[0], view.time[1]], [null, null]],
                draw,
                items: {
                        count: () => list.length,
                        at: (i) => [list[i].t / 1e9, offsetOf(list[i])],
                        near: (u, left, top) => {
                                let best = -1, least = 14 ** 2;
                                for (let i = 0; i < list.length; i++) {
                                        const x = u.valToPos(list[i].t / 1e9, 'x') - left;
                                        if (x < -14 || x > 14)
                                                continue;
                                        const y = u.valToPos(offsetOf(list[i]), 'y') - top;
                                        if (x * x + y * y < least) {
                                                least = x * x + y * y;
                                                best = i;
                                        }
                                }
                                return best;
                        },
                        tip: (i) => path.tip(doc, words, list[i]),
                        words: (i) => `${i + 1} of ${list.length}: ${path.title(doc, list[i])}, ${path.place(doc, list[i])}`,
                        keep: (i) => keep(list[i]),
                },
        });
        const columns = [
                { name: 'time taken', of: (dot) => dot.ns, show: (dot) => text.time(dot.ns) },
                { name: 'kind', text: true, of: (dot) => dot.kind, show: (dot) => path.kindName(doc, dot) },
                { name: 'after', of: (dot) => dot.t, show: (dot) => text.exactly(dot.t) },
                { name: 'offset', of: (dot) => dot.page, show: (dot) => text.count(dot.page * 4096) },
                { name: 'thread', of: (dot) => dot.thread, show: (dot) => dot.thread },
                { name: 'faults', of: (dot) => dot.n, show: (dot) => text.count(dot.n) },
                { name: 'path', show: (dot) => el('button', { type: 'button', 'aria-label': `show the path of fault ${dot.id}`, onclick: () => keep(dot) }, 'show') },
        ];
        const rows = folded('The faults in view as a table, slowest first', () =>
                table('Faults in view', columns, list, [0, true]));
        const empty = el('p', { class: 'empty', hidden: true }, 'No fault of the chosen kinds is in this part of the file at this time.');

        root.append(
                el('ul', { class: 'keys', 'aria-label': 'What the shapes mean' }, ...doc.kinds.map((kind, i) =>
                        doc.latency.some((line) => line.kind === i) ? el('li', {}, shape(i), path.kindWords(kind)) : null)
                        .filter(Boolean)),
                el('figure', {}, chart.box), empty, pinned, rows);
        function renew() {
                refilter();
                empty.hidden = list.length > 0;
                chart.renew();
                rows.refresh();
        }
        root.start = () => { refilter(); chart.build(); renew(); };
        view.listen(() => {
                renew();
                if (!view.whole())
                        say(`${text.plural(list.length, 'dot')} in view`);
        });
        return root;
}

// ---- the heat map ----

const ramp = ['heat0', 'heat1', 'heat2', 'heat3', 'heat4'];

function mix(a, b, part) {
        const number = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
        return `rgb(${[0, 1, 2].map((i) => Math.round(number(a, i) + (number(b, i) - number(a, i)) * part)).join(',')})`;
}

export function heatSection(doc, view) {
        const { times, offsets, files } = doc.heat;
        const root = section('heat', 'Access heat map',
                'Where in the file pages were asked for, and when: faults in each cell, of all kinds. What is mapped already is touched without a fault and not seen here.');
        const maps = new Map(files.map(({ file, cells }) => {
                const list = [];
                for (let i = 0; i < cells.length; i += 3)
                        list.push({ t: cells[i], o: cells[i + 1], n: cells[i + 2] });
                return [file, { list, most: Math.max(1, ...list.map((cell) => cell.n)) }];
        }));
        const none = { list: [], most: 1 };
        const map = () => maps.get(view.file) ?? none;
        const width = view.span / times;
        const height = () => view.sizeOf(view.file) / offsets;
        const cells = () => {
                const [from, to] = view.time, [low, high] = view.offsets();
                return map().list.filter((cell) => (cell.t + 1) * width > from && cell.t * width < to &&
                        (cell.o + 1) * height() > low && cell.o * height() < high);
        };
        let shown = [];
        function shade(n) {
                const at = map().most > 1 ? (Math.log(n) / Math.log(map().most)) * (ramp.length - 1) : ramp.length - 1;
                const i = Math.min(ramp.length - 2, Math.floor(at));
                return mix(color(ramp[i]), color(ramp[i + 1]), at - i);
        }
        const where = (cell) => `${text.bytes(cell.o * height())} to ${text.bytes((cell.o + 1) * height())}, ` +
                `${text.moment(cell.t * width, width * 20)} to ${text.moment((cell.t + 1) * width, width * 20)}`;
        const chart = makeChart({
                title: 'Access heat map',
                about: 'Time to the right, offset in the file upwards, the number of faults as colour; the table below has the busiest parts of the file.',
                view,
                height: 260,
                time: true,
                offsets: true,
                scales: () => ({ x: { time: false, range: () => view.time }, y: { range: () => view.offsets() } }),
                axes: () => [timeAxis(), bytesAxis()],
                data: () => [[view.time[0], view.time[1]], [null, null]],
                draw: (u) => {
                        for (const cell of shown) {
                                const left = u.valToPos(cell.t * width, 'x', true);
                                const right = u.valToPos((cell.t + 1) * width, 'x', true);
                                const bottom = u.valToPos(cell.o * height(), 'y', true);
                                const top = u.valToPos((cell.o + 1) * height(), 'y', true);
                                u.ctx.fillStyle = shade(cell.n);
                                u.ctx.fillRect(left, top, Math.ceil(right - left), Math.ceil(bottom - top));
                        }
                },
                items: {
                        count: () => shown.length,
                        at: (i) => [(shown[i].t + 0.5) * width, (shown[i].o + 0.5) * height()],
                        near: (u, left, top) => {
                                const t = Math.floor(u.posToVal(left, 'x') / width), o = Math.floor(u.posToVal(top, 'y') / height());
                                return shown.findIndex((cell) => cell.t === t && cell.o === o);
                        },
                        tip: (i) => el('div', {}, el('b', {}, text.plural(shown[i].n, 'fault')), el('div', {}, where(shown[i]))),
                        words: (i) => `${text.plural(shown[i].n, 'fault')} at ${where(shown[i])}`,
                },
        });
        const rows = folded('The parts of the file as a table', () => {
                const parts = new Map();
                cells().forEach((cell) => parts.set(cell.o, (parts.get(cell.o) ?? 0) + cell.n));
                return table('Faults by part of the file, at the times in view', [
                        { name: 'from', of: ([o]) => o, show: ([o]) => text.bytes(o * height()) },
                        { name: 'to', of: ([o]) => o, show: ([o]) => text.bytes((o + 1) * height()) },
                        { name: 'faults', of: ([, n]) => n, show: ([, n]) => text.count(n) },
                ], [...parts], [2, true]);
        });
        const least = el('span', {}, '1'), most = el('span');
        const colors = el('span', { class: 'ramp', 'aria-hidden': 'true' }, ...ramp.map((name) => {
                const part = el('i');
                part.style.background = `var(--${name})`;
                return part;
        }));
        const empty = el('p', { class: 'empty', hidden: true }, 'This file is not among those with the most faults, or has none here.');
        root.append(el('ul', { class: 'keys' }, el('li', {}, least, colors, most)), el('figure', {}, chart.box), empty, rows);
        function renew() {
                shown = cells();
                most.textContent = text.plural(map().most, 'fault');
                empty.hidden = shown.length > 0;
                chart.renew();
                rows.refresh();
        }
        root.start = () => { chart.build(); renew(); };
        view.listen(renew);
        return root;
}

