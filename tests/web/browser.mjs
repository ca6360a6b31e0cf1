// Drives the page in headless Chromium.
//
//     node tests/web/browser.mjs --binary target/release/roomcast [--only WORDS] [--screenshot FILE]
//     node tests/web/browser.mjs --url http://127.0.0.1:8080      (leaves out what needs a restart)
//
// playwright-core is looked for in ROOMCAST_NODE_MODULES or NODE_PATH, Chromium in ROOMCAST_CHROMIUM or /usr/bin.
// With --screenshot nothing is checked and a picture for the README is made.

import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { checks } from './browser/checks.mjs';
import { portrait } from './browser/portrait.mjs';
import { Server } from './browser/server.mjs';
import { Stage } from './browser/stage.mjs';

const { values: options } = parseArgs({
  options: {
    binary: { type: 'string' }, url: { type: 'string' }, only: { type: 'string' }, screenshot: { type: 'string' },
  },
});
if (!options.binary === !options.url) {
  console.error('usage: browser.mjs --binary PATH | --url URL  [--only WORDS] [--screenshot FILE]');
  process.exit(2);
}

const chromium = find_chromium();
let server = null;
let browser = null;
let failed = 0;
try {
  server = options.binary ? await Server.start(options.binary) : null;
  browser = await chromium.launch({
    executablePath: process.env.ROOMCAST_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const base = server?.url ?? options.url;
  if (options.screenshot) await portrait(new Stage(browser, base), options.screenshot);
  else failed = await run(base);
} catch (error) {
  failed += 1;
  console.log(`FAIL  ${error.message}`);
} finally {
  await browser?.close();
  await server?.stop();
}
process.exit(failed > 0 ? 1 : 0);

function find_chromium() {
  const folders = [process.env.ROOMCAST_NODE_MODULES, ...(process.env.NODE_PATH ?? '').split(':')].filter(Boolean);
  const names = [...folders.map((folder) => resolve(folder, 'playwright-core')), 'playwright-core'];
  const require = createRequire(import.meta.url);
  for (const name of names) {
    try {
      return require(name).chromium;
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  console.error('playwright-core is missing: npm install it, and name that node_modules in ROOMCAST_NODE_MODULES');
  process.exit(2);
}

/** Each check has rooms and names of its own, so that one failure does not bring the next. */
async function run(base) {
  let passed = 0;
  let failed = 0;
  for (const { name, needs, check } of checks) {
    if (options.only && !name.includes(options.only)) continue;
    if (needs !== 'nothing' && !server) {
      console.log(`skip  ${name}`);
      continue;
    }
    const own = needs === 'data' ? await Server.start(options.binary, { data: true }) : null;
    const stage = new Stage(browser, own?.url ?? base);
    try {
      await check(stage, own ?? server);
      stage.expect_no_errors();
      passed += 1;
      console.log(`ok    ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name}: ${String(error.message).split('\n').slice(0, 6).join(' | ')}`);
    } finally {
      await stage.end();
      await own?.stop();
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed;
}
