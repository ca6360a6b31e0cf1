import assert from 'node:assert/strict';

const DEADLINE_MS = 30_000;

/** The people of one check, each in a browser context of their own. */
export class Stage {
  #browser;
  #contexts = [];
  #errors = [];

  constructor(browser, base) {
    this.#browser = browser;
    this.base = base;
  }

  /** Somebody opens the page; with a name, and with a room in the address, they are through the dialog and in it. */
  async person(name, { room, ...options } = {}) {
    const context = await this.#browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(DEADLINE_MS);
    this.#contexts.push(context);
    const person = await this.tab(context, room);
    if (name !== undefined) await person.sign_in(name);
    return person;
  }

  /**
   * Somebody whose line loses what the server says to them about messages, their own included, while `line.deaf`.
   */
  async hard_of_hearing(name, options) {
    const line = { deaf: false };
    const person = await this.person(undefined, options);
    await person.page.context().routeWebSocket(/\/ws\b/, (page) => {
      const server = page.connectToServer();
      server.onMessage((text) => {
        if (!line.deaf || !/^\{"type":"(ack|message)"/.test(text)) page.send(text);
      });
    });
    await person.page.reload();
    await person.sign_in(name);
    return Object.assign(person, { line });
  }

  /**
   * A line, from the next load of their page on, on which the test says what a server might. What the page sends goes
   * through `answer`, which returns the server's word where it gives one itself.
   */
  async listen_in(person, answer = (_command) => undefined) {
    const line = { say: (_event) => {} };
    await person.page.context().routeWebSocket(/\/ws\b/, (page) => {
      const server = page.connectToServer();
      line.say = (event) => page.send(JSON.stringify({ timestamp: Date.now(), ...event }));
      page.onMessage((text) => {
        const event = text.startsWith('{') ? answer(JSON.parse(text)) : undefined;
        if (event) line.say(event);
        else server.send(text);
      });
    });
    await person.page.reload();
    return line;
  }

  /** Another tab in the browser of somebody. */
  async tab(context, room) {
    const page = await context.newPage();
    page.on('pageerror', (error) => this.#errors.push(error.message));
    page.on('dialog', (dialog) => {
      this.#errors.push(`a script ran: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('console', (message) => {
      // A server that is down is part of the play.
      const expected = /WebSocket connection to|ERR_CONNECTION_REFUSED|net::ERR/.test(message.text());
      if (message.type() === 'error' && !expected) this.#errors.push(message.text());
    });
    await page.goto(this.base + (room === undefined ? '/' : `/#/${encodeURIComponent(room)}`));
    return new Person(page);
  }

  expect_no_errors() {
    assert.deepEqual(this.#errors, [], 'errors on the page');
  }

  async end() {
    await Promise.all(this.#contexts.map((context) => context.close()));
  }
}

/** One page and what its reader does and sees. */
export class Person {
  constructor(page) {
    this.page = page;
  }

  async sign_in(name) {
    await this.page.fill('#name', name);
    await this.page.press('#name', 'Enter');
    await this.page.waitForSelector('#name-dialog:not([open])', { state: 'attached' });
    await this.connected();
  }

  /** The page says that it is connected, and its room is there. */
  async connected(timeout = DEADLINE_MS) {
    await this.page.waitForSelector('#link-state[data-state="open"]', { state: 'attached', timeout });
    const settled = () => document.querySelector('#title')?.textContent !== 'No conversation'
      && !document.querySelector('#rows')?.textContent?.includes('Loading…');
    await this.page.waitForFunction(settled, undefined, { timeout });
  }

  /** Waits until the page is connected again, and not longer than it must. */
  async back() {
    await this.page.evaluate(() => document.querySelector('#try-now').click());
    await this.connected();
  }

  async say(text) {
    await this.page.fill('#text', text);
    await this.page.press('#text', 'Enter');
  }

  /** Waits until such a message is shown, and returns how many there are. */
  async sees(text) {
    const found = this.page.locator('.message .text').filter({ hasText: text });
    await found.first().waitFor();
    return found.count();
  }

  async sees_sent(text) {
    await this.page.locator('.message.own[data-state="acknowledged"]').filter({ hasText: text }).first().waitFor();
  }

  async sees_note(text) {
    await this.page.locator('.note, .start, .divider').filter({ hasText: text }).first().waitFor();
  }

  async join(room) {
    await this.page.fill('#join-name', room);
    await this.page.press('#join-name', 'Enter');
    await this.page.locator('#title', { hasText: room }).waitFor();
    await this.connected();
  }

  /** Opens a conversation from the lists at the left. */
  async open(name) {
    await this.page.locator('#rooms .entry, #people .entry').filter({ hasText: name }).first().click();
    await this.page.locator('#title', { hasText: name }).waitFor();
  }

  /** The number beside a conversation in the list. */
  badge(name) {
    return this.page.locator('#rooms .entry, #people .entry').filter({ hasText: name }).first().locator('.badge');
  }

  /** Reloads the page while no server is there to give it again. */
  async reload_in_vain() {
    await assert.rejects(this.page.reload(), /ERR_CONNECTION_REFUSED/);
    await this.page.waitForURL(/^chrome-error:/);
  }

  /** Waits until all that this browser keeps for servers is these messages. */
  async keeps(...texts) {
    const read = () => new Promise((resolve, reject) => {
      const opening = indexedDB.open('roomcast', 1);
      opening.onerror = () => reject(opening.error);
      opening.onsuccess = () => {
        const reading = opening.result.transaction('outbox').objectStore('outbox').getAll();
        reading.onsuccess = () => {
          opening.result.close();
          resolve(reading.result.map(({ text }) => JSON.parse(text).content));
        };
      };
    });
    for (const end = Date.now() + DEADLINE_MS; ;) {
      const found = (await this.page.evaluate(read)).sort();
      if (found.join() === [...texts].sort().join()) return;
      assert.ok(Date.now() < end, `the browser keeps ${JSON.stringify(found)} and not ${JSON.stringify(texts)}`);
    }
  }

  texts() {
    return this.page.locator('.message .text').allTextContents();
  }

  focused() {
    return this.page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent);
  }

  /** Runs with the client library in this page, under a name of its own. */
  script(name, room, run, argument) {
    return this.page.evaluate(`(async () => {
      const { Roomcast } = await import('/roomcast.js');
      const chat = new Roomcast({ url: '/ws', user: ${JSON.stringify(name)} });
      await chat.join(${JSON.stringify(room)});
      const result = await (${run})(chat, ${JSON.stringify(room)}, ${JSON.stringify(argument ?? null)});
      chat.close();
      return result;
    })()`);
  }
}
