// SPDX-License-Identifier: Apache-2.0
//
// tables.js - the slowest faults taken apart, files and threads.
import { el, section, swatch, table } from './dom.js';
import { numberColumns } from './latency.js';
import * as path from './path.js';
import * as text from './text.js';

export function slowestSection(doc, view) {
        const root = section('slowest', 'The slowest faults, layer by layer',
                'An event’s layer has the time until the next event of the fault; “device” is the driver and the disk behind it, “wait” what another fault or a freed page was waited for.');
        const { list, words } = doc.slowest;
        const keys = el('ul', { class: 'keys', 'aria-label': 'What the colours mean' }, ...doc.events.layers.map((name, i) => el('li', {}, swatch(`layer${i}`), name)));
        const box = el('div');
        root.append(keys, box);
        function renew() {
                const shown = list.filter((dot) => view.kinds[dot.kind]);
                box.replaceChildren(...shown.map((dot, i) => el('div', { class: 'slow' },
                        el('div', { class: 'head' }, el('b', {}, text.time(dot.ns)),
                                path.kindWords(path.kindName(doc, dot)), el('span', {}, path.place(doc, dot))),
                        path.layerBar(doc, dot), path.layerKeys(doc, dot),
                        el('details', {}, el('summary', {}, `Its ${text.plural(dot.path.length / 3, 'event')}`),
                                el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Events of slowest fault ${i + 1}` },
                                        path.eventTable(doc, words, dot, Infinity))))));
                if (!shown.length)
                        box.append(el('p', { class: 'empty' }, 'None of the slowest is of a chosen kind.'));
        }
        root.start = renew;
        view.listen(renew);
        return root;
}

const common = (doc) => [
        { name: 'faults', of: (line) => line.count, show: (line) => text.count(line.count) },
        ...doc.kinds.map((kind, i) => ({ kind: i, name: kind, of: (line) => line.kinds[i], show: (line) => text.count(line.kinds[i]) }))
                .filter(({ kind }) => doc.latency.some((line) => line.kind === kind)),
        { name: 'waited', of: (line) => line.sum, show: (line) => text.time(line.sum) },
        ...numberColumns,
];

export function fileSection(doc) {
        const root = section('files', 'Files', null);
        root.append(table('By file', [
                { name: 'file', text: true, long: true, of: (line) => line.name, show: (line) => line.name },
                ...common(doc),
                { name: 'pages read', of: (line) => line.read, show: (line) => text.count(line.read) },
                { name: 'of them used', of: (line) => line.used / Math.max(1, line.read), show: (line) => text.percent(line.used, line.read) },
                { name: 'late', of: (line) => line.late, show: (line) => text.count(line.late) },
        ], doc.files, [1, true]));
        root.start = () => {};
        return root;
}

export function threadSection(doc) {
        const root = section('threads', 'Threads', null);
        root.append(table('By thread', [
                { name: 'thread', text: true, of: (line) => line.thread, show: (line) => line.thread },
                { name: 'name', text: true, of: (line) => line.name, show: (line) => line.name },
                ...common(doc),
        ], doc.threads, [2, true]));
        root.start = () => {};
        return root;
}
