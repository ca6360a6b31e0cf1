import assert from 'node:assert/strict';

const IMG = '<img src=x onerror=alert(1)>';
/** From the end of a server to everybody's return: the back-off of a few failed attempts. */
const RETURN_MS = 45_000;

export const checks = [];
const check = (name, run) => checks.push({ name, check: run, needs: 'nothing' });
/** With a server that it may end and start. */
const check_with_server = (name, run) => checks.push({ name, check: run, needs: 'server' });
/** With such a server that has a disk, too. */
const check_with_data = (name, run) => checks.push({ name, check: run, needs: 'data' });

check('the page comes with a policy that allows no inline code', async (stage) => {
  const response = await fetch(stage.base);
  const policy = response.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src '(none|self)'/);
  assert.doesNotMatch(policy, /unsafe|\*/);
  assert.doesNotMatch(await response.text(), / on\w+=|<style|style=/);
});

check('asks for a name first, with the cursor in it', async (stage) => {
  const ada = await stage.person();
  assert.equal(await ada.focused(), 'name');
  await ada.page.keyboard.press('Enter');
  await ada.page.locator('#name-error', { hasText: 'Please give a name' }).waitFor();
  assert.equal(await ada.page.getAttribute('#name', 'aria-invalid'), 'true');
  await ada.page.keyboard.press('Escape');
  await ada.page.keyboard.press('Escape');
  await ada.page.waitForSelector('#name-dialog[open]');
});

check('a name that is taken is refused, and another one is asked for', async (stage) => {
  await stage.person('owner', { room: 'names' });
  const thief = await stage.person();
  await thief.page.fill('#name', 'owner');
  await thief.page.click('#name-ok');
  await thief.page.locator('#name-error', { hasText: '“owner” is taken' }).waitFor();
  assert.equal(await thief.focused(), 'name');
  await thief.sign_in('somebody else');
  assert.equal(await thief.page.textContent('#me-name'), 'somebody else');
});

check('two people talk in a room, both ways', async (stage) => {
  const ada = await stage.person('ada', { room: 'talk' });
  const bob = await stage.person('bob', { room: 'talk' });
  await ada.sees_note('bob joined');
  await ada.say('hello bob');
  await bob.sees('hello bob');
  await ada.sees_sent('hello bob');
  await bob.say('hello ada');
  await ada.sees('hello ada');
  await bob.sees_sent('hello ada');
  assert.deepEqual(await ada.texts(), ['hello bob', 'hello ada']);
  assert.deepEqual(await bob.texts(), ['hello bob', 'hello ada']);
  await ada.page.locator('#member-list', { hasText: 'bob' }).waitFor();
  assert.equal(await ada.page.textContent('#subtitle'), '2 members');
});

check('somebody who leaves is told and gone from the members', async (stage) => {
  const ada = await stage.person('ada-stays', { room: 'leaving' });
  const bob = await stage.person('bob-goes', { room: 'leaving' });
  await ada.page.locator('#member-list', { hasText: 'bob-goes' }).waitFor();
  // With a message between, coming and going are two lines.
  await bob.say('bye');
  await ada.sees('bye');
  await bob.page.context().close();
  await ada.sees_note('bob-goes left');
  await ada.page.locator('#subtitle', { hasText: '1 member' }).waitFor();
});

check('whatever is sent stays text', async (stage) => {
  const evil = await stage.person(IMG, { room: IMG });
  const ada = await stage.person('ada-safe', { room: IMG });
  const texts = [IMG, '<script>alert(1)</script>', '"><svg onload=alert(1)>', 'javascript:alert(1)', '{{7*7}}&amp;'];
  for (const text of texts) await evil.say(text);
  assert.equal(await ada.sees(texts.at(-1)), 1);
  assert.deepEqual(await ada.texts(), texts);
  await evil.page.locator('#member-list button').first().click();
  await evil.say(IMG);
  await ada.open(IMG);
  await ada.page.locator('#people .entry').click();
  await ada.sees(IMG);
  for (const { page } of [evil, ada]) {
    assert.equal(await page.locator('#rows :is(img, script, svg, a), .list :is(img, script, svg)').count(), 0);
  }
});

