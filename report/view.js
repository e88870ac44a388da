// SPDX-License-Identifier: Apache-2.0
//
// view.js - what of the trace is shown: a span of time, a part of a file, kinds of faults. Every plot
// listens to it, so that to zoom in one is to zoom in all.

export function makeView(document) {
        const span = document.trace.span / 1e9;
        const listeners = [];
        const file = document.heat.files.length ? document.heat.files[0].file : 0;
        const view = {
                span,
                time: [0, span],
                offset: null, // bytes; null: all of the file
                file,
                kinds: document.kinds.map(() => true),
        };
        view.sizeOf = (file) => {
                const line = document.files.find((line) => line.file === file);
                return Math.max(line ? line.pages : 1, 1) * 4096;
        };
        view.offsets = () => view.offset ?? [0, view.sizeOf(view.file)];
        view.whole = () => view.time[0] <= 0 && view.time[1] >= span && !view.offset;
        view.listen = (listener) => listeners.push(listener);
        view.set = (change) => {
                Object.assign(view, change);
                const least = span / 1e6;
                if (view.time[1] - view.time[0] < least)
                        view.time = [view.time[0], view.time[0] + least];
                listeners.forEach((listener) => listener(view));
        };
        view.all = () => view.set({ time: [0, span], offset: null });
        // To a factor of what is shown, around its middle.
        view.zoom = (factor) => {
                const middle = (view.time[0] + view.time[1]) / 2;
                const half = ((view.time[1] - view.time[0]) / 2) * factor;
                view.set({ time: [Math.max(0, middle - half), Math.min(span, middle + half)] });
        };
        return view;
}
