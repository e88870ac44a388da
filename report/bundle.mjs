// SPDX-License-Identifier: Apache-2.0
//
// bundle.mjs OUTPUT.c - the page of `faultline report` as C: what comes before a report's document and
// what after it. Scripts and styles are inside, and the page's Content-Security-Policy names them by
// their hashes: whatever else might get into a page is not run, and nothing is fetched.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2];

async function bundled(entry) {
        const result = await build({
                entryPoints: [join(here, entry)],
                bundle: true,
                minify: true,
                write: false,
                charset: 'utf8',
                format: 'iife',
                target: ['es2020'],
                legalComments: 'none',
        });
        return result.outputFiles[0].text.trim();
}

const hash = (text) => `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;
const script = await bundled('page.js');
const style = await bundled('page.css');
if (/<\/script/i.test(script) || /<\/style/i.test(style))
        throw new Error('the bundle ends its own element');
const license = readFileSync(join(here, 'node_modules/uplot/LICENSE'), 'utf8').trim();
const uplot = JSON.parse(readFileSync(join(here, 'node_modules/uplot/package.json'), 'utf8'));
const policy =
        `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; ` +
        "img-src data:; base-uri 'none'; form-action 'none'";

// Functions as replacements: a string's $ would mean something.
const page = readFileSync(join(here, 'page.html'), 'utf8')
        .replace('{{policy}}', () => policy)
        .replace('{{notice}}', () => `uPlot ${uplot.version}\n${license.replaceAll('--', '- -')}`)
        .replace('{{style}}', () => style)
        .replace('{{script}}', () => script);
const parts = page.split('{{document}}');
if (parts.length !== 2)
        throw new Error('page.html has not one place for the document');

function array(name, text) {
        const bytes = [...Buffer.from(text, 'utf8')];
        const lines = [];
        for (let i = 0; i < bytes.length; i += 24)
                lines.push(bytes.slice(i, i + 24).join(','));
        return (
                `const unsigned char ${name}[] = {\n${lines.join(',\n')}\n};\n` +
                `const size_t ${name}_size = sizeof(${name});\n`
        );
}

writeFileSync(
        output,
        '/* Made by report/bundle.mjs. */\n#include "report_page.h"\n' +
                array('report_page_head', parts[0]) +
                array('report_page_tail', parts[1]),
);