check('web addresses become links that tell nothing', async (stage) => {
  const ada = await stage.person('ada-links', { room: 'links' });
  await ada.say('see https://example.org/a_(b)?c=1#d, or http://[::1]/. not javascript:alert(1) nor ftp://x/');
  const links = ada.page.locator('#rows a');
  await links.nth(1).waitFor();
  const shown = await links.evaluateAll((all) => all.map((a) => [a.textContent, a.getAttribute('href'), a.rel, a.target]));
  assert.deepEqual(shown, [
    ['https://example.org/a_(b)?c=1#d', 'https://example.org/a_(b)?c=1#d', 'noopener noreferrer', '_blank'],
    ['http://[::1]/', 'http://[::1]/', 'noopener noreferrer', '_blank'],
  ]);
});

check('an address with characters that do not show is shown as what it is', async (stage) => {
  const ada = await stage.person('ada-bidi', { room: 'bidi' });
  await ada.say('https://example.org/\u202egpj.exe');
  await ada.page.locator('#rows a', { hasText: 'https://example.org/%E2%80%AEgpj.exe' }).waitFor();
});

check('one writes to an author by keyboard, too', async (stage) => {
  const ada = await stage.person('ada-author', { room: 'authors' });
  const bob = await stage.person('bob-author', { room: 'authors' });
  await bob.say('write to me');
  await ada.sees('write to me');
  await ada.page.press('.message button.name', 'Enter');
  await ada.page.locator('#title', { hasText: 'bob-author' }).waitFor();
  assert.equal(await bob.page.locator('.message button.name').count(), 0, 'nobody writes to themselves');
});

check('content that is no text is shown as JSON, and long words wrap', async (stage) => {
  const ada = await stage.person('ada-json', { room: 'json' });
  await ada.script('bot', 'json', `async (chat, room) => {
    for (const content of [{ a: [1, null] }, 7, false, null]) await chat.send({ room, content }).acknowledged;
  }`);
  await ada.say('w'.repeat(2_000));
  await ada.sees('wwww');
  const texts = (await ada.texts()).map((text) => text.replace(/\s/g, ''));
  assert.deepEqual(texts.slice(0, 4), ['{"a":[1,null]}', '7', 'false', 'null']);
  assert.equal(await wider_than_window(ada.page), false);
});

check('typing is shown and ends', async (stage) => {
  const ada = await stage.person('ada-types', { room: 'typing' });
  const bob = await stage.person('bob-reads', { room: 'typing' });
  await ada.page.locator('#member-list', { hasText: 'bob-reads' }).waitFor();
  await ada.page.locator('#text').pressSequentially('hm');
  await bob.page.locator('#typing', { hasText: 'ada-types is typing…' }).waitFor();
  await ada.page.fill('#text', '');
  // Long before it would fade by itself.
  await bob.page.locator('#typing', { hasText: /^$/ }).waitFor({ state: 'attached', timeout: 3_000 });
});

check('private messages go both ways and to nobody else', async (stage) => {
  const [ada, bob, eve] = [await stage.person('ada-p', { room: 'private' }),
    await stage.person('bob-p', { room: 'private' }), await stage.person('eve-p', { room: 'private' })];
  await ada.page.locator('#member-list button', { hasText: 'bob-p' }).click();
  await ada.say('between us');
  await ada.sees_sent('between us');
  await bob.badge('ada-p').filter({ hasText: '1' }).waitFor();
  assert.match(await bob.page.title(), /^\(1\) /);
  await bob.open('ada-p');
  await bob.sees('between us');
  await bob.badge('ada-p').filter({ hasText: /^$/ }).waitFor({ state: 'attached' });
  await bob.say('of course');
  await ada.sees('of course');
  assert.deepEqual(await ada.texts(), ['between us', 'of course']);
  assert.equal(await eve.page.locator('#people .entry').count(), 0);
  await ada.page.reload();
  await ada.connected();
  assert.equal(await ada.page.textContent('#title'), 'bob-p');
  await ada.sees('of course');
  assert.deepEqual(await ada.texts(), ['between us', 'of course'], 'after a reload');
});

check('a private message waits for somebody who is away', async (stage) => {
  const ada = await stage.person('ada-w', { room: 'waiting' });
  const bob = await stage.person('bob-w', { room: 'waiting' });
  await ada.page.locator('#member-list button', { hasText: 'bob-w' }).click();
  await bob.page.goto('about:blank');
  await ada.say('are you there?');
  await ada.sees_sent('are you there?');
  await bob.page.goto(stage.base);
  await bob.connected();
  await bob.badge('ada-w').filter({ hasText: '1' }).waitFor();
  await ada.say('good to see you');
  await bob.badge('ada-w').filter({ hasText: '2' }).waitFor();
});

