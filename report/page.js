// SPDX-License-Identifier: Apache-2.0
//
// page.js - the page of `faultline report`: reads the document that is in it and builds what is shown.
import { el, say } from './dom.js';
import { faultSection, heatSection, shape } from './faults.js';
import { cacheSection, rateSection, requestSection, writebackSection } from './io.js';
import { latencySection } from './latency.js';
import { windowSection } from './readahead.js';
import { fileSection, slowestSection, threadSection } from './tables.js';
import * as text from './text.js';
import { makeView } from './view.js';

const get = (id) => document.getElementById(id);

function header(doc) {
        const { trace } = doc;
        const when = new Date(trace.realtime_ms);
        const longest = Math.max(0, ...doc.latency.map((line) => line.max));
        const pages = doc.windows.whys.reduce((sum, line) => sum + line.used + line.late + line.wasted, 0);
        const wasted = doc.windows.whys.reduce((sum, line) => sum + line.wasted, 0);
        const kind = (name) => doc.latency.find((line) => doc.kinds[line.kind] === name)?.count ?? 0;
        const sum = (values) => values.reduce((a, b) => a + b, 0);
        const facts = [
                [text.count(trace.faults), trace.faults === 1 ? 'fault' : 'faults'],
                [text.count(kind('major')), 'major'],
                [text.time(longest), 'the longest'],
                [text.time(trace.span), 'traced'],
                [text.bytes(sum(doc.series.bytes_read)), 'read'],
                [text.bytes(sum(doc.series.bytes_written)), 'written'],
                [text.count(sum(doc.series.requests)), 'requests'],
                [text.percent(wasted, pages), 'of the pages read wasted'],
        ];
        document.title = `${trace.name} – Faultline report`;
        get('source').textContent = `${trace.name}, process ${trace.pid}, ` +
                `${Number.isNaN(when.getTime()) ? 'at an unknown time' : when.toISOString().replace('T', ' ').slice(0, 19)} UTC, ` +
                `${text.plural(trace.events, 'event')}, ${trace.dropped ? text.count(trace.dropped) : 'none'} lost`;
        get('version').textContent = `faultline report ${trace.version}`;
        get('facts').append(...facts.map(([number, words]) => el('li', {}, el('b', {}, number), el('span', {}, words))));
        const note = (words) => get('notes').append(el('p', { class: 'note' }, words));
        if (trace.problem)
                note(`The trace is not whole: ${trace.problem}. What is before that is shown.`);
        if (trace.dropped)
                note(`${text.plural(trace.dropped, 'event')} were lost while the trace was taken: some faults lack parts of their path, and counts are too low by as much.`);
}

function bar(doc, view) {
        const kinds = doc.latency.map((line) => line.kind);
        get('bar').hidden = false;
        for (const line of doc.latency) {
                const box = el('input', { type: 'checkbox', checked: true, 'data-kind': doc.kinds[line.kind] });
                box.addEventListener('change', () => {
                        const chosen = [...view.kinds];
                        chosen[line.kind] = box.checked;
                        view.set({ kinds: chosen });
                        say(`${doc.kinds[line.kind]} ${box.checked ? 'shown' : 'hidden'}`);
                });
                get('kinds').append(el('label', {}, box, shape(line.kind), doc.kinds[line.kind], el('small', {}, text.count(line.count))));
        }
        const files = [...doc.files].sort((a, b) => b.count - a.count);
        get('file').append(...files.map((line) => el('option', { value: String(line.file), selected: line.file === view.file },
                `${line.name} (${text.count(line.count)})`)));
        get('file').addEventListener('change', () => view.set({ file: Number(get('file').value), offset: null }));
        get('reset').addEventListener('click', () => view.all());
        const tell = () => {
                const [from, to] = view.time;
                const [low, high] = view.offsets();
                get('range').textContent = `${text.moment(from, to - from)} – ${text.moment(to, to - from)}` +
                        (view.offset ? `, ${text.bytes(Math.round(low))} – ${text.bytes(Math.round(high))}` : '');
                get('reset').disabled = view.whole();
        };
        view.listen(tell);
        tell();
        return kinds;
}

function nothing(doc) {
        get('facts').hidden = true;
        get('main').append(el('p', { class: 'empty', id: 'nothing' }, doc.trace.events
                ? `There is no fault in this trace, only ${text.plural(doc.trace.events, 'event')} of other things. Was anything touched while it was taken?`
                : 'This trace has no events. Was anything touched while it was taken?'));
}

function start() {
        const doc = JSON.parse(get('document').textContent);
        header(doc);
        if (!doc.trace.faults) {
                nothing(doc);
                return;
        }
        const view = makeView(doc);
        bar(doc, view);
        const sections = [
                faultSection(doc, view), heatSection(doc, view), latencySection(doc, view),
                slowestSection(doc, view), rateSection(doc, view), windowSection(doc, view), requestSection(doc, view),
                cacheSection(doc, view), writebackSection(doc, view), fileSection(doc), threadSection(doc),
        ];
        get('top').append(el('nav', { 'aria-label': 'Parts of the report' }, el('ul', {}, ...sections.map((part) =>
                el('li', {}, el('a', { href: `#${part.id}` }, part.querySelector('h2').textContent))))));
        get('main').append(...sections);
        sections.forEach((part) => part.start());
}

start();
