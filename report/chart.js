// SPDX-License-Identifier: Apache-2.0
//
// chart.js - one plot: uPlot draws axes and series; what is under the pointer, the keyboard and the
// words for those who do not see it are here.
//
// A plot has items (dots, windows, parts of the time): at(i) tells where item i is, tip(i) what it is.
// The pointer takes the nearest, the arrow keys the next.
import uPlot from 'uplot';
import { color, el, hideTip, say, showTip } from './dom.js';
import * as text from './text.js';

const plots = [];
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () =>
        plots.forEach((plot) => plot.repaint()));
addEventListener('resize', () => plots.forEach((plot) => plot.fit()));

// A page that is scrolled under a pointer at rest is no pointing: the keyboard's choice stays.
let pointing = false, last = '';
addEventListener('pointermove', (event) => {
        const at = `${event.screenX},${event.screenY}`;
        pointing ||= at !== last;
        last = at;
}, true);
addEventListener('keydown', () => { pointing = false; }, true);

const font = '12px system-ui, sans-serif';

function axis(more) {
        return {
                stroke: () => color('soft'),
                grid: { stroke: () => color('grid'), width: 1 },
                ticks: { stroke: () => color('grid'), width: 1 },
                font,
                labelFont: font,
                ...more,
        };
}

export function timeAxis() {
        return axis({
                values: (u, splits, at, space, step) => splits.map((s) => text.tick(s, step)),
                space: 80,
                size: 36,
        });
}

// Splits at powers of two, as offsets and sizes have them.
function powers(u, axisNumber, min, max) {
        let step = 2 ** Math.ceil(Math.log2(Math.max((max - min) / 7, 1)));
        const splits = [];
        for (let at = Math.ceil(min / step) * step; at <= max && splits.length < 40; at += step)
                splits.push(at);
        return splits;
}

export const bytesAxis = () =>
        axis({ splits: powers, values: (u, splits) => splits.map(text.bytes), size: 76 });
export const countAxis = (more = {}) =>
        axis({
                values: (u, splits) => splits.map((n) => (n === null || n % 1 ? (n === null ? '' : String(n)) : text.count(n))),
                size: 64,
                ...more,
        });

// options: {title, about, height, view, time (x is time), offsets (y is offset), scales, axes, series,
// data, draw, items: {count(), at(i) -> [x, y], near(u, left, top) -> i or -1, tip(i) -> node,
// words(i), keep(i)}}
export function makeChart(options) {
        const { view } = options;
        const id = `chart-${plots.length}`;
        const box = el('div', {
                class: 'chart',
                id,
                tabindex: '0',
                role: 'group',
                'aria-roledescription': 'plot',
                'aria-label': `${options.title}. ${options.about}`,
                'aria-keyshortcuts': 'ArrowLeft ArrowRight Home End Enter + - Escape',
        });
        let current = -1;
        const items = options.items;

        function point(u) {
                const [x, y] = items.at(current);
                const rect = u.over.getBoundingClientRect();
                return [rect.left + u.valToPos(x, 'x'), rect.top + u.valToPos(y, 'y')];
        }
        function choose(i, left, top) {
                if (i === current && left !== undefined)
                        return;
                current = i;
                if (i < 0) {
                        hideTip();
                } else {
                        const [x, y] = left === undefined ? point(plot.u) : [left, top];
                        showTip(items.tip(i), x, y);
                }
                plot.u.redraw(false, false);
        }
        function pointed(u) {
                if (!items || !pointing || !u.over.matches(':hover'))
                        return;
                const { left, top } = u.cursor;
                if (left < 0) {
                        choose(-1);
                        return;
                }
                const rect = u.over.getBoundingClientRect();
                choose(items.near(u, left, top), rect.left + left, rect.top + top);
        }
        function selected(u) {
                const { left, top, width, height } = u.select;
                if (width < 4 && height < 4)
                        return;
                u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
                const change = {};
                if (options.time && width >= 4)
                        change.time = [Math.max(0, u.posToVal(left, 'x')),
                                Math.min(view.span, u.posToVal(left + width, 'x'))];
                if (options.offsets && height >= 4 && height < u.over.clientHeight - 1)
                        change.offset = [Math.max(0, u.posToVal(top + height, 'y')), u.posToVal(top, 'y')];
                hideTip();
                if (options.zoomed)
                        options.zoomed([u.posToVal(left, 'x'), u.posToVal(left + width, 'x')]);
                else
                        view.set(change);
        }
        // The one that is pointed at, seen without the pointer too.
        function mark(u) {
                if (!items || current < 0 || current >= items.count())
                        return;
                const [x, y] = items.at(current);
                const left = u.valToPos(x, 'x', true), top = u.valToPos(y, 'y', true);
                const { ctx } = u;
                ctx.save();
                ctx.strokeStyle = color('ink');
                ctx.lineWidth = 2 * devicePixelRatio;
                ctx.beginPath();
                ctx.arc(left, top, 7 * devicePixelRatio, 0, 2 * Math.PI);
                ctx.stroke();
                ctx.restore();
        }
        function drawn(u) {
                const { ctx, bbox } = u;
                ctx.save();
                ctx.beginPath();
                ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
                ctx.clip();
                options.draw?.(u);
                ctx.restore();
                mark(u);
        }
        function build() {
                plot.u?.destroy();
                plot.u = new uPlot({
                        width: Math.max(box.clientWidth, 280),
                        height: options.height ?? 260,
                        legend: { show: false },
                        cursor: {
                                drag: { x: true, y: Boolean(options.offsets), uni: 24, setScale: false },
                                points: { show: false },
                                y: false,
                                bind: { dblclick: () => () => (options.zoomed ? options.zoomed(null) : view.all()) },
                        },
                        scales: options.scales(),
                        axes: options.axes(),
                        series: options.series ? options.series() : [{}, { show: false }],
                        hooks: { draw: [drawn], setCursor: [pointed], setSelect: [selected] },
                }, options.data(), box);
        }
        const plot = {
                u: null,
                box,
                build,
                repaint: () => plot.u?.redraw(true, true),
                fit: () => plot.u?.setSize({ width: Math.max(box.clientWidth, 280), height: options.height ?? 260 }),
                forget: () => { current = -1; hideTip(); },
                // What is shown has changed.
                renew: () => {
                        plot.forget();
                        if (plot.u)
                                plot.u.setData(options.data(), true);
                },
        };
        box.addEventListener('keydown', (event) => {
                const nr = items ? items.count() : 0;
                const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 };
                if (event.ctrlKey || event.altKey || event.metaKey)
                        return;
                if (event.key === '+' || event.key === '=') {
                        if (options.time)
                                view.zoom(0.5);
                } else if (event.key === '-') {
                        if (options.time)
                                view.zoom(2);
                } else if (event.key === 'Escape') {
                        plot.forget();
                        if (options.zoomed)
                                options.zoomed(null);
                        else
                                view.all();
                } else if (event.key in steps && nr) {
                        const next = current < 0 ? (steps[event.key] > 0 ? 0 : nr - 1) : current + steps[event.key];
                        choose(Math.max(0, Math.min(nr - 1, next)));
                        say(items.words(current));
                } else if ((event.key === 'Home' || event.key === 'End') && nr) {
                        choose(event.key === 'Home' ? 0 : nr - 1);
                        say(items.words(current));
                } else if ((event.key === 'Enter' || event.key === ' ') && current >= 0) {
                        items.keep?.(current);
                } else {
                        return;
                }
                event.preventDefault();
        });
        box.addEventListener('blur', () => { plot.forget(); plot.repaint(); });
        box.addEventListener('mouseleave', () => pointing && choose(-1));
        // A click keeps what is under it, unless it is the first of two.
        let clicked;
        box.addEventListener('click', () => {
                const chosen = current;
                clearTimeout(clicked);
                if (chosen >= 0)
                        clicked = setTimeout(() => items?.keep?.(chosen), 250);
        });
        box.addEventListener('dblclick', () => clearTimeout(clicked));
        plots.push(plot);
        return plot;
}