check('unread messages are counted per room and in the title', async (stage) => {
  const ada = await stage.person('ada-u', { room: 'first' });
  const bob = await stage.person('bob-u', { room: 'first' });
  await ada.join('second');
  for (const text of ['one', 'two', 'three']) await bob.say(text);
  await ada.badge('first').filter({ hasText: '3' }).waitFor();
  assert.match(await ada.page.title(), /^\(3\) second/);
  await ada.open('first');
  await ada.sees('three');
  await ada.sees_note('New');
  await ada.page.waitForFunction(() => document.title.startsWith('first'));
});

check('two tabs of one user are one person', async (stage) => {
  const ada = await stage.person('ada-t', { room: 'tabs' });
  const other = await stage.tab(ada.page.context(), 'tabs');
  await other.connected();
  await ada.say('from the first tab');
  assert.equal(await other.sees('from the first tab'), 1);
  await other.sees_sent('from the first tab');
  assert.equal(await other.page.textContent('#subtitle'), '1 member');
});

check('older messages come when one scrolls up', async (stage) => {
  const bot = await stage.person();
  await bot.script('bot-h', 'history', `async (chat, room) => {
    for (let i = 1; i <= 180; i++) await chat.send({ room, content: 'line ' + i }).acknowledged;
  }`);
  const ada = await stage.person();
  await ada.page.goto(`${stage.base}/#/history`);
  await ada.page.reload();
  await ada.page.fill('#name', 'ada-h');
  await ada.page.press('#name', 'Enter');
  await ada.sees(/^line 180$/);
  const first = () => ada.page.locator('.message .text').first().textContent();
  assert.notEqual(await first(), 'line 1');
  await ada.page.hover('#scroller');
  for (let before = await first(); before !== 'line 1'; before = await first()) {
    await ada.page.mouse.wheel(0, -3_000);
    await ada.page.waitForFunction((text) => document.querySelector('.message .text').textContent !== text, before);
    assert.ok(await in_sight(ada.page, before), `${before} was at the top and went out of sight`);
  }
  assert.deepEqual(await ada.texts(), Array.from({ length: 180 }, (_, i) => `line ${i + 1}`));
  await ada.sees_note('This is the start of history');
});

check('a room that is full says so until one is in', async (stage) => {
  const ada = await stage.person();
  let full = true;
  const refusal = { type: 'error', request: 'join', code: 'room_full', message: 'no', retryable: true };
  await stage.listen_in(ada, ({ type, room_id }) =>
    (type === 'join' && room_id === 'full house' && full ? { ...refusal, room_id } : undefined));
  await ada.sign_in('ada-full');
  await ada.join('full house');
  await ada.sees_note('The room is full; trying again.');
  full = false;
  await ada.sees_note('This is the start of full house');
});

check('messages that could not be loaded can be asked for again', async (stage) => {
  const bob = await stage.person('bob-again', { room: 'asked again' });
  await bob.say('on a bad disk');
  await bob.sees_sent('on a bad disk');
  const ada = await stage.person();
  let failing = true;
  const failure = { type: 'error', request: 'history', code: 'storage', message: 'Cannot be read', retryable: true };
  await stage.listen_in(ada, ({ type, id, room_id }) =>
    (type === 'history' && failing ? { ...failure, id, room_id } : undefined));
  await ada.sign_in('ada-again');
  await ada.join('asked again');
  const more = ada.page.locator('.more button', { hasText: 'Load older messages' });
  await more.waitFor();
  failing = false;
  await more.click();
  await ada.sees('on a bad disk');
  await ada.sees_note('This is the start of asked again');
});

check('the reading position stays while others write', async (stage) => {
  const ada = await stage.person('ada-r', { room: 'reading' });
  const bob = await stage.person('bob-r', { room: 'reading' });
  for (let i = 1; i <= 40; i++) await bob.say(`line ${i}`);
  await ada.sees(/^line 40$/);
  await ada.page.hover('#scroller');
  await ada.page.mouse.wheel(0, -600);
  await ada.page.waitForSelector('#jump:not([hidden])');
  const top = () => ada.page.locator('#scroller').evaluate((node) => node.scrollTop);
  const before = await top();
  await bob.say('news');
  await ada.page.locator('#jump', { hasText: '1 new message' }).waitFor();
  assert.equal(await top(), before);
  await ada.page.press('#jump', 'Enter');
  await ada.page.waitForSelector('#jump', { state: 'hidden' });
  assert.equal(await ada.focused(), 'text');
});

