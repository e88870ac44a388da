// SPDX-License-Identifier: Apache-2.0
//
// page.mjs FOLDER - the pages that tests/cli/report.sh has made there, used as people use them: with the
// pointer, with the keyboard, by what a screen reader is told. Exit status 0 passed, 1 failed, 77 skipped.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check, checked, launch, watched } from './browser.mjs';

const folder = resolve(process.argv[2]);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await launch();

async function open(name, options) {
        const page = await watched(browser, { ...options, bypassCSP: false });
        await page.goto(pathToFileURL(`${folder}/${name}`).href);
        await page.waitForFunction(() => document.querySelector('main').children.length > 0);
        return page;
}

// Nothing logged, nothing thrown, nothing fetched but the page.
async function close(page, name) {
        check(page.problems.length === 0, `${name}: ${page.problems.join('\n')}`);
        check(page.requests.length === 1, `${name}: asked the network: ${page.requests.join(' ')}`);
        await page.context().close();
}

const said = (page) => page.locator('#said').textContent();
// Within 10 s, on a machine that is busy.
const appears = (locator) => locator.waitFor({ state: 'visible', timeout: 10000 }).then(() => true, () => false);
const vanishes = (locator) => locator.waitFor({ state: 'hidden', timeout: 10000 }).then(() => true, () => false);
const tip = (page) => page.locator('#tip');
const over = (page, id) => page.locator(`#${id} .u-over`).first();

const toMiddle = (page, id) => over(page, id).evaluate((plot) => plot.scrollIntoView({ block: 'center' }));

// A dot's place inside of the plot, from the document and what is shown.
async function placeOf(page, dot) {
        const box = await over(page, 'faults').boundingBox();
        const { span, size } = await page.evaluate((file) => {
                const doc = JSON.parse(document.getElementById('document').textContent);
                return { span: doc.trace.span, size: doc.files.find((line) => line.file === file).pages };
        }, dot.file);
        return { x: (dot.t / span) * box.width, y: (1 - (dot.page + 0.5) / size) * box.height };
}

const documentOf = (page) => page.evaluate(() => JSON.parse(document.getElementById('document').textContent));

async function accessible(page, name) {
        // Through the debugger, which the page's policy does not bind.
        const session = await page.context().newCDPSession(page);
        await session.send('Runtime.evaluate', { expression: axe });
        const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
                expression: `axe.run(document, { resultTypes: ['violations'] }).then((r) => JSON.stringify({
                        passes: r.passes.length,
                        violations: r.violations.map((v) => v.id + ': ' + v.help + ' ' + v.nodes.slice(0, 3).map((n) => n.html + n.any.map((c) => c.message)).join(' | ')),
                }))`,
                awaitPromise: true,
        });
        check(!exceptionDetails, `${name}: axe: ${JSON.stringify(exceptionDetails)}`);
        const found = JSON.parse(result.value);
        check(found.passes > 15, `${name}: axe looked at ${found.passes} rules only`);
        check(found.violations.length === 0, `${name}: accessibility: ${found.violations.join('\n')}`);
}