// A bin a step, drawn by uPlot: names and colours of several series over time.
export function makeSteps({ title, about, view, series, value, axes, height, width, keep }) {
        const bins = series[0].values.length;
        const seconds = view.span / bins;
        const xs = Array.from({ length: bins + 1 }, (_, i) => i * seconds);
        const shown = () => {
                const from = Math.max(0, Math.floor(view.time[0] / seconds));
                const to = Math.min(bins - 1, Math.ceil(view.time[1] / seconds) - 1);
                return [from, Math.max(from, to)];
        };
        const tall = (i) => Math.max(...series.map((s) => s.values[i] ?? 0));
        const at = (i) => i + shown()[0];
        const line = (i) => series.map((s) => `${s.name} ${value(s.values[at(i)] ?? 0, s)}`);
        const when = (i) => {
                const span = view.time[1] - view.time[0];
                return `${text.moment(xs[at(i)], Math.min(span, seconds * 20))} to ${text.moment(xs[at(i) + 1], Math.min(span, seconds * 20))}`;
        };
        const chart = makeChart({
                title,
                about,
                view,
                time: true,
                height: height ?? 200,
                scales: () => ({
                        x: { time: false, range: () => view.time },
                        y: { range: (u, min, max) => [0, Math.max((max || 0) * 1.08, 1)] },
                }),
                axes: () => [timeAxis(), axes ?? countAxis()],
                series: () => [{}, ...series.map((s) => ({
                        label: s.name,
                        stroke: () => color(s.color),
                        fill: s.fill ? () => `${color(s.color)}38` : undefined,
                        width: width ?? 1.5,
                        dash: s.dash,
                        points: { show: false },
                        paths: uPlot.paths.stepped({ align: 1 }),
                }))],
                data: () => [xs, ...series.map((s) => [...s.values, s.values[bins - 1]])],
                items: {
                        count: () => shown()[1] - shown()[0] + 1,
                        at: (i) => [xs[at(i)] + seconds / 2, tall(at(i))],
                        near: (u, left) => {
                                const bin = Math.floor(u.posToVal(left, 'x') / seconds) - shown()[0];
                                return Math.max(0, Math.min(shown()[1] - shown()[0], bin));
                        },
                        tip: (i) => el('div', {}, el('b', {}, when(i)), ...line(i).map((words) => el('div', {}, words))),
                        words: (i) => `${when(i)}: ${line(i).join(', ')}`,
                        keep,
                },
        });
        chart.xs = xs;
        return chart;
}

export { color };