check('very many messages behind the reader are loaded when they are wanted', async (stage) => {
  const ada = await stage.person('ada-behind', { room: 'behind' });
  const write = `async (chat, room, [from, to]) => {
    const sends = [];
    for (let i = from; i <= to; i++) {
      sends.push(chat.send({ room, content: 'line ' + i }).acknowledged);
      if (i % 20 === 0) await Promise.all(sends);
    }
    await Promise.all(sends);
  }`;
  const bob = await stage.person();
  await bob.script('bob-behind', 'behind', write, [1, 60]);
  await ada.sees(/^line 60$/);
  await ada.page.hover('#scroller');
  await ada.page.mouse.wheel(0, -600);
  await ada.page.waitForSelector('#jump:not([hidden])');
  await bob.script('bob-behind-2', 'behind', write, [61, 700]);
  await ada.page.locator('#jump', { hasText: '640 new messages' }).waitFor();
  assert.equal((await ada.texts()).length, 560);
  await ada.page.click('#jump');
  await ada.sees(/^line 700$/);
  assert.ok(await in_sight(ada.page, 'line 700'));
  await ada.say('caught up');
  await ada.sees_sent('caught up');
  assert.deepEqual((await ada.texts()).slice(-2), ['line 700', 'caught up']);
});

check('a reload keeps the name, the rooms and the last one', async (stage) => {
  const ada = await stage.person('ada-k', { room: 'kept one' });
  await ada.join('kept two');
  await ada.say('still here');
  await ada.sees_sent('still here');
  await ada.page.goto(stage.base);
  await ada.connected();
  assert.equal(await ada.page.textContent('#me-name'), 'ada-k');
  assert.equal(await ada.page.textContent('#title'), 'kept two');
  assert.deepEqual(await ada.page.locator('#rooms .entry-name').allTextContents(), ['lobby', 'kept one', 'kept two']);
  await ada.sees_sent('still here');
  await ada.page.click('#leave');
  await ada.page.locator('#rooms .entry-name', { hasText: 'kept two' }).waitFor({ state: 'detached' });
});

check('one can change the name and come back to it', async (stage) => {
  const ada = await stage.person('ada-c', { room: 'changing' });
  await ada.page.click('#change-name');
  await ada.sign_in('ada-d');
  await ada.page.locator('#me-name', { hasText: 'ada-d' }).waitFor();
  await ada.page.click('#change-name');
  await ada.page.keyboard.press('Escape');
  assert.equal(await ada.page.textContent('#me-name'), 'ada-d');
  await ada.page.click('#change-name');
  await ada.sign_in('ada-c');
  await ada.page.locator('#me-name', { hasText: 'ada-c' }).waitFor();
});

check_with_server('a name is typed on while the connection comes and goes', async (stage, server) => {
  const ada = await stage.person('ada-cc', { room: 'coming back' });
  await ada.page.click('#change-name');
  await ada.page.keyboard.type('ada-half');
  await server.down();
  await ada.page.waitForSelector('#banner:not([hidden])', { state: 'attached' });
  await server.up();
  await ada.back();
  assert.equal(await ada.focused(), 'name');
  await ada.page.keyboard.type('way');
  await ada.page.keyboard.press('Enter');
  await ada.page.locator('#me-name', { hasText: 'ada-halfway' }).waitFor();
});

check('what somebody types who is removed goes to no other room, and is not lost', async (stage) => {
  const ada = await stage.person(undefined);
  const line = await stage.listen_in(ada);
  await ada.sign_in('ada-kicked');
  await ada.join('thrown out');
  await ada.page.keyboard.type('I only want');
  line.say({ type: 'left', room_id: 'thrown out', event: 'kick', by: 'mod' });
  await ada.page.locator('#title', { hasText: 'No conversation' }).waitFor();
  await ada.page.locator('#toast', { hasText: 'You were removed from thrown out' }).waitFor();
  await ada.page.keyboard.type(' to say');
  await ada.page.keyboard.press('Enter');
  await ada.open('lobby');
  assert.deepEqual([await ada.page.inputValue('#text'), await ada.texts()], ['', []]);
  await ada.join('thrown out');
  assert.equal(await ada.page.inputValue('#text'), 'I only want to say');
});

check('a new name takes over what is typed', async (stage) => {
  const ada = await stage.person('ada-draft', { room: 'drafts' });
  await ada.page.fill('#text', 'half a thought');
  await ada.page.click('#change-name');
  await ada.sign_in('ada-drafted');
  assert.equal(await ada.page.textContent('#title'), 'drafts');
  assert.equal(await ada.page.inputValue('#text'), 'half a thought');
});

