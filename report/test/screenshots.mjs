// SPDX-License-Identifier: Apache-2.0
//
// screenshots.mjs PAGE.html FOLDER - the pictures of the documentation, taken of a report as it is.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check, launch, watched } from './browser.mjs';

const [source, folder] = process.argv.slice(2).map((name) => resolve(name));
const browser = await launch();

async function open(colorScheme) {
        const page = await watched(browser, { colorScheme, viewport: { width: 1280, height: 860 } });
        await page.goto(pathToFileURL(source).href);
        await page.locator('#threads tbody tr').first().waitFor();
        return page;
}

const light = await open('light');
await light.screenshot({ path: `${folder}/report-overview.png` });

// One fault, pointed at: the slowest that is a dot.
const plot = light.locator('#faults .u-over');
await light.evaluate(() => document.getElementById('faults').scrollIntoView({ block: 'start' }));
const at = await light.evaluate(() => {
        const doc = JSON.parse(document.getElementById('document').textContent);
        const file = doc.heat.files[0].file;
        const dot = doc.dots.list.filter((d) => d.file === file && d.kind === 0 && d.t > doc.trace.span / 8 && d.t < doc.trace.span / 3)
                .sort((a, b) => b.ns - a.ns)[0];
        const size = doc.files.find((line) => line.file === file).pages;
        return { x: dot.t / doc.trace.span, y: 1 - (dot.page + 0.5) / size };
});
const box = await plot.boundingBox();
await plot.hover({ position: { x: at.x * box.width, y: at.y * box.height } });
check(await light.locator('#tip').isVisible(), 'no tip');
await light.screenshot({ path: `${folder}/report-fault.png` });
await light.mouse.move(0, 0);

const dark = await open('dark');
await dark.evaluate(() => document.getElementById('readahead').scrollIntoView({ block: 'start' }));
await dark.waitForTimeout(100);
await dark.screenshot({ path: `${folder}/report-readahead.png` });
await light.evaluate(() => document.getElementById('slowest').scrollIntoView({ block: 'start' }));
await light.waitForTimeout(100);
await light.screenshot({ path: `${folder}/report-slowest.png` });
check(light.problems.length + dark.problems.length === 0, [...light.problems, ...dark.problems].join('\n'));
await browser.close();
