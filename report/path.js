// SPDX-License-Identifier: Apache-2.0
//
// path.js - a fault's path through the layers, as a bar of where its time went and event by event.
import { el, swatch } from './dom.js';
import * as text from './text.js';

export const kindName = (document, dot) => document.kinds[dot.kind];
export const fileName = (document, file) =>
        document.files.find((line) => line.file === file)?.name ?? `file ${file}`;

const plainKinds = { major: 'major fault', minor: 'minor fault', store: 'store fault', call: 'call' };
export const kindWords = (kind) => plainKinds[kind] ?? `${kind} fault`;

export function title(document, dot) {
        const of = dot.n > 1 ? ` – slowest of ${text.count(dot.n)} here` : '';
        return `${kindWords(kindName(document, dot))}, ${text.time(dot.ns)}${of}`;
}

export function place(document, dot) {
        return `${fileName(document, dot.file)} at ${text.count(dot.page * 4096)} (page ${text.count(dot.page)}), ` +
                `thread ${dot.thread}, ${text.exactly(dot.t)} after the trace began, fault ${dot.id}`;
}

// Events of a path: {ns, event, text, depth, layer, args}, or {left: n} for what was left out.
export function events(document, words, path) {
        const list = [];
        for (let i = 0; i < path.length; i += 3) {
                if (path[i] < 0) {
                        list.push({ left: path[i + 1] });
                        continue;
                }
                const event = document.events.of[path[i + 1]];
                list.push({ ns: path[i], text: event.text, layer: event.layer, depth: event.depth, args: words[path[i + 2]] });
        }
        return list;
}

export function layerBar(document, dot) {
        const whole = dot.layers.reduce((a, b) => a + b, 0) || 1;
        const bar = el('div', { class: 'split', 'aria-hidden': 'true' });
        dot.layers.forEach((ns, i) => {
                if (!ns)
                        return;
                const part = el('i');
                part.style.background = `var(--layer${i})`;
                part.style.width = `${(100 * ns) / whole}%`;
                bar.append(part);
        });
        return bar;
}

// In words; the layers that took a thousandth of it or more, the longest first.
export function layerKeys(document, dot) {
        const whole = dot.layers.reduce((a, b) => a + b, 0);
        const parts = dot.layers.map((ns, i) => ({ ns, i })).filter(({ ns }) => ns > whole / 1000).sort((a, b) => b.ns - a.ns);
        return el('ul', { class: 'keys' }, ...parts.map(({ ns, i }) =>
                el('li', {}, swatch(`layer${i}`), `${document.events.layers[i]} ${text.time(ns)} (${text.percent(ns, whole)})`)));
}

export function eventTable(document, words, dot, most) {
        let list = events(document, words, dot.path);
        if (list.length > most) {
                const head = Math.floor(most * 0.7);
                list = [...list.slice(0, head), { left: list.length - most }, ...list.slice(list.length - most + head)];
        }
        return el('table', { class: 'path' },
                el('thead', {}, el('tr', {}, ...['µs', 'layer', 'event', ''].map((name, i) =>
                        el('th', { scope: 'col', class: i ? undefined : 'num' }, name || 'what of it')))),
                el('tbody', {}, ...list.map((event) => 'left' in event
                        ? el('tr', {}, el('td', { colspan: '4' }, `… ${text.plural(event.left, 'event')} between`))
                        : el('tr', {},
                                el('td', { class: 'num' }, (event.ns / 1e3).toFixed(1)),
                                el('td', {}, event.layer),
                                el('td', {}, `${'\u00a0\u00a0'.repeat(event.depth)}${event.text}`),
                                el('td', { class: 'args' }, event.args)))));
}

export function tip(document, words, dot) {
        return el('div', {},
                el('b', {}, title(document, dot)),
                el('div', {}, place(document, dot)),
                layerBar(document, dot), layerKeys(document, dot),
                eventTable(document, words, dot, Math.max(6, Math.floor((innerHeight * 0.94 - 190) / 17.6))));
}

export function details(document, words, dot, level = 'h3') {
        return el('div', {},
                el(level, {}, title(document, dot)),
                el('p', {}, place(document, dot)),
                layerBar(document, dot), layerKeys(document, dot),
                el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Path of fault ${dot.id}` },
                        eventTable(document, words, dot, Infinity)));
}