check('everything goes by keyboard', async (stage) => {
  const ada = await stage.person();
  const { keyboard } = ada.page;
  await keyboard.type('ada-keys');
  await keyboard.press('Enter');
  await ada.connected();
  assert.equal(await ada.focused(), 'text');
  await keyboard.type('first line');
  await keyboard.press('Shift+Enter');
  await keyboard.type('second line');
  await keyboard.press('Enter');
  await ada.sees_sent('first line');
  assert.deepEqual(await ada.texts(), ['first line\nsecond line']);
  await ada.page.locator('#join-name').focus();
  await keyboard.type('keys');
  await keyboard.press('Enter');
  await ada.page.locator('#title', { hasText: 'keys' }).waitFor();
  assert.equal(await ada.focused(), 'text');
  await keyboard.press('Alt+ArrowUp');
  await ada.page.locator('#title', { hasText: 'lobby' }).waitFor();
  await ada.page.locator('#rooms button').first().focus();
  await keyboard.press('ArrowDown');
  await keyboard.press('Enter');
  await ada.page.locator('#title', { hasText: 'keys' }).waitFor();
  await ada.page.locator('#change-name').focus();
  await keyboard.press('Escape');
  assert.equal(await ada.focused(), 'text');
});

check('every control can be reached by Tab and has a name', async (stage) => {
  const ada = await stage.person('ada-tab', { room: 'tabbing' });
  await stage.person('bob-tab', { room: 'tabbing' });
  await ada.page.locator('#member-list button').waitFor();
  const wanted = await ada.page.evaluate(() => [...document.querySelectorAll('button, input, textarea, [tabindex]')]
    .filter((node) => node.checkVisibility({ visibilityProperty: true })).length);
  await ada.page.evaluate(() => document.body.focus());
  await ada.page.locator('body').press('Home');
  const reached = new Set();
  await ada.page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement)?.blur());
  for (let i = 0; i < wanted + 3; i++) {
    await ada.page.keyboard.press('Tab');
    reached.add(await ada.page.evaluate(() => {
      const all = [...document.querySelectorAll('*')];
      return all.indexOf(document.activeElement);
    }));
  }
  assert.ok(reached.size >= wanted, `${reached.size} of ${wanted} reached`);
  const nameless = await ada.page.evaluate(() => [...document.querySelectorAll('button, input, textarea')]
    .filter((node) => !(node.textContent?.trim() || node.labels?.length || node.getAttribute('aria-label')))
    .map((node) => node.outerHTML));
  assert.deepEqual(nameless, []);
});

check('new messages are spoken, old ones are not', async (stage) => {
  const ada = await stage.person('ada-s', { room: 'spoken' });
  await ada.say('mine');
  await ada.sees_sent('mine');
  const bob = await stage.person('bob-s', { room: 'spoken' });
  await bob.say('yours');
  await ada.sees('yours');
  await ada.page.locator('#announcer', { hasText: 'bob-s: yours' }).waitFor({ state: 'attached' });
  assert.equal(await ada.page.locator('#announcer').textContent(), 'bob-s: yours');
  assert.equal(await bob.page.locator('#announcer').textContent(), '');
});

check('it works on a phone', async (stage) => {
  const phone = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true };
  const ada = await stage.person('ada-phone', { room: 'phone', ...phone });
  const bob = await stage.person('bob-desk', { room: 'phone' });
  assert.equal(await wider_than_window(ada.page), false);
  await ada.page.tap('#text');
  await ada.page.locator('#text').fill('from the train');
  await ada.page.tap('#send');
  await bob.sees('from the train');
  assert.equal(await ada.page.locator('#sidebar').isVisible(), false);
  await ada.page.tap('#open-sidebar');
  await ada.page.locator('#rooms button', { hasText: 'lobby' }).tap();
  await ada.page.locator('#title', { hasText: 'lobby' }).waitFor();
  await ada.page.locator('#sidebar').waitFor({ state: 'hidden' });
  await bob.say('mind the gap');
  await ada.page.waitForSelector('#unread-elsewhere:not([hidden])');
  await ada.page.tap('#open-sidebar');
  await ada.page.locator('#rooms button', { hasText: 'phone' }).tap();
  await ada.sees('mind the gap');
  await ada.page.tap('#open-members');
  await ada.page.locator('#member-list button', { hasText: 'bob-desk' }).tap();
  await ada.page.locator('#title', { hasText: 'bob-desk' }).waitFor();
});

