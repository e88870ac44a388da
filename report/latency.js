// SPDX-License-Identifier: Apache-2.0
//
// latency.js - how long faults took, by kind.
import uPlot from 'uplot';
import { color, countAxis, makeChart } from './chart.js';
import { el, folded, section, table } from './dom.js';
import { shape } from './faults.js';
import { kindWords } from './path.js';
import * as text from './text.js';

const edge = (c) => 2 ** (c / 4); // ns

export const numberColumns = [
        ['median', 'p50'], ['90 %', 'p90'], ['99 %', 'p99'], ['99.9 %', 'p999'], ['longest', 'max'],
].map(([name, key]) => ({ name, of: (line) => line[key], show: (line) => text.time(line[key]) }));

export function latencySection(doc, view) {
        const root = section('latency', 'How long they took',
                'A histogram with four classes between a time and its double, and percentiles of the faults themselves, of all of the trace.');
        const lists = doc.latency;
        const all = lists.flatMap((line) => line.histogram.map(([c]) => c));
        const first = Math.min(...all), last = Math.max(...all) + 1;
        const classes = Array.from({ length: last - first + 1 }, (_, i) => first + i);
        let range = null, log = false;
        const lines = () => lists.filter((line) => view.kinds[line.kind]);
        const countOf = (line, c) => line.histogram.find(([at]) => at === c)?.[1] ?? 0;
        const sum = (c) => lines().reduce((n, line) => n + countOf(line, c), 0);
        const tall = (c) => Math.max(log ? 1 : 0, ...lines().map((line) => countOf(line, c)));
        const span = (c) => `${text.time(edge(c))} to ${text.time(edge(c + 1))}`;
        const each = (c) => lines().filter((line) => countOf(line, c))
                .map((line) => `${kindWords(doc.kinds[line.kind])}: ${text.count(countOf(line, c))}`);
        // A round time at powers of ten, and 2 and 5 times those where there is room.
        const ticks = (u, axis, min, max) => {
                const splits = [];
                for (let power = 0; power < 17; power++)
                        for (const digit of max - min > 60 ? [1] : [1, 2, 5]) {
                                const at = Math.log2(digit * 10 ** power) * 4;
                                if (at >= min && at <= max)
                                        splits.push(at);
                        }
                return splits;
        };
        const shown = () => classes.filter((c) => !range || (c + 1 > range[0] && c < range[1]));
        const chart = makeChart({
                title: 'Histogram of fault times',
                about: 'The time a fault took to the right, in doubling steps; how many took it upwards. The table below has percentiles.',
                view,
                height: 260,
                scales: () => ({
                        x: { time: false, range: () => range ?? [first - 1, last + 1] },
                        y: log ? { distr: 3, range: (u, min, max) => [0.8, Math.max(10, (max || 1) * 1.5)] }
                                : { range: (u, min, max) => [0, Math.max(1, (max || 0) * 1.08)] },
                }),
                axes: () => [
                        { ...countAxis(), splits: ticks, values: (u, splits) => splits.map((c) => text.time(Math.round(edge(c))).replace(/\.00? /, ' ').replace('.0 ', ' ')), size: 34 },
                        countAxis(log ? { filter: (u, splits) => splits.map((n) => (Math.log10(n) % 1 === 0 ? n : null)) } : {}),
                ],
                series: () => [{}, ...lists.map((line) => ({
                        label: doc.kinds[line.kind],
                        show: view.kinds[line.kind],
                        stroke: () => color(`kind${line.kind}`),
                        fill: () => `${color(`kind${line.kind}`)}40`,
                        width: 1.5,
                        points: { show: false },
                        paths: uPlot.paths.stepped({ align: 1 }),
                }))],
                data: () => [[first - 1, ...classes], ...lists.map((line) => [log ? 0.8 : 0, ...classes.map((c) => countOf(line, c) || (log ? 0.8 : 0))])],
                draw: (u) => {
                        const { ctx, bbox } = u;
                        for (const line of lines()) {
                                ctx.strokeStyle = color(`kind${line.kind}`);
                                ctx.fillStyle = color(`kind${line.kind}`);
                                ctx.lineWidth = 1.5 * devicePixelRatio;
                                ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
                                ctx.textAlign = 'left';
                                [['p50', 'median'], ['p99', '99 %']].forEach(([key, name], i) => {
                                        const x = u.valToPos(Math.log2(Math.max(1, line[key])) * 4, 'x', true);
                                        ctx.setLineDash(i ? [3 * devicePixelRatio, 3 * devicePixelRatio] : [8 * devicePixelRatio, 3 * devicePixelRatio]);
                                        ctx.beginPath();
                                        ctx.moveTo(x, bbox.top);
                                        ctx.lineTo(x, bbox.top + bbox.height);
                                        ctx.stroke();
                                        ctx.fillText(name, x + 4 * devicePixelRatio, bbox.top + (14 + 13 * line.kind) * devicePixelRatio);
                                });
                                ctx.setLineDash([]);
                        }
                },
                zoomed: (chosen) => {
                        range = chosen;
                        renew();
                },
                items: {
                        count: () => shown().length,
                        at: (i) => [shown()[i] + 0.5, tall(shown()[i])],
                        near: (u, left) => shown().indexOf(Math.floor(u.posToVal(left, 'x'))),
                        tip: (i) => el('div', {}, el('b', {}, span(shown()[i])), ...each(shown()[i]).map((words) => el('div', {}, words))),
                        words: (i) => `${span(shown()[i])}: ${each(shown()[i]).join(', ') || 'none'}`,
                },
        });
        const toggle = el('input', { type: 'checkbox', id: 'logarithmic', onchange: () => { log = toggle.checked; chart.build(); } });
        const percentiles = table('Percentiles by kind', [
                { name: 'kind', text: true, of: (line) => line.kind, show: (line) => el('span', {}, shape(line.kind), ` ${kindWords(doc.kinds[line.kind])}`) },
                { name: 'faults', of: (line) => line.count, show: (line) => text.count(line.count) },
                { name: 'mean', of: (line) => line.sum / line.count, show: (line) => text.time(line.sum / line.count) },
                { name: 'shortest', of: (line) => line.min, show: (line) => text.time(line.min) },
                ...numberColumns,
        ], lines());
        root.append(
                el('p', {}, el('label', {}, toggle, ' logarithmic counts')),
                el('figure', {}, chart.box), percentiles,
                folded('The histogram as a table', () => table('Faults by time taken', [
                        { name: 'from', of: (c) => c, show: (c) => text.time(edge(c)) },
                        { name: 'to', of: (c) => c, show: (c) => text.time(edge(c + 1)) },
                        ...lines().map((line) => ({ name: doc.kinds[line.kind], of: (c) => countOf(line, c), show: (c) => text.count(countOf(line, c)) })),
                ], classes.filter((c) => sum(c)))));
        function renew() {
                lists.forEach((line, i) => chart.u.setSeries(i + 1, { show: view.kinds[line.kind] }, false));
                percentiles.update(lines());
                chart.renew();
        }
        root.start = () => chart.build();
        view.listen(renew);
        return root;
}
