// SPDX-License-Identifier: Apache-2.0
//
// text.js - numbers for people.

export const count = (n) => Math.round(n).toLocaleString('en-US');

const round = (x) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));

// A time in ns.
export function time(ns) {
        if (ns < 1000)
                return `${Math.round(ns)} ns`;
        if (ns < 1e6)
                return `${round(ns / 1e3)} µs`;
        if (ns < 1e9)
                return `${round(ns / 1e6)} ms`;
        return `${round(ns / 1e9)} s`;
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(n) {
        let unit = 0;
        while (n >= 1024 && unit < units.length - 1) {
                n /= 1024;
                unit++;
        }
        return `${unit && n % 1 ? round(n) : Math.round(n)} ${units[unit]}`;
}

// A moment of the trace, in s since it began, as exact as a view of `span` s needs it.
export function moment(s, span) {
        if (span >= 0.5)
                return `${s.toFixed(span > 20 ? 0 : span > 2 ? 1 : 2)} s`;
        return `${(s * 1e3).toFixed(span > 0.02 ? 0 : span > 0.002 ? 1 : 3)} ms`;
}

// A moment on an axis whose ticks are `step` s apart.
export function tick(s, step) {
        const [unit, name] = step >= 0.1 ? [1, 's'] : step >= 1e-4 ? [1e3, 'ms'] : [1e6, 'µs'];
        let digits = 0;
        while (digits < 6 && Math.abs((step * unit * 10 ** digits) % 1) > 1e-6 && Math.abs((step * unit * 10 ** digits) % 1) < 1 - 1e-6)
                digits++;
        return `${(s * unit).toFixed(digits)} ${name}`;
}

// A moment to be found again in another tool.
export const exactly = (ns) => `${(ns / 1e9).toFixed(6)} s`;

export const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : '–');
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
