// SPDX-License-Identifier: Apache-2.0
//
// bench.mjs PAGE.html RUN.json [PICTURE.png] - the page of `faultline bench --html`, as a browser shows it:
// every row of the run has its heading, its plot with a bar for each ratio, and its line in the table; it
// fits narrow windows, in light and in dark. Exit status 0 passed, 1 failed, 77 skipped.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check, checked, launch, watched } from './browser.mjs';

const [source, json, picture] = process.argv.slice(2).map((name) => resolve(name));
const run = JSON.parse(readFileSync(json, 'utf8'));
const rows = run.rows.filter((row) => row.sides.length > 0);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await launch();

for (const colorScheme of ['light', 'dark']) {
        const page = await watched(browser, { colorScheme });
        await page.goto(pathToFileURL(source).href);
        check((await page.locator('h2[id^="row-"]').allTextContents()).join() === rows.map((row) => row.name).join(),
                'a heading for each row, in their order');
        for (const [i, row] of rows.entries()) {
                const heading = page.locator('h2[id^="row-"]').nth(i);
                const plot = page.locator('svg').filter({ hasText: `${row.name}: ` }).first();
                const box = await plot.boundingBox();
                const text = await plot.textContent();

                check(await heading.isVisible(), `${row.name}: no heading to be seen`);
                check(box !== null && box.width > 100 && box.height > 10, `${row.name}: no plot to be seen`);
                for (const side of row.sides)
                        check(text.includes(side.name), `${row.name}: ${side.name} is not in the plot`);
                for (const shape of await plot.locator('rect, circle, line').all()) {
                        const at = await shape.boundingBox();

                        check(at === null || (at.x >= box.x - 1 && at.x + at.width <= box.x + box.width + 1),
                                `${row.name}: drawn beside the plot`);
                }
        }
        // Of those who do not see the plots.
        const result = await page.evaluate(`${axe}; axe.run(document, { resultTypes: ['violations'] })`);
        check(result.passes.length > 5, 'axe looked at nothing');
        check(result.violations.length === 0, `${colorScheme}: ${result.violations
                .map((v) => `${v.id}: ${v.help} ${v.nodes.slice(0, 2).map((n) => n.html).join(' ')}`).join('\n')}`);
        if (picture && colorScheme === 'light')
                await page.screenshot({ path: picture, fullPage: true });
        await page.setViewportSize({ width: 360, height: 700 });
        check(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth),
                'wider than a narrow window');
        check(await page.evaluate(() => window.hacked === undefined), 'a name was believed');
        check(page.problems.length === 0, page.problems.join('\n'));
        check(page.requests.length === 1, `asked the network: ${page.requests.join(' ')}`);
        await page.context().close();
}
await browser.close();
console.log(`${checked()} checks`);