check('the field is as high as its text, whatever the window', async (stage) => {
  const room = 'a room with a name that is much longer than a narrow window is wide';
  const ada = await stage.person('ada-field', { room, viewport: { width: 1280, height: 800 } });
  const overflow = () => ada.page.locator('#text').evaluate((field) => field.scrollHeight - field.clientHeight);
  const height = () => ada.page.locator('#text').evaluate((field) => field.clientHeight);
  const line = await height();
  await ada.page.setViewportSize({ width: 360, height: 800 });
  await ada.page.reload();
  await ada.connected();
  assert.ok(await height() < 1.5 * line, 'an empty field has one line');
  await ada.page.setViewportSize({ width: 1280, height: 800 });
  await ada.page.fill('#text', 'eleven words on one line that are too much for two');
  await ada.page.setViewportSize({ width: 360, height: 800 });
  await ada.page.waitForFunction((one) => document.querySelector('#text').clientHeight > 1.5 * one, line);
  assert.equal(await overflow(), 0);
});

check('the focus goes into a drawer, and back', async (stage) => {
  const viewport = { width: 390, height: 800 };
  const ada = await stage.person('ada-drawer', { room: 'drawers', viewport, reducedMotion: 'no-preference' });
  await stage.person('bob-drawer', { room: 'drawers' });
  const where = () => ada.page.evaluate(() => document.activeElement.closest('.drawer')?.id);
  for (const which of ['sidebar', 'members']) {
    await ada.page.locator('#member-list button').first().waitFor({ state: 'attached' });
    await ada.page.press(`#open-${which}`, 'Enter');
    assert.equal(await where(), which);
    await ada.page.keyboard.press('Escape');
    await ada.page.locator(`#${which}`).waitFor({ state: 'hidden' });
    assert.equal(await ada.focused(), `open-${which}`);
  }
});

check('long lists do not move the page out of its window', async (stage) => {
  const ada = await stage.person('ada-many', { room: 'room 1', viewport: { width: 1366, height: 650 } });
  const rooms = Array.from({ length: 19 }, (_, i) => `room ${i + 1}`);
  for (const room of rooms.slice(1)) await ada.join(room);
  const bob = await stage.person();
  for (const room of rooms) {
    await bob.script(`bob in ${room}`, room, `async (chat, room) => {
      for (let i = 1; i <= 30; i++) await chat.send({ room, content: 'line ' + i }).acknowledged;
    }`);
  }
  await ada.badge('room 18').filter({ hasText: '30' }).waitFor();
  await ada.page.locator('#rooms .entry').filter({ hasText: 'room 3' }).first().click();
  await ada.sees_note('New');
  const place = () => ada.page.evaluate(() => [document.documentElement.scrollTop, document.body.scrollTop,
    document.documentElement.scrollHeight - window.innerHeight]);
  assert.deepEqual(await place(), [0, 0, 0]);
  const middle = await ada.page.locator('.divider').evaluate((divider) => {
    const { top, height } = document.querySelector('#scroller').getBoundingClientRect();
    return (divider.getBoundingClientRect().top - top) / height;
  });
  assert.ok(middle > 0.1 && middle < 0.6, `the divider is at ${middle}`);
});

check('it has a light and a dark face', async (stage) => {
  const ground = async (colorScheme) => {
    const { page } = await stage.person(undefined, { colorScheme });
    return page.locator('#main').evaluate((node) => getComputedStyle(node).backgroundColor);
  };
  assert.equal(await ground('light'), 'rgb(255, 255, 255)');
  assert.notEqual(await ground('dark'), 'rgb(255, 255, 255)');
});

check('what is refused can be tried again or discarded', async (stage) => {
  const ada = await stage.person('ada-f', { room: 'refused' });
  await ada.page.locator('#text').fill('x'.repeat(70_000));
  await ada.page.keyboard.press('Enter');
  const failed = ada.page.locator('.message[data-state="failed"]');
  await failed.locator('.error', { hasText: 'Not sent' }).waitFor();
  await failed.locator('button', { hasText: 'Try again' }).click();
  await failed.locator('button', { hasText: 'Discard' }).click();
  await failed.waitFor({ state: 'detached' });
  await ada.say('short');
  await ada.sees_sent('short');
});

check('a browser that keeps no more says so, and messages still go out', async (stage) => {
  const ada = await stage.person('ada-quota', { room: 'quota' });
  const cdp = await ada.page.context().newCDPSession(ada.page);
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: stage.base, quotaSize: 1 });
  await ada.say('x'.repeat(60_000));
  await ada.sees_sent('xxxx');
  await ada.page.locator('#toast', { hasText: 'Messages that wait would not outlive this page' }).waitFor();
});

