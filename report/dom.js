// SPDX-License-Identifier: Apache-2.0
//
// dom.js - elements, tables, and what is said to a screen reader. Texts become text nodes only: names
// in a trace are anybody's.

export function el(tag, attributes = {}, ...children) {
        const element = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes)) {
                if (value === undefined || value === false)
                        continue;
                if (name.startsWith('on'))
                        element.addEventListener(name.slice(2), value);
                else
                        element.setAttribute(name, value === true ? '' : value);
        }
        element.append(...children.filter((child) => child !== null && child !== undefined));
        return element;
}

const colors = new Map();

export function color(name) {
        if (!colors.has(name))
                colors.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
        return colors.get(name);
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => colors.clear());

export function swatch(name) {
        const element = el('i', { class: 'swatch', 'aria-hidden': 'true' });
        element.style.background = `var(--${name})`;
        return element;
}

export function say(text) {
        document.getElementById('said').textContent = text;
}

export function section(id, title, lead) {
        return el(
                'section',
                { id, 'aria-labelledby': `${id}-title` },
                el('h2', { id: `${id}-title` }, title),
                lead ? el('p', { class: 'lead' }, lead) : null,
        );
}

const FEW = 50;

// columns: {name, of: row => value to sort by, show: row => text or node, text: left-aligned}.
// sort: number of the column and whether the greatest comes first.
export function table(caption, columns, rows, sort = null) {
        const state = { sort, shown: FEW, rows };
        const body = el('tbody');
        const more = el('button', { type: 'button', onclick: () => { state.shown += 500; fill(); } });
        const heads = columns.map((column, i) =>
                el('th', { scope: 'col', class: column.text ? 'text' : undefined },
                        column.of
                                ? el('button', { type: 'button', onclick: () => order(i) }, column.name)
                                : column.name));
        const scroll = el('div',
                { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
                el('table', { class: 'sheet' }, el('caption', {}, caption),
                        el('thead', {}, el('tr', {}, ...heads)), body));
        const root = el('div', {}, scroll, more);

        function order(i) {
                const down = state.sort && state.sort[0] === i ? !state.sort[1] : !columns[i].text;
                state.sort = [i, down];
                fill();
                say(`${caption}: sorted by ${columns[i].name}, ${down ? 'greatest' : 'least'} first`);
        }
        function fill() {
                let list = state.rows;
                if (state.sort) {
                        const [i, down] = state.sort;
                        const of = columns[i].of;
                        list = [...list].sort((a, b) => {
                                const x = of(a), y = of(b);
                                const way = x < y ? -1 : x > y ? 1 : 0;
                                return down ? -way : way;
                        });
                }
                heads.forEach((head, i) => {
                        if (state.sort && state.sort[0] === i)
                                head.setAttribute('aria-sort', state.sort[1] ? 'descending' : 'ascending');
                        else
                                head.removeAttribute('aria-sort');
                });
                body.replaceChildren(...list.slice(0, state.shown).map((row) =>
                        el('tr', {}, ...columns.map((column, i) =>
                                el(i ? 'td' : 'th', {
                                        scope: i ? undefined : 'row',
                                        class: [column.text && 'text', column.long && 'long']
                                                .filter(Boolean).join(' ') || undefined,
                                }, column.show(row))))));
                if (!list.length)
                        body.append(el('tr', {}, el('td', { class: 'text', colspan: String(columns.length) }, 'none')));
                more.hidden = list.length <= state.shown;
                more.textContent = `Show more of the ${list.length.toLocaleString('en-US')} lines`;
        }
        fill();
        root.update = (rows) => {
                state.rows = rows;
                fill();
        };
        return root;
}

// A table that is made when it is first opened: make() returns it.
export function folded(summary, make) {
        const details = el('details', {}, el('summary', {}, summary));
        let made = null;
        details.addEventListener('toggle', () => {
                if (!details.open)
                        return;
                made?.remove();
                made = make();
                details.append(made);
        });
        details.refresh = () => {
                if (details.open)
                        details.dispatchEvent(new Event('toggle'));
        };
        return details;
}

// ---- the tip beside the pointer ----

export function showTip(content, x, y) {
        const tip = document.getElementById('tip');
        tip.replaceChildren(content);
        tip.hidden = false;
        const { width, height } = tip.getBoundingClientRect();
        const right = x + 18 + width > innerWidth - 8 ? x - 18 - width : x + 18;
        tip.style.left = `${Math.max(8, right)}px`;
        tip.style.top = `${Math.max(8, Math.min(y - height / 3, innerHeight - height - 8))}px`;
}

export function hideTip() {
        document.getElementById('tip').hidden = true;
}
