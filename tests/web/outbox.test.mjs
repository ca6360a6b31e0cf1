// Messages on their way, through reloads, crashes and second tabs: `node --test tests/web/*.test.mjs`.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { in_doubt } from '../../src/web/outbox.js';
import { FakeClock, FakeIndexedDB, FakeLocks } from './fakes.mjs';
import { inLobby, LOBBY, message, reconnect, setup } from './setup.mjs';

const HOUR_MS = 3_600_000;
const ANEW = { ...LOBBY, epoch: 'e2', seq_id: 0, recovered: false, reason: 'epoch' };
const MEMORY = { limits: { dedupe_count: 10_000, dedupe_hours: 0 } };

/** What happens by itself has happened. */
const settle = () => new Promise(setImmediate);

/** One browser: pages come and go, the database and the clock stay. */
function browser({ secure = true } = {}) {
  const [indexedDB, locks, clock] = [new FakeIndexedDB(), new FakeLocks(), new FakeClock()];
  /** Opens a page; `end` is what a reload does to it. */
  const visit = async (options = {}, open = setup) => {
    const tab = locks.tab();
    const all = open({ indexedDB, locks: secure ? tab : null, clock, ...options });
    await settle();
    return { ...all, end: tab.end };
  };
  /** Opens a page that is welcomed and in the lobby. */
  const visit_lobby = (options) => visit(options, inLobby);
  return { indexedDB, clock, visit, visit_lobby };
}

const written = (socket) => socket.of('message').map(({ content }) => content);
const ack = (send, seq_id = 11) => ({ type: 'ack', id: send.id, room_id: send.room, to: send.to, seq_id, timestamp: 5 });
const refusal = (send, retryable) =>
  ({ type: 'error', id: send.id, code: 'storage', message: 'no', request: 'message', retryable });

/** Sends, and waits until that went out. */
async function say({ chat }, ...contents) {
  const sends = contents.map((content) => chat.send({ room: 'lobby', content }));
  await settle();
  return sends;
}

/** Hears the warnings of one test. */
function warnings(t) {
  const warn = t.mock.method(console, 'warn', () => {});
  return () => warn.mock.calls.map((call) => call.arguments.join(' '));
}