// ---- a random and a sequential reader ----
{
        const name = 'mixed.html';
        const page = await open(name);
        const doc = await documentOf(page);
        check((await page.title()) === `${doc.trace.name} – Faultline report`, `title: ${await page.title()}`);
        check(doc.dots.list.length > 20, `${doc.dots.list.length} dots`);

        // Pointing at a dot tells its path, layer by layer: the slowest that waited for a request of its own,
        // whose path is not so long that its middle is left out for want of room, and which no other hides.
        const submit = Number(Object.keys(doc.events.of).find((number) => doc.events.of[number].text === 'driver submit'));
        const dots = doc.dots.list
                .filter((d) => d.file === doc.heat.files[0].file && d.kind === 0 && d.path.length / 3 <= 36 &&
                        d.path.some((number, i) => i % 3 === 1 && number === submit))
                .sort((a, b) => b.ns - a.ns);
        const names = (text, d) => text.includes(`fault ${d.id}\n`) || text.includes(`fault ${d.id} `);
        let fault;
        for (const dot of dots.slice(0, 20)) {
                await over(page, 'faults').hover({ position: await placeOf(page, dot) });
                check(await appears(tip(page)), 'pointing at a dot shows nothing');
                fault = names(await tip(page).innerText(), dot) ? dot : undefined;
                if (fault)
                        break;
        }
        check(fault, `none of ${dots.length} dots can be pointed at`);
        const told = await tip(page).innerText();
        for (const words of ['major fault', 'do_page_fault', 'find_vma', 'submit_bio', 'request complete', 'fault done', 'device'])
                check(told.includes(words), `the tip of a major fault says nothing of ${words}: ${told}`);
        const order = ['do_page_fault', 'find_vma', 'filemap_fault', 'submit_bio', 'request dispatch', 'driver submit', 'request complete', 'fault done']
                .map((words) => told.indexOf(words));
        check(order.every((at, i) => at >= 0 && (!i || at > order[i - 1])), `the path is not in order: ${order}`);
        // Clicking keeps it.
        await page.mouse.down();
        await page.mouse.up();
        check(await appears(page.locator('#path')), 'a click does not keep the path');
        check((await page.locator('#path h3').innerText()).startsWith('major fault'), 'what is kept is another fault');
        check((await page.locator('#path tbody tr').count()) === fault.path.length / 3, 'the kept path lacks events');
        await page.locator('#path button').click();
        check(await vanishes(page.locator('#path')), 'the kept path does not close');
        await page.mouse.move(0, 0);
        check(await vanishes(tip(page)), 'the tip stays');

        // Selecting a range zooms in all plots; double-click shows all again.
        const whole = await page.locator('#range').innerText();
        await toMiddle(page, 'faults');
        const box = await over(page, 'faults').boundingBox();
        await page.mouse.move(box.x + box.width * 0.25, box.y + 30);
        await page.mouse.down();
        await page.mouse.move(box.x + box.width * 0.5, box.y + box.height * 0.6, { steps: 4 });
        await page.mouse.up();
        const zoomed = await page.locator('#range').innerText();
        check(zoomed !== whole && zoomed.includes(','), `no zoom into time and offset: ${zoomed}`);
        const fewer = Number((await said(page)).replace(/\D/g, ''));
        check(fewer > 0 && fewer < doc.dots.list.length, `${fewer} dots after zooming: ${await said(page)}`);
        await page.screenshot({ path: `${folder}/zoomed.png` });
        await over(page, 'faults').dblclick();
        check((await page.locator('#range').innerText()) === whole, 'a double-click does not show all');
        check(await page.locator('#reset').isDisabled(), 'all is shown, and the button says not');
        // In a plot of time only, and the button.
        await toMiddle(page, 'requests');
        const at = await over(page, 'requests').boundingBox();
        await page.mouse.move(at.x + at.width * 0.2, at.y + 40);
        await page.mouse.down();
        await page.mouse.move(at.x + at.width * 0.4, at.y + 40, { steps: 4 });
        await page.mouse.up();
        check((await page.locator('#range').innerText()) !== whole, 'no zoom by the plot of requests');
        await page.locator('#reset').click();
        check((await page.locator('#range').innerText()) === whole, 'the button does not show all');

        // Kinds are filtered, by the keyboard too.
        const major = page.locator('[data-kind=major]');
        await page.locator('#faults summary').click();
        await page.locator('#faults tbody button').first().waitFor(); // what is folded is built when it unfolds
        const kinds = () => page.locator('#faults tbody td:nth-child(2)').allInnerTexts();
        check((await kinds()).includes('major'), 'no major fault in the table');
        await major.focus();
        await page.keyboard.press('Space');
        check(!(await major.isChecked()), 'the keyboard does not reach the filter');
        check(!(await kinds()).includes('major'), 'what is filtered stays in the table');
        check(!(await page.locator('#latency tbody').first().innerText()).includes('major'), 'percentiles of what is hidden');
        await page.keyboard.press('Space');
        check((await kinds()).includes('major'), 'what is shown again is not in the table');

        // Tables sort, by their headers' buttons.
        const head = page.locator('#faults thead button', { hasText: 'time taken' });
        const column = () => page.locator('#faults tbody th').allInnerTexts();
        const slowest = (await column())[0];
        check((await page.locator('#faults th[aria-sort=descending]').innerText()).startsWith('time taken'), 'not sorted by time');
        await head.focus();
        await page.keyboard.press('Enter');
        check((await page.locator('#faults th[aria-sort=ascending]').innerText()).startsWith('time taken'), 'the order does not turn');
        check((await column())[0] !== slowest, 'sorting does not change the table');
        check((await said(page)).includes('sorted by time taken'), `sorting is not said: ${await said(page)}`);
        await page.locator('#faults tbody button').first().click();
        check(await appears(page.locator('#path')), 'the table shows no path');

        // The keyboard alone: from one dot to the next, kept, zoomed, out again.
        const plot = page.locator('#faults .chart');
        await plot.focus();
        await page.keyboard.press('Home');
        check((await said(page)).startsWith('1 of '), `Home: ${await said(page)}`);
        check(await appears(tip(page)), 'a dot reached by the keyboard has no tip');
        await page.keyboard.press('ArrowRight');
        check((await said(page)).startsWith('2 of '), `right: ${await said(page)}`);
        check(/fault, [\d.]+ (ns|µs|ms|s)/.test(await said(page)), `what is said of a dot: ${await said(page)}`);
        await page.keyboard.press('Enter');
        check(await appears(page.locator('#path')), 'Enter does not keep the path');
        await plot.focus();
        await page.keyboard.press('+');
        check((await page.locator('#range').innerText()) !== whole, '+ does not zoom');
        await page.keyboard.press('Escape');
        check((await page.locator('#range').innerText()) === whole, 'Escape does not show all');
        for (const id of ['heat', 'latency', 'readahead', 'requests', 'cache']) {
                await page.locator(`#${id} .chart`).first().focus();
                await page.keyboard.press('End');
                check(await appears(tip(page)), `${id}: the keyboard reaches nothing`);
                check((await said(page)).length > 10, `${id}: nothing is said`);
        }
        // Tab reaches every plot, and they have names.
        const plots = await page.locator('.chart').evaluateAll((all) => all.map((c) => [c.tabIndex, c.getAttribute('aria-label')]));
        check(plots.length >= 8 && plots.every(([index, label]) => index === 0 && label.length > 20), `plots: ${JSON.stringify(plots)}`);

        // Every plot has drawn something.
        const blank = await page.locator('.chart canvas').evaluateAll((all) => all.map((canvas) => {
                const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
                const colors = new Set();
                for (let i = 0; i < data.length; i += 4 * 7)
                        if (data[i + 3])
                                colors.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
                return colors.size;
        }));
        check(blank.every((colors) => colors > 3), `plots with nothing in them: ${blank}`);

        // The numbers of the page are those of the command's counters.
        const tiles = await page.locator('#facts b').allInnerTexts();
        check(tiles[0] === doc.trace.faults.toLocaleString('en-US'), `faults: ${tiles[0]}`);
        const used = doc.windows.whys.reduce((sum, line) => sum + line.used + line.late + line.wasted, 0);
        check(used === doc.windows.whys.reduce((sum, line) => sum + line.pages, 0), 'pages of windows that became nothing');
        // Files are chosen.
        if (doc.files.length > 1) {
                await page.locator('#file').selectOption(String(doc.files[doc.files.length - 1].file));
                check((await page.locator('#file').inputValue()) === String(doc.files[doc.files.length - 1].file), 'no other file');
        }
        // The logarithmic histogram.
        await page.locator('#logarithmic').check();
        await page.locator('#logarithmic').uncheck();
        // Fits a narrow screen.
        await page.setViewportSize({ width: 420, height: 800 });
        await page.waitForTimeout(50);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        check(wide <= 440, `a narrow screen has to scroll sideways: ${wide}`);
        await page.setViewportSize({ width: 1280, height: 900 });
        await page.locator('#files tbody th').first().waitFor();
        await accessible(page, name);
        await close(page, name);

        const dark = await open(name, { colorScheme: 'dark' });
        await accessible(dark, `${name}, dark`);
        await close(dark, `${name}, dark`);
}