check('a browser that keeps nothing is told of on the console, once', async (stage) => {
  const ada = await stage.person();
  const lines = [];
  ada.page.on('console', (message) => lines.push(message.text()));
  await ada.page.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException('not in this window', 'SecurityError');
    };
  });
  await ada.page.reload();
  await ada.sign_in('ada-private');
  await ada.say('all the same');
  await ada.sees_sent('all the same');
  assert.deepEqual(lines.filter((line) => line.includes('roomcast:')).length, 1);
});

check_with_server('after a restart all come back, and what was sent meanwhile arrives once', async (stage, server) => {
  const ada = await stage.person('ada-x', { room: 'restart' });
  const bob = await stage.person('bob-x', { room: 'restart' });
  await ada.say('before');
  await bob.sees('before');
  assert.equal(await server.down(), 0, 'exit code');
  for (const { page } of [ada, bob]) {
    await page.waitForSelector('#banner:not([hidden])');
    await page.locator('#countdown', { hasText: /Trying again in \d+ s/ }).waitFor();
  }
  await ada.say('while it was down');
  await ada.page.locator('.message.own .status', { hasText: 'Waiting for the connection' }).waitFor();
  await server.up();
  await ada.connected(RETURN_MS);
  await bob.connected(RETURN_MS);
  assert.equal(await bob.sees('while it was down'), 1);
  await ada.sees_sent('while it was down');
  await ada.say('after');
  await bob.sees('after');
  await bob.say('yes');
  await ada.sees('yes');
  for (const person of [ada, bob]) {
    assert.deepEqual(await person.texts(), ['before', 'while it was down', 'after', 'yes']);
    await person.sees_note('The server started anew');
  }
  await ada.page.locator('#member-list', { hasText: 'bob-x' }).waitFor();
});

check_with_server('after a crash and a reload an unsent message still goes out, once', async (stage, server) => {
  const ada = await stage.person('ada-y', { room: 'crash' });
  const bob = await stage.person('bob-y', { room: 'crash' });
  await server.down('SIGKILL');
  await ada.page.waitForSelector('#banner:not([hidden])');
  await ada.say('keep this');
  await server.up();
  await ada.page.reload();
  await ada.connected(RETURN_MS);
  await bob.connected(RETURN_MS);
  await ada.sees_sent('keep this');
  await bob.sees('keep this');
  await ada.page.reload();
  await ada.connected();
  await ada.sees_sent('keep this');
  assert.deepEqual(await ada.texts(), ['keep this']);
  assert.deepEqual(await bob.texts(), ['keep this']);
});

check_with_server('what a server forgot that may have had it is sent again when the user says so', async (stage, server) => {
  const ada = await stage.hard_of_hearing('ada-q', { room: 'asking' });
  const bob = await stage.person('bob-q', { room: 'asking' });
  ada.line.deaf = true;
  for (const text of ['again', 'never mind']) {
    await ada.say(text);
    await bob.sees(text);
  }
  await server.down('SIGKILL');
  await ada.reload_in_vain();
  ada.line.deaf = false;
  await server.up();
  await ada.page.goto(stage.base);
  await ada.connected();
  await bob.back();
  const { page } = ada;
  await page.locator('#unconfirmed-text', { hasText: '2 messages were not confirmed (asking)' }).waitFor();
  const never_mind = page.locator('.message[data-state="unconfirmed"]', { hasText: 'never mind' });
  await never_mind.getByText('Discard').press('Enter');
  await page.locator('#unconfirmed-text', { hasText: '1 message was not confirmed (asking)' }).waitFor();
  await ada.keeps('again');
  // Another reload changes nothing: it is still for the user to say.
  await page.reload();
  await ada.connected();
  await page.waitForSelector('#unconfirmed:not([hidden])');
  await page.locator('#send-again').focus();
  await page.keyboard.press('Enter');
  await ada.sees_sent('again');
  await page.waitForSelector('#unconfirmed', { state: 'hidden' });
  assert.equal(await ada.focused(), 'text');
  await ada.keeps();
  assert.deepEqual(await (await stage.person('eve-q', { room: 'asking' })).texts(), ['again']);
});

check_with_server('all that was not confirmed can be discarded at once', async (stage, server) => {
  const ada = await stage.hard_of_hearing('ada-v', { room: 'discarding' });
  const bob = await stage.person('bob-v', { room: 'discarding' });
  ada.line.deaf = true;
  await ada.say('one');
  await ada.say('two');
  await bob.sees('two');
  await server.down('SIGKILL');
  ada.line.deaf = false;
  await server.up();
  await ada.back();
  await ada.page.locator('#unconfirmed-text', { hasText: '2 messages' }).waitFor();
  await ada.page.locator('#discard').press('Enter');
  await ada.page.waitForSelector('#unconfirmed', { state: 'hidden' });
  await ada.keeps();
  assert.deepEqual(await ada.texts(), []);
  assert.deepEqual(await (await stage.person('eve-v', { room: 'discarding' })).texts(), []);
});