describe('a reload', () => {
  test('repeats what has no answer, under the id it had and in its order', async () => {
    const { visit_lobby, indexedDB } = browser();
    const first = await visit_lobby();
    const sends = await say(first, 'one', 'two', 'three');
    assert.deepEqual(written(first.last()), ['one', 'two', 'three']);
    first.last().say(ack(sends[0]));
    await settle();
    first.end();
    const second = await visit_lobby();
    assert.deepEqual(second.last().of('message').map(({ id }) => id), sends.slice(1).map(({ id }) => id));
    assert.deepEqual(written(second.last()), ['two', 'three']);
    for (const send of second.chat.outbox) second.last().say(ack(send));
    await settle();
    assert.deepEqual(indexedDB.contents, []);
  });

  test('tells of each send that it brings, with all that it was', async () => {
    const { visit_lobby, clock } = browser();
    const first = await visit_lobby();
    const made = first.chat.send({ room: 'lobby', content: { a: [1, null] }, metadata: 'm' });
    const letter = first.chat.send({ to: 'bob', content: 'é' });
    await settle();
    first.end();
    clock.run(5_000);
    const { chat, seen } = await visit_lobby();
    const fields = ({ id, room, to, content, metadata, created_at, state }) =>
      ({ id, room, to, content, metadata, created_at, state });
    assert.deepEqual(chat.outbox.map(fields), [made, letter].map(fields));
    assert.deepEqual(seen('send').map(fields), [made, letter].map(fields));
  });

  test('lets nothing go ahead of what an earlier page left', async () => {
    const { visit, visit_lobby, indexedDB, clock } = browser();
    const first = await visit_lobby();
    await say(first, 'older');
    first.end();
    clock.run(1);
    indexedDB.opens = 'later';
    const second = await visit_lobby();
    await say(second, 'newer');
    assert.deepEqual(written(second.last()), []);
    indexedDB.opening();
    await settle();
    assert.deepEqual(written(second.last()), ['older', 'newer']);
    second.end();
    indexedDB.opens = 'yes';
    const third = await visit();
    assert.deepEqual(third.chat.outbox.map(({ content }) => content), ['older', 'newer']);
  });

  test('does not make one send two that the program gives again', async () => {
    const { visit_lobby, indexedDB } = browser();
    const first = await visit_lobby();
    first.chat.send({ room: 'lobby', content: 'x', id: 'mine' });
    await settle();
    first.end();
    indexedDB.opens = 'later';
    const second = await visit_lobby();
    const again = second.chat.send({ room: 'lobby', content: 'x', id: 'mine' });
    second.last().say(ANEW);
    indexedDB.opening();
    await settle();
    // It went out in an epoch that is over, whoever sends it now.
    assert.equal(again.state, 'unconfirmed');
    assert.deepEqual(written(second.last()), []);
  });

  test('keeps what never left, and sends it whatever the server forgot', async () => {
    const { visit, visit_lobby } = browser();
    const first = await visit();
    first.chat.join('lobby');
    const [send] = await say(first, 'offline');
    first.end();
    const second = await visit_lobby();
    assert.deepEqual(second.last().of('message').map(({ id }) => id), [send.id]);
  });

  test('waits for its room', async () => {
    const { visit, visit_lobby } = browser();
    const first = await visit_lobby();
    await say(first, 'x');
    first.end();
    const second = await visit();
    second.open();
    assert.deepEqual(written(second.last()), []);
    second.chat.join('lobby');
    second.last().say(LOBBY);
    assert.deepEqual(written(second.last()), ['x']);
  });

  test('finds nothing of other users and of other servers', async () => {
    const { visit, visit_lobby } = browser();
    await say(await visit_lobby(), 'x');
    for (const other of [{ user: 'adam' }, { url: 'http://host/other' }, { url: 'http://host:81/ws' }]) {
      assert.deepEqual((await visit(other)).chat.outbox, []);
    }
  });

  test('brings nothing to a name that the server makes up', async () => {
    const { visit, indexedDB } = browser();
    const guest = await visit({ user: undefined, session: undefined });
    guest.open({ user: 'guest-1' });
    guest.chat.send({ to: 'bob', content: 'x' });
    assert.deepEqual(written(guest.last()), ['x'], 'at once');
    assert.deepEqual(indexedDB.contents, []);
  });
});