// ---- a million events ----
{
        const name = 'million.html';
        const before = Date.now();
        const page = await open(name);
        const doc = await documentOf(page);
        check(doc.trace.events + doc.trace.dropped >= Number(process.argv[3] ?? 1), `${doc.trace.events} events`);
        check(doc.dots.list.length <= 3000 && doc.dots.together, `${doc.dots.list.length} dots`);
        check(doc.dots.list.reduce((sum, d) => sum + d.n, 0) === doc.dots.placed, 'dots that stand for other faults than there are');
        const crowd = doc.dots.list.filter((d) => d.n > 1 && d.file === doc.heat.files[0].file).sort((a, b) => b.n - a.n)[0];
        await over(page, 'faults').hover({ position: await placeOf(page, crowd) });
        check((await tip(page).innerText()).includes('slowest of'), 'a dot for many does not say so');
        console.log(`${name}: ${doc.trace.events} events, ${readFileSync(`${folder}/${name}`).length} bytes, open after ${Date.now() - before} ms`);
        check(readFileSync(`${folder}/${name}`).length < 8e6, 'the page is too large');
        await close(page, name);
}

// ---- nothing, less than all, and names that are anybody's ----
{
        const page = await open('empty.html');
        check((await page.locator('#nothing').innerText()).includes('no'), 'an empty trace is not called one');
        check(!(await page.locator('#bar').isVisible()), 'filters of nothing');
        await accessible(page, 'empty.html');
        await close(page, 'empty.html');
}
{
        const page = await open('short.html');
        check((await page.locator('#notes').innerText()).includes('not whole'), 'a trace that was cut is not called so');
        check((await page.locator('#faults .chart canvas').count()) === 1, 'what is there is not shown');
        await close(page, 'short.html');
}
{
        const page = await open('names.html');
        await page.waitForTimeout(100);
        check((await page.locator('main img, header img').count()) === 0, 'a name became an element');
        check(!(await page.evaluate(() => 'hacked' in window)), 'a name was run');
        check((await page.locator('#source').innerText()).includes('<img src=x onerror='), 'the name is not shown as it is');
        check((await page.locator('#files').innerText()).includes('<img src'), `the file's name is not shown as it is: ${await page.locator('#files').innerText()}`);
        await close(page, 'names.html');
}
await browser.close();
console.log(`${checked()} checks`);
