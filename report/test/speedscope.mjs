// SPDX-License-Identifier: Apache-2.0
//
// speedscope.mjs TRACE.json - speedscope, as npm has it, reads what `faultline export --format perfetto`
// has written: it complains of nothing, and shows the frames that a page fault has.
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check, checked, launch, watched } from './browser.mjs';

const folder = dirname(createRequire(import.meta.url).resolve('speedscope/package.json'));
const browser = await launch();
const page = await watched(browser);
await page.goto(pathToFileURL(resolve(folder, 'dist/release/index.html')).href);
await page.locator('input[type=file]').setInputFiles(resolve(process.argv[2]));
await page.getByText('Sandwich').click({ timeout: 30000 });

// Each thread is a profile, with a table of its frames. Rows that are out of sight are not in the
// document: the filter brings those that are asked for.
const rows = () => page.locator('table tr').allInnerTexts();
// Where nothing is found one row says so, with what was looked for in quotes.
const names = (row, frame) => row.includes(frame) && !row.includes(`"${frame}"`);
await page.waitForFunction(() => document.querySelectorAll('table tr').length > 3, null, { timeout: 30000 });
for (const frame of ['do_page_fault', 'find_vma', 'filemap_fault', 'submit_bio', 'driver submit']) {
        let found = [];
        // On a slow machine the keys may come before the filter listens.
        for (let tries = 0; tries < 5 && !found.some((row) => names(row, frame)); tries++) {
                await page.keyboard.press('Control+f');
                await page.keyboard.press('Control+a');
                await page.keyboard.type(frame);
                await page.waitForFunction((frame) => [...document.querySelectorAll('table tr')]
                        .some((row) => row.innerText.includes(frame) && !row.innerText.includes(`"${frame}"`)),
                        frame, { timeout: 4000 }).catch(() => {});
                found = await rows();
        }
        check(found.some((row) => names(row, frame)), `speedscope has no frame ${frame}: ${found.slice(0, 10).join('\n')}`);
}
// WebGL in software says this and that of its own.
const problems = page.problems.filter((words) => !/GL Driver Message|WebGL/.test(words));
check(problems.length === 0, `speedscope: ${problems.length} complaints, such as\n${problems.slice(0, 5).join('\n')}`);
check(page.requests.every((address) => /^(file|data|blob):/.test(address)), `speedscope asked the network: ${page.requests.join(' ')}`);
if (process.argv[3])
        await page.screenshot({ path: process.argv[3] });
await browser.close();
console.log(`speedscope: ${checked()} checks`);
