// SPDX-License-Identifier: Apache-2.0
//
// browser.mjs - headless Chromium for the tests, and a page in it that is watched: whatever is logged as
// an error, thrown, or asked of the network is kept.
import { accessSync, constants } from 'node:fs';
import { chromium } from 'playwright-core';

export function findChromium() {
        for (const path of [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']) {
                try {
                        accessSync(path ?? '', constants.X_OK);
                        return path;
                } catch {
                        continue;
                }
        }
        console.error('skipped: no Chromium here (Debian: chromium)');
        process.exit(77);
}

export async function launch() {
        const executablePath = findChromium();
        return chromium.launch({
                executablePath,
                args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
                        '--disable-background-networking', '--disable-component-update', '--disable-sync',
                        '--force-color-profile=srgb', '--font-render-hinting=none'],
        });
}

// own: what a page may load (a function of the address); the page itself is file:.
export async function watched(browser, options = {}) {
        const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
        const page = await context.newPage();
        page.problems = [];
        page.requests = [];
        page.on('console', (message) => {
                if (message.type() === 'error' || message.type() === 'warning')
                        page.problems.push(`console: ${message.text()}`);
        });
        page.on('pageerror', (error) => page.problems.push(`thrown: ${error.stack ?? error}`));
        page.on('request', (request) => page.requests.push(request.url()));
        page.on('dialog', (dialog) => {
                page.problems.push(`dialog: ${dialog.message()}`);
                dialog.dismiss();
        });
        return page;
}

let checks = 0;

export function check(condition, what) {
        checks++;
        if (!condition) {
                console.error(`FAIL: ${what}`);
                process.exit(1);
        }
}

export const checked = () => checks;