describe('the disk', () => {
  test('has a message before the wire has', async () => {
    const { visit_lobby, indexedDB } = browser();
    const page = await visit_lobby();
    indexedDB.waiting = [];
    const [one] = await say(page, 'one', 'two');
    assert.deepEqual(written(page.last()), []);
    indexedDB.commit();
    await settle();
    assert.deepEqual(written(page.last()), ['one', 'two']);
    const line = [...indexedDB.lines.values()].find(({ id }) => id === one.id);
    assert.deepEqual(line.flight, { epoch: 'e1', seq_id: 10, at: one.created_at });
  });

  test('has the last word on where a message went', async () => {
    const { visit_lobby, indexedDB } = browser();
    const page = await visit_lobby();
    indexedDB.waiting = [];
    const [send] = await say(page, 'x');
    reconnect(page).say(ANEW);
    indexedDB.waiting.shift()();
    await settle();
    assert.deepEqual(written(page.last()), [], 'it did not leave, and will do so in another epoch');
    indexedDB.commit();
    await settle();
    assert.deepEqual([written(page.last()), send.state], [['x'], 'sending']);
    assert.equal([...indexedDB.lines.values()][0].flight.epoch, 'e2');
  });

  test('lets a message go that is refused for good, and keeps one that is refused for now', async () => {
    const { visit_lobby, indexedDB } = browser();
    const page = await visit_lobby();
    const [bad, busy] = await say(page, 'bad', 'busy');
    page.last().say(refusal(bad, false), refusal(busy, true));
    await settle();
    assert.deepEqual([bad.state, busy.state], ['failed', 'sending']);
    assert.deepEqual(indexedDB.contents, ['busy']);
  });

  test('keeps what a full disk refuses, for as long as that may take', async () => {
    const { visit, visit_lobby, indexedDB, clock } = browser();
    const page = await visit_lobby({ random: () => 0 });
    const [send] = await say(page, 'x');
    const asked = () => page.last().of('message').length;
    const until = clock.now() + 12 * HOUR_MS;
    for (let refused = 0; clock.now() < until; clock.run(10_000)) {
      assert.deepEqual([send.state, indexedDB.contents], ['sending', ['x']]);
      page.last().say({ type: 'heartbeat', timestamp: 1 });
      if (asked() > refused) page.last().say({ ...refusal(send, true), retry_after_ms: 1_000 });
      refused = asked();
    }
    assert.ok(asked() > 1_000, `${asked()} attempts`);
    page.last().say(message(5_011), refusal(send, true));
    clock.run(40_000);
    await settle();
    assert.deepEqual([send.state, indexedDB.contents], ['unconfirmed', ['x']]);
    page.end();
    assert.deepEqual((await visit()).chat.outbox.map(({ id }) => id), [send.id]);
  });

  test('keeps what a client leaves that is closed, and lets go what belongs to a room that is left', async () => {
    const { visit, visit_lobby, indexedDB } = browser();
    const first = await visit_lobby();
    const [send] = await say(first, 'x');
    first.chat.close();
    assert.deepEqual([send.state, send.error.code], ['failed', 'closed']);
    await settle();
    const second = await visit();
    assert.deepEqual(second.chat.outbox.map(({ id }) => id), [send.id]);
    second.chat.join('lobby');
    second.chat.leave('lobby');
    await settle();
    assert.deepEqual(indexedDB.contents, []);
  });

  test('that is full is told once, and nothing is lost on this page', async () => {
    const { visit_lobby, indexedDB } = browser();
    const page = await visit_lobby();
    const errors = () => page.seen('error').map(({ code, message }) => `${code}: ${message}`);
    indexedDB.error = new Error('quota exceeded');
    const sends = await say(page, 'one', 'two');
    const told = 'outbox_unsaved: Messages that wait would not outlive this page: quota exceeded';
    assert.deepEqual(errors(), [told]);
    assert.deepEqual(written(page.last()), ['one', 'two']);
    indexedDB.error = null;
    page.last().say(...sends.map((send) => ack(send)));
    await say(page, 'three');
    indexedDB.error = new Error('quota exceeded');
    await say(page, 'four');
    assert.deepEqual(errors(), [told, told]);
  });

  for (const opens of ['no', 'never']) {
    test(`that does not open (${opens}) is one line on the console`, async (t) => {
      const said = warnings(t);
      const { visit_lobby, indexedDB, clock } = browser();
      indexedDB.opens = opens;
      const page = await visit_lobby();
      await say(page, 'x');
      if (opens === 'never') assert.deepEqual(written(page.last()), []);
      clock.run(3_000);
      await settle();
      assert.deepEqual(written(page.last()), ['x']);
      assert.deepEqual([said().length, page.seen('error').length], [1, 0]);
      assert.match(said()[0], /^roomcast: messages that wait are kept in memory only/);
      indexedDB.opening?.();
      await settle();
      await say(page, 'y');
      assert.deepEqual(indexedDB.contents, [], 'too late');
    });
  }

  test('is not asked for more than the outbox holds', async () => {
    const { visit_lobby } = browser();
    const page = await visit_lobby({ url: 'http://host/ws' });
    page.open({ limits: { message_bytes_max: 2 ** 30 } });
    const content = 'x'.repeat(1_048_000);
    const [send] = (await say(page, ...Array.from({ length: 5 }, () => content))).slice(-1);
    await assert.rejects(send.acknowledged, { code: 'outbox_full' });
    assert.equal(page.chat.outbox.length, 4);
    page.chat.leave('lobby');
    assert.equal(page.chat.send({ to: 'bob', content }).state, 'sending');
  });

  test('keeps what finds no place in an outbox for later', async () => {
    const { visit, visit_lobby } = browser();
    const pages = [await visit_lobby(), await visit_lobby()];
    for (const page of pages) await say(page, ...Array.from({ length: 600 }, (_, i) => i));
    for (const page of pages) page.end();
    const heir = await visit();
    assert.equal(heir.chat.outbox.length, 1_000);
    heir.end();
    for (const send of heir.chat.outbox) heir.chat.discard(send);
    assert.equal((await visit()).chat.outbox.length, 1_000, 'what waits cannot be discarded');
  });
});

