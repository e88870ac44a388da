// SPDX-License-Identifier: Apache-2.0
//
// io.js - what is counted over time: faults, requests, the cache, write-back.
import { bytesAxis, makeSteps } from './chart.js';
import { el, folded, section, swatch, table } from './dom.js';
import * as text from './text.js';

const total = (values) => values.reduce((a, b) => a + b, 0);

// A plot with its key and its table.
function steps(view, title, about, series, options = {}) {
        const value = options.value ?? ((n) => text.count(n));
        const chart = makeSteps({ title, about, view, series, value, axes: options.axes, height: options.height });
        const rows = folded(`${title} as a table`, () => table(title, [
                { name: 'from', of: (i) => i, show: (i) => text.moment(chart.xs[i], view.span / 20) },
                ...series.map((s) => ({ name: s.name, of: (i) => s.values[i] ?? 0, show: (i) => value(s.values[i] ?? 0, s) })),
        ], chart.xs.slice(0, -1).map((_, i) => i).filter((i) => chart.xs[i + 1] > view.time[0] && chart.xs[i] < view.time[1])));
        const root = el('div', {}, el('h3', {}, title),
                el('ul', { class: 'keys', 'aria-label': 'What the colours mean' }, ...series.map((s) => el('li', {}, swatch(s.color),
                        s.sum === false ? s.name : `${s.name}: ${value(total(s.values), s)}`))),
                el('figure', {}, chart.box), rows);
        view.listen(() => { chart.renew(); rows.refresh(); });
        root.start = () => chart.build();
        return root;
}

function together(root, plots) {
        root.append(...plots);
        root.start = () => plots.forEach((plot) => plot.start());
        return root;
}

export function requestSection(doc, view) {
        const s = doc.series;
        const root = section('requests', 'Requests',
                'Bios are what file systems submit; the block layer merges neighbours and dispatches requests to the driver.');
        if (!total(s.bios) && !total(s.requests)) {
                root.append(el('p', { class: 'empty' }, 'Nothing was asked of a disk in this trace.'));
                root.start = () => {};
                return root;
        }
        return together(root, [
                steps(view, 'Merging', 'Bios submitted, bios merged into another, requests dispatched, in each part of the time.', [
                        { name: 'bios', values: s.bios, color: 'kind1', fill: true },
                        { name: 'requests', values: s.requests, color: 'kind0' },
                        { name: 'merged', values: s.merges, color: 'kind2', fill: true },
                ]),
                steps(view, 'Queue depth', 'Requests at the driver at once: the most, and the mean over each part of the time.', [
                        { name: 'most', values: s.depth_most, color: 'kind1', fill: true, sum: false },
                        { name: 'mean', values: s.depth_mean, color: 'kind0', sum: false },
                ], { value: (n) => (n % 1 ? n.toFixed(2) : text.count(n)) }),
                steps(view, 'Bytes moved', 'Bytes of the requests dispatched, in each part of the time.', [
                        { name: 'read', values: s.bytes_read, color: 'kind1', fill: true },
                        { name: 'written', values: s.bytes_written, color: 'kind0', fill: true },
                ], { value: text.bytes, axes: bytesAxis(), height: 160 }),
        ]);
}

export function cacheSection(doc, view) {
        const s = doc.series;
        const root = section('cache', 'Cache',
                'What the cache holds of its budget, and what had to go for it.');
        const plots = [];
        if (s.cache) {
                plots.push(steps(view, 'Occupancy', 'Bytes in the cache, and those of them that are dirty.', [
                        { name: 'in the cache', values: s.cache, color: 'kind1', fill: true, sum: false },
                        { name: 'dirty', values: s.dirty, color: 'kind0', fill: true, sum: false },
                        ...(s.limit ? [{ name: 'budget', values: s.limit, color: 'soft', sum: false, dash: [6, 4] }] : []),
                ], { value: text.bytes, axes: bytesAxis() }));
        }
        plots.push(steps(view, 'Pages in and out', 'Pages read into the cache, pages evicted from it, and faults that had to wait for room.', [
                { name: 'read', values: s.pages_read, color: 'kind1', fill: true },
                { name: 'evicted', values: s.evicted, color: 'kind0' },
                { name: 'waits for the budget', values: s.budget_waits, color: 'kind3' },
        ]));
        return together(root, plots);
}

export function writebackSection(doc, view) {
        const s = doc.series;
        const root = section('writeback', 'Write-back', 'Dirty pages on their way to the disk, and what makes them last there.');
        if (!total(s.written_back) && !total(s.flushes) && !total(s.fsyncs)) {
                root.append(el('p', { class: 'empty' }, 'Nothing was written in this trace.'));
                root.start = () => {};
                return root;
        }
        return together(root, [
                steps(view, 'Pages written back', 'Pages handed to the file system to be written.', [
                        { name: 'pages', values: s.written_back, color: 'kind0', fill: true },
                ]),
                steps(view, 'Flushes', 'Requests that flush the disk or go through to it, and fsync.', [
                        { name: 'flushes', values: s.flushes, color: 'kind1', fill: true },
                        { name: 'fsync', values: s.fsyncs, color: 'kind2' },
                ], { height: 150 }),
        ]);
}

export function rateSection(doc, view) {
        const root = section('rates', 'Faults in time', null);
        const kinds = doc.kinds.map((name, i) => ({ name, values: doc.series.faults[i], color: `kind${i}`, fill: true }))
                .filter((s) => total(s.values));
        if (total(doc.series.lost))
                kinds.push({ name: 'events lost', values: doc.series.lost, color: 'soft', dash: [4, 4] });
        return together(root, [steps(view, 'Faults', 'Faults by kind, in each part of the time.', kinds)]);
}