check('what a tab leaves when it is closed, another one sends, once', async (stage) => {
  const ada = await stage.hard_of_hearing('ada-l', { room: 'leaving tabs' });
  const bob = await stage.person('bob-l', { room: 'leaving tabs' });
  ada.line.deaf = true;
  await ada.say('heard or not');
  await bob.sees('heard or not');
  await ada.keeps('heard or not');
  ada.line.deaf = false;
  const other = await stage.tab(ada.page.context(), 'leaving tabs');
  await other.connected();
  await other.keeps('heard or not');
  await ada.page.close();
  await other.keeps();
  for (const person of [other, bob, await stage.person('eve-l', { room: 'leaving tabs' })]) {
    assert.equal(await person.sees('heard or not'), 1);
  }
});

check_with_data('what is sent while the server dies arrives once, with the page reloaded in between', async (stage, server) => {
  const ada = await stage.hard_of_hearing('ada-1', { room: 'once' });
  const bob = await stage.person('bob-1', { room: 'once' });
  const said = [];
  const say = async (text) => said.push(text) && ada.say(text);
  for (let round = 1; round <= 3; round++) {
    await say(`${round} answered`);
    await ada.sees_sent(`${round} answered`);
    ada.line.deaf = true;
    await say(`${round} taken without an answer`);
    await bob.sees(`${round} taken without an answer`);
    await say(`${round} on the way`);
    const down = server.down('SIGKILL');
    await say(`${round} while it dies`);
    await down;
    // Not at all, while the server is down, and when it is back.
    if (round === 2) await ada.reload_in_vain();
    ada.line.deaf = false;
    await server.up();
    if (round === 2) await ada.page.goto(stage.base);
    if (round === 3) await ada.page.reload();
    await ada.back();
    await bob.back();
    await ada.keeps();
    await ada.sees_sent(`${round} while it dies`);
    assert.equal(await ada.page.locator('#unconfirmed').isVisible(), false, 'the server knows, so nobody is asked');
  }
  await bob.sees(said.at(-1));
  assert.deepEqual(await bob.texts(), said);
  await ada.page.reload();
  await ada.connected();
  assert.deepEqual(await ada.texts(), said);
  assert.deepEqual(await (await stage.person('eve-1', { room: 'once' })).texts(), said);
});

check_with_data('a private message sent while the server dies arrives once', async (stage, server) => {
  const ada = await stage.hard_of_hearing('ada-2', { room: 'pair' });
  const bob = await stage.person('bob-2', { room: 'pair' });
  await ada.page.locator('#member-list button', { hasText: 'bob-2' }).click();
  ada.line.deaf = true;
  await ada.say('between us');
  await bob.badge('ada-2').filter({ hasText: '1' }).waitFor();
  await server.down('SIGKILL');
  await ada.reload_in_vain();
  ada.line.deaf = false;
  await server.up();
  await ada.page.goto(stage.base);
  await ada.connected();
  await bob.back();
  await ada.keeps();
  await bob.page.reload();
  await bob.connected();
  await bob.open('ada-2');
  await ada.open('bob-2');
  for (const person of [ada, bob]) assert.equal(await person.sees('between us'), 1);
});

check_with_server('"Try now" ends the pause', async (stage, server) => {
  const ada = await stage.person('ada-z', { room: 'now' });
  await server.down();
  const long = ada.page.locator('#countdown', { hasText: /in ([5-9]|[12]\d) s/ });
  await long.waitFor({ timeout: RETURN_MS });
  await server.up();
  await ada.page.press('#try-now', 'Enter');
  await ada.connected(1_500);
  assert.equal(await ada.focused(), 'text');
});

function in_sight(page, text) {
  return page.evaluate((wanted) => {
    const row = [...document.querySelectorAll('.message .text')].find((each) => each.textContent === wanted);
    const { top, bottom } = document.querySelector('#scroller').getBoundingClientRect();
    const middle = row.getBoundingClientRect().top + 10;
    return middle > top && middle < bottom;
  }, text);
}

function wider_than_window(page) {
  return page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth
    || document.querySelector('#scroller').scrollWidth > document.querySelector('#scroller').clientWidth);
}