describe('what the server may have forgotten', () => {
  const flight = { epoch: 'e1', seq_id: 100, at: 0 };
  const cases = [
    // room, hours, count, age, head, epoch: in doubt?
    ['lobby', 24, 10_000, 12 * HOUR_MS - 1, 1e6, 'e1', false],
    ['lobby', 24, 10_000, 12 * HOUR_MS, 5_099, 'e1', false],
    ['lobby', 24, 10_000, 12 * HOUR_MS, 5_100, 'e1', true],
    ['lobby', 24, 10_000, 0, 100, 'e2', true],
    ['lobby', 24, 10_000, -1, 5_099, 'e1', false],
    ['lobby', 24, 10_000, -1, 5_100, 'e1', true],
    ['lobby', 0, 10_000, 99 * HOUR_MS, 5_099, 'e1', false],
    ['lobby', 0, 10_000, 0, 5_100, 'e1', true],
    ['lobby', undefined, undefined, 0, 100, 'e1', true],
    [undefined, 24, 10_000, 12 * HOUR_MS - 1, 0, 'e1', false],
    [undefined, 24, 10_000, 12 * HOUR_MS, 0, 'e1', true],
    [undefined, 24, 10_000, 0, 0, 'e2', true],
    [undefined, 0, 10_000, 59_999, 0, 'e1', false],
    [undefined, 0, 10_000, 60_000, 0, 'e1', true],
    [undefined, 0, 10_000, -1, 0, 'e1', true],
  ];
  for (const [room, dedupe_hours, dedupe_count, now, head, epoch, expected] of cases) {
    test(`${room ?? 'private'}, ${dedupe_hours} h, ${now} ms, at ${head} of ${epoch}: ${expected}`, () => {
      const send = { room, _flight: flight };
      assert.equal(in_doubt(send, { epoch, head }, { dedupe_hours, dedupe_count }, now), expected);
    });
  }

  test('is no question for what never left', () => {
    assert.equal(in_doubt({ room: 'lobby', _flight: null }, { epoch: 'e2', head: 1e9 }, {}, 1e15), false);
  });

  for (const [what, age_ms, joined, welcome] of [
    ['another epoch', 0, ANEW, {}],
    ['half the hours', 12 * HOUR_MS, { ...LOBBY, seq_id: 5_010 }, {}],
    ['half the count', 0, { ...LOBBY, seq_id: 5_010 }, MEMORY],
  ]) {
    test(`is asked for after a reload: ${what}`, async () => {
      const { visit, visit_lobby, clock } = browser();
      const first = await visit_lobby();
      const [old] = await say(first, 'old');
      first.end();
      clock.sleep(age_ms);
      const second = await visit();
      second.chat.join('lobby');
      second.open(welcome).say(joined);
      const [send] = second.chat.outbox;
      assert.deepEqual([send.id, send.state, written(second.last())], [old.id, 'unconfirmed', []]);
      await assert.rejects(send.acknowledged, { code: 'unconfirmed' });
    });
  }

  test('is repeated right before that', async () => {
    const { visit, visit_lobby, clock } = browser();
    const first = await visit_lobby();
    await say(first, 'old');
    first.end();
    clock.sleep(12 * HOUR_MS - 1);
    const second = await visit();
    second.chat.join('lobby');
    second.open().say({ ...LOBBY, seq_id: 5_010 });
    assert.deepEqual(written(second.last()), ['old']);
  });

  test('is asked for without a store as well, and holds nothing back', async () => {
    const all = inLobby();
    const send = all.chat.send({ room: 'lobby', content: 'lost?' });
    all.last().hang_up();
    const next = all.chat.send({ room: 'lobby', content: 'next' });
    all.clock.run(1_000);
    all.open().say(ANEW);
    assert.deepEqual([send.state, next.state, written(all.last())], ['unconfirmed', 'sending', ['next']]);
    assert.equal(all.seen('send').length, 1);
    reconnect(all).say({ ...ANEW, recovered: true });
    assert.deepEqual([all.seen('send').length, written(all.last())], [1, ['next']], 'and it is asked once');
  });

  test('counts what came since, over every connection', () => {
    for (const [last, state] of [[5_009, 'sending'], [5_010, 'unconfirmed']]) {
      const all = setup();
      all.chat.join('lobby');
      all.open(MEMORY).say(LOBBY);
      const send = all.chat.send({ room: 'lobby', content: 'x' });
      all.last().say({ type: 'gap', room_id: 'lobby', from_seq_id: 11, to_seq_id: last, reason: 'slow' });
      all.last().say(refusal(send, true));
      all.clock.run(2_000);
      assert.equal(send.state, state);
    }
  });

  test('goes out again under its id when the user says so', async () => {
    const { visit_lobby, indexedDB } = browser();
    const first = await visit_lobby();
    await say(first, 'lost?');
    first.end();
    const page = await visit_lobby();
    page.last().hang_up();
    page.clock.run(1_000);
    page.open().say(ANEW);
    const [send] = page.chat.outbox;
    assert.equal(send.state, 'unconfirmed');
    page.chat.retry(send);
    page.chat.retry(send);
    await settle();
    assert.deepEqual(page.last().of('message').map(({ id }) => id), [send.id]);
    assert.equal([...indexedDB.lines.values()][0].flight.epoch, 'e2');
    page.last().say(ack(send, 1));
    assert.equal(await send.acknowledged, send);
    await settle();
    assert.deepEqual([indexedDB.contents, page.chat.outbox], [[], []]);
  });

  test('remembers what the user said, also while there is no connection', async () => {
    const { visit, visit_lobby } = browser();
    const first = await visit_lobby();
    const [send] = await say(first, 'lost?');
    reconnect(first).say(ANEW);
    first.last().hang_up();
    first.chat.retry(send);
    await settle();
    first.end();
    const second = await visit();
    second.chat.join('lobby');
    second.open().say(ANEW);
    await settle();
    assert.deepEqual(written(second.last()), ['lost?']);
  });

  test('is asked for as well where the client gave up and the user tries again', async () => {
    for (const [age_ms, state] of [[12 * HOUR_MS - 1, 'sending'], [12 * HOUR_MS, 'unconfirmed']]) {
      const { visit_lobby, clock, indexedDB } = browser();
      const page = await visit_lobby();
      const [send] = await say(page, 'lost?');
      page.last().hang_up(4003, 'not here');
      assert.deepEqual([send.state, send.error.code], ['failed', 'closed']);
      clock.sleep(age_ms);
      page.chat.connect();
      page.open().say({ ...LOBBY, seq_id: 5_010, recovered: true });
      page.chat.retry(send);
      await settle();
      assert.deepEqual([send.state, indexedDB.contents], [state, ['lost?']]);
      assert.equal([...indexedDB.lines.values()][0].flight.seq_id, 10);
      assert.deepEqual(written(page.last()), state === 'sending' ? ['lost?'] : []);
    }
  });

  test('is gone when the user says so', async () => {
    const { visit_lobby, visit, indexedDB } = browser();
    const first = await visit_lobby();
    const [send] = await say(first, 'lost?');
    first.chat.discard(send);
    assert.equal(send.state, 'sending', 'nothing is discarded that is on its way');
    reconnect(first).say(ANEW);
    first.chat.discard(send);
    assert.deepEqual([send.state, send.error.code], ['failed', 'discarded']);
    await settle();
    assert.deepEqual(indexedDB.contents, []);
    first.end();
    assert.deepEqual((await visit()).chat.outbox, []);
  });

  test('is answered by finding it in the log', async () => {
    const own = { type: 'message', sender: 'ada', timestamp: 7, content: 'lost?' };
    for (const events of [
      (message) => [{ ...message, room_id: 'lobby' }],
      (message) => [{ type: 'history', room_id: 'lobby', epoch: 'e1', more: true, messages: [message] }],
    ]) {
      const { visit, visit_lobby, clock, indexedDB } = browser();
      const first = await visit_lobby();
      await say(first, 'lost?');
      first.end();
      clock.sleep(12 * HOUR_MS);
      const page = await visit();
      page.chat.join('lobby');
      page.open().say({ ...LOBBY, seq_id: 5_010 });
      const [send] = page.chat.outbox;
      assert.equal(send.state, 'unconfirmed');
      const id = send.id;
      page.last().say(...events({ ...own, seq_id: 5_011, id: 'another' }),
        ...events({ ...own, seq_id: 5_012, sender: 'bob', id }));
      assert.equal(send.state, 'unconfirmed');
      page.last().say(...events({ ...own, seq_id: 5_013, id }));
      assert.deepEqual([send.state, send.seq_id], ['acknowledged', 5_013]);
      await settle();
      assert.deepEqual(indexedDB.contents, []);
    }
  });

  test('in private is judged by the own inbox', async () => {
    for (const [inbox, state] of [['i1', 'sending'], ['i2', 'unconfirmed']]) {
      const all = setup();
      all.open();
      const send = all.chat.send({ to: 'bob', content: 'x' });
      reconnect(all, 1006, { inbox: { epoch: inbox, seq_id: 0 } });
      assert.equal(send.state, state);
    }
  });
});

describe('two tabs', () => {
  test('do not send for each other while both are there', async () => {
    const { visit_lobby } = browser();
    const [one, two] = [await visit_lobby(), await visit_lobby()];
    await say(one, 'mine');
    const third = await visit_lobby();
    assert.deepEqual([written(one.last()), written(two.last()), written(third.last())], [['mine'], [], []]);
  });

  test('one goes on with what another left, as soon as it looks', async () => {
    const { visit_lobby } = browser();
    const [gone, here] = [await visit_lobby(), await visit_lobby()];
    const [send] = await say(gone, 'left behind');
    gone.end();
    assert.deepEqual(written(here.last()), []);
    reconnect(here).say({ ...LOBBY, recovered: true });
    await settle();
    assert.deepEqual(here.last().of('message').map(({ id }) => id), [send.id]);
  });

  test('one that waits for another to end takes over by itself, and no second one does', async () => {
    const { visit_lobby } = browser();
    const old = await visit_lobby();
    await say(old, 'x');
    const heirs = [await visit_lobby(), await visit_lobby()];
    old.end();
    await settle();
    assert.deepEqual(heirs.map(({ last }) => written(last())), [['x'], []]);
  });

  test('of a client that is closed in the same page, the other takes over', async () => {
    const { visit_lobby } = browser();
    const old = await visit_lobby();
    await say(old, 'x');
    const heir = await visit_lobby();
    old.chat.close();
    await settle();
    assert.deepEqual(written(heir.last()), ['x']);
  });

  test('one that ends first takes nothing over', async () => {
    const { visit_lobby, visit } = browser();
    const old = await visit_lobby();
    const [send] = await say(old, 'x');
    const heir = await visit_lobby();
    heir.chat.close();
    old.end();
    await settle();
    assert.deepEqual(heir.chat.outbox, []);
    assert.deepEqual((await visit()).chat.outbox.map(({ id }) => id), [send.id]);
  });

  test('without locks send one message under one id', async () => {
    const { visit_lobby, indexedDB } = browser({ secure: false });
    const one = await visit_lobby();
    const [send] = await say(one, 'x');
    const two = await visit_lobby();
    assert.deepEqual(two.last().of('message').map(({ id }) => id), [send.id]);
    one.last().say(ack(send));
    two.last().say({ ...ack(send), dup: true });
    await settle();
    assert.deepEqual(indexedDB.contents, []);
    reconnect(two).say({ ...LOBBY, recovered: true });
    await settle();
    assert.deepEqual(written(two.last()), []);
  });
});
