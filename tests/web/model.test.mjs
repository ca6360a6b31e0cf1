// What the page makes of events, without a document: `node --test tests/web/*.test.mjs`.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isolated, list, Model } from '../../src/web/model.js';
import { addresses, json_text, without_tail } from '../../src/web/view.js';

const NOON = new Date(2030, 0, 15, 12).getTime();
const EPOCH = { epoch: 'e1', seq_id: 0 };
const message = (seq_id, more = {}) =>
  ({ type: 'message', room_id: 'lobby', seq_id, timestamp: NOON + seq_id, sender: 'bob', content: `m${seq_id}`, ...more });
const letter = (seq_id, more = {}) => message(seq_id, { room_id: undefined, to: 'ada', ...more });
const send = (id, more = {}) => ({ id, room: 'lobby', content: id, state: 'sending', ...more });

function lobby(joined = EPOCH) {
  const model = new Model('ada');
  model.joined('lobby', joined);
  const room = model.room('lobby');
  const say = (...events) => events.map((event) => model.conversation_of(event).add(event, 'ada'));
  const load = (messages, more = false, epoch = 'e1') => model.page(room.log, { room_id: 'lobby', epoch, messages, more });
  return { model, room, say, load };
}

const kinds = (conversation) => conversation.rows('ada').map((row) => row.kind);
const contents = (conversation) => conversation.rows('ada').flatMap((row) => row.content ?? []);
const notes = (conversation) => conversation.rows('ada').flatMap((row) => (row.kind === 'note' ? row.text : []));

describe('deleted messages', () => {
  const deleted = (seq_id, deleted_seq_id) =>
    ({ type: 'deleted', room_id: 'lobby', seq_id, deleted_seq_id, timestamp: NOON, sender: 'mod' });
  const rows = (room) => room.rows('ada').filter((row) => row.kind === 'message').map((row) => [row.content, row.deleted]);

  test('stay as such, whether they are deleted here or came so', () => {
    const { model, room, say, load } = lobby({ epoch: 'e1', seq_id: 3 });
    load([message(1), message(2, { content: undefined, deleted: true }), message(3)]);
    const before = room.rows('ada').map((row) => row.key);
    room.erase(deleted(4, 3));
    say(message(5));
    assert.deepEqual(rows(room), [['m1', false], [undefined, true], [undefined, true], ['m5', false]]);
    assert.ok(!before.includes(room.rows('ada').at(-2).key), 'it is drawn anew');
    assert.equal(room.log.head, 5);
    assert.equal(model.conversation_of(deleted(4, 3)), room);
  });

  test('a page may hold deletions', () => {
    const { room, load } = lobby({ epoch: 'e1', seq_id: 4 });
    load([message(2), deleted(3, 2), message(4)], true);
    assert.deepEqual(rows(room), [[undefined, true], ['m4', false]]);
    assert.equal(room.log.oldest, 2);
  });

  test('a notice stands where it happened', () => {
    const { room, say } = lobby();
    say(message(1));
    room.notice('eve was removed by mod.');
    say(message(2));
    assert.deepEqual(kinds(room).slice(-3), ['message', 'note', 'message']);
    assert.deepEqual(notes(room), ['eve was removed by mod.']);
  });
});

describe('own messages', () => {
  test('that were not confirmed are counted where they belong, until they are', () => {
    const { model, room } = lobby();
    const bob = model.person('bob');
    const [maybe, letter] = [send('maybe', { state: 'unconfirmed' }), send('letter', { room: undefined, to: 'bob' })];
    room.pend(send('on its way'), NOON);
    room.pend(maybe, NOON);
    bob.pend(letter, NOON);
    const places = () => model.unconfirmed.map((each) => [each.send.id, each.conversation.name]);
    assert.deepEqual(places(), [['maybe', 'lobby']]);
    letter.state = 'unconfirmed';
    room.settle({ ...maybe, seq_id: 1, timestamp: NOON }, 'ada');
    assert.deepEqual(places(), [['letter', 'bob']]);
    bob.discard(letter);
    assert.deepEqual(places(), []);
  });
});

describe('messages', () => {
  test('stand in order and once, however they come', () => {
    const { room, say, load } = lobby({ epoch: 'e1', seq_id: 4 });
    assert.deepEqual(say(message(5), message(6), message(6)), [true, true, false]);
    load([message(2), message(3), message(4), message(5)], true);
    assert.deepEqual(contents(room), ['m2', 'm3', 'm4', 'm5', 'm6']);
    load([message(1)], false);
    assert.deepEqual(contents(room), ['m1', 'm2', 'm3', 'm4', 'm5', 'm6']);
    assert.equal(room.log.oldest, 1);
  });

  test('a page of another epoch is thrown away', () => {
    const { room, load } = lobby();
    load([message(1)], true, 'e0');
    assert.deepEqual([contents(room), room.log.loaded], [[], false]);
  });

  test('of one sender share a heading for five minutes', () => {
    const { room, say } = lobby();
    const times = [0, 1_000, 301_001, 301_002];
    say(...times.map((ms, i) => message(i + 1, { timestamp: NOON + ms })), message(5, { sender: 'eve', timestamp: NOON }));
    const heads = room.rows('ada').filter((row) => row.kind === 'message').map((row) => row.first);
    assert.deepEqual(heads, [true, false, true, false, true]);
  });

  test('share no heading with what is beyond a line', () => {
    const { room, say } = lobby();
    say(message(1), message(2));
    room.change('eve', 'join', NOON);
    say(message(3), message(4), message(5, { timestamp: NOON + 86_400_000 }));
    room.divider = { era: 0, seq: 3 };
    const heads = room.rows('ada').filter((row) => row.kind === 'message').map((row) => row.first);
    assert.deepEqual(heads, [true, false, true, true, true]);
  });

  test('of another day stand under its line', () => {
    const { room, say, load } = lobby();
    load([]);
    say(message(1), message(2), message(3, { timestamp: NOON + 86_400_000 }));
    assert.deepEqual(kinds(room), ['start', 'day', 'message', 'message', 'day', 'message']);
  });

  test('every row has a key of its own', () => {
    const { room, model, say } = lobby();
    say(message(1, { sender: 'ada', id: 'x' }), message(2, { timestamp: NOON - 86_400_000 }), message(3));
    room.change('eve', 'join', NOON);
    room.gap(4, 5);
    model.joined('lobby', { epoch: 'e2', seq_id: 0 });
    say(message(1, { sender: 'ada', id: 'x' }), message(2));
    room.pend(send('y'), NOON);
    const keys = room.rows('ada').map((row) => row.key);
    assert.equal(new Set(keys).size, keys.length, keys.join('\n'));
  });
});

describe('own messages', () => {
  test('stand last until they are acknowledged, then in their place, under the same key', () => {
    const { room, say } = lobby();
    const mine = send('x');
    room.pend(mine, NOON);
    say(message(2));
    const row = () => room.rows('ada').find((each) => each.content === 'x');
    const { key, state } = row();
    assert.deepEqual([contents(room), state], [['m2', 'x'], 'sending']);
    room.settle({ ...mine, seq_id: 1, timestamp: NOON }, 'ada');
    assert.deepEqual([contents(room), row().key, row().state], [['x', 'm2'], key, 'acknowledged']);
    say(message(1, { sender: 'ada', id: 'x', content: 'x' }));
    assert.deepEqual(contents(room), ['x', 'm2']);
  });

  test('that come back before their ack are not shown twice', () => {
    const { room, say } = lobby();
    const mine = send('x');
    room.pend(mine, NOON);
    say(message(1, { sender: 'ada', id: 'x', content: 'x' }));
    room.settle({ ...mine, seq_id: 1, timestamp: NOON }, 'ada');
    assert.deepEqual(contents(room), ['x']);
  });

  test("another user's id does not take a pending message away", () => {
    const { room, say } = lobby();
    room.pend(send('x'), NOON);
    say(message(1, { id: 'x' }));
    assert.deepEqual(contents(room), ['m1', 'x']);
  });

  test('in private have no number until their copy comes, and stay one', () => {
    const model = new Model('ada');
    model.welcomed({ epoch: 'i1', seq_id: 7 });
    const bob = model.person('bob');
    const mine = send('x', { room: undefined, to: 'bob' });
    bob.pend(mine, NOON);
    bob.settle({ ...mine, seq_id: 99, timestamp: NOON }, 'ada');
    assert.deepEqual(contents(bob), ['x']);
    model.page(model.inbox, { epoch: 'i1', more: false, messages: [
      letter(7), letter(8, { sender: 'ada', to: 'bob', id: 'x', content: 'x' }), letter(9, { sender: 'eve' })] });
    assert.deepEqual(contents(bob), ['m7', 'x']);
    assert.deepEqual(model.of('person').map(({ name }) => name), ['bob', 'eve']);
  });

  test('in private that an earlier page sent, and whose copy came first, stay one', () => {
    const model = new Model('ada');
    model.welcomed({ epoch: 'i1', seq_id: 7 });
    const bob = model.person('bob');
    const mine = send('x', { room: undefined, to: 'bob' });
    model.page(model.inbox, { epoch: 'i1', more: false, messages: [
      letter(8, { sender: 'ada', to: 'bob', id: 'x', content: 'x' })] });
    bob.pend(mine, NOON);
    bob.settle({ ...mine, seq_id: 99, timestamp: NOON }, 'ada');
    assert.deepEqual(contents(bob), ['x']);
  });

  test('that are not pending settle nothing', () => {
    const { room } = lobby();
    room.settle({ ...send('x'), seq_id: 1, timestamp: NOON }, 'ada');
    assert.deepEqual(contents(room), []);
  });

  test('can be discarded', () => {
    const { room } = lobby();
    const mine = send('x', { state: 'failed' });
    room.pend(mine, NOON);
    room.discard(mine);
    assert.deepEqual(contents(room), []);
  });
});

describe('what is above', () => {
  test('more, the start, or the end of what is kept', () => {
    for (const [messages, more, kind, text] of [
      [[], false, 'start', 'This is the start of lobby.'],
      [[message(1)], false, 'start', 'This is the start of lobby.'],
      [[message(3)], true, 'more', undefined],
      [[message(3)], false, 'note', 'Earlier messages are no longer kept.'],
    ]) {
      const above = (log) => [log.rows('ada')[0].kind, log.rows('ada')[0].loading];
      assert.deepEqual(above(new Model('ada').room('lobby')), ['more', true], 'it is loaded when it is joined');
      const { room, load } = lobby();
      room.log.loading = true;
      assert.deepEqual(above(room), ['more', true]);
      room.log.loading = false;
      assert.deepEqual(above(room), ['more', false], 'after a failure it can be asked for');
      load(messages, more);
      assert.deepEqual([room.rows('ada')[0].kind, room.rows('ada')[0].text], [kind, text]);
    }
  });

  test('why a room is not entered yet', () => {
    const model = new Model('ada');
    const room = model.room('lobby');
    room.obstacle = 'The room is full; trying again.';
    assert.deepEqual([kinds(room), notes(room)], [['note'], ['The room is full; trying again.']]);
    model.joined('lobby', EPOCH);
    assert.deepEqual([kinds(room), room.obstacle], [['more'], '']);
  });

  test('messages that come live show what is no longer kept', () => {
    const { room, say, load } = lobby({ epoch: 'e1', seq_id: 4 });
    load([]);
    say(message(5));
    assert.deepEqual(notes(room), ['Earlier messages are no longer kept.']);
    load([message(1)], true);
    assert.equal(room.log.more, false, 'nothing is older than 1');
  });

  test('too many rows let the oldest go, and can be loaded again', () => {
    const { room, say, load } = lobby();
    load([]);
    for (let seq_id = 1; seq_id <= 600; seq_id++) say(message(seq_id));
    room.trim();
    assert.equal(contents(room).length, 600);
    say(message(601));
    room.trim();
    assert.deepEqual([contents(room).length, room.log.oldest, room.log.more], [400, 202, true]);
    load([message(200), message(201)], true);
    assert.deepEqual([contents(room).length, room.log.oldest], [402, 200]);
  });
});

describe('behind a reader who scrolled up', () => {
  test('so many messages are kept, and the others counted', () => {
    const { room, load } = lobby();
    load([]);
    for (let seq_id = 1; seq_id <= 600; seq_id++) assert.ok(room.arrive(message(seq_id), 'ada'));
    room.arrive(message(601, { sender: 'ada' }), 'ada');
    assert.deepEqual([contents(room).length, room.unread('ada'), room.incomplete], [500, 600, true]);
    room.erase({ type: 'deleted', room_id: 'lobby', seq_id: 602, deleted_seq_id: 600, sender: 'mod', timestamp: NOON });
    assert.equal(room.unread('ada'), 599);
    room.renew();
    assert.deepEqual([contents(room), room.log.loaded, room.incomplete], [[], false, false]);
    load([message(599), message(601, { sender: 'ada' })], true);
    room.arrive(message(603), 'ada');
    assert.deepEqual(contents(room), ['m599', 'm601', 'm603']);
    room.mark_read();
    assert.equal(room.unread('ada'), 0);
  });

  test('nothing is held while the newest is in sight, or when the log starts anew', () => {
    const { model, room } = lobby();
    for (let seq_id = 1; seq_id <= 1_200; seq_id++) {
      room.arrive(message(seq_id), 'ada');
      room.trim();
    }
    assert.equal(room.incomplete, false);
    for (let seq_id = 1_201; seq_id <= 1_800; seq_id++) room.arrive(message(seq_id), 'ada');
    assert.equal(room.incomplete, true);
    model.joined('lobby', { epoch: 'e2', seq_id: 0 });
    assert.deepEqual([room.incomplete, room.unread('ada')], [false, 0]);
  });
});

describe('breaks', () => {
  test('a gap is told where it is', () => {
    const { room, say } = lobby();
    say(message(1));
    room.gap(2, 40);
    room.gap(2, 40);
    room.change('eve', 'join', NOON);
    room.change('eve', 'leave', NOON);
    room.change('kim', 'join', NOON);
    assert.equal(notes(room).at(-1), 'kim joined');
    room.change('kim', 'leave', NOON);
    room.mark_read();
    assert.deepEqual(room.read, { era: 0, seq: 40 });
    say(message(41));
    assert.deepEqual(kinds(room).slice(-3), ['message', 'note', 'message']);
    assert.deepEqual(notes(room), ['Some messages are no longer kept.']);
  });

  test('a log that starts anew keeps what is on the page above the new start, and says so', () => {
    const { model, room, say, load } = lobby();
    load([]);
    say(message(1), message(2));
    room.mark_read();
    room.type('bob', true, 0);
    assert.equal(model.joined('lobby', { epoch: 'e2', seq_id: 1, recovered: false }), 'anew');
    assert.deepEqual([room.unread('ada'), room.typing(0).names], [0, []]);
    load([message(1, { content: 'new 1' })], false, 'e2');
    say(message(2, { content: 'new 2' }));
    assert.deepEqual(contents(room), ['m1', 'm2', 'new 1', 'new 2']);
    assert.equal(room.unread('ada'), 2);
    assert.equal(notes(room).length, 1);
    assert.match(notes(room)[0], /started anew/);
  });

  test('a log that goes on says nothing', () => {
    const { model, room, say } = lobby();
    say(message(1));
    assert.equal(model.joined('lobby', { epoch: 'e1', seq_id: 5, recovered: true }), 'same');
    assert.deepEqual(notes(room), []);
    room.mark_read();
    assert.equal(room.read.seq, 5);
  });

  test('an inbox that starts anew does so for every person', () => {
    const model = new Model('ada');
    model.welcomed({ epoch: 'i1', seq_id: 0 });
    const first = letter(1);
    model.conversation_of(first).add(first, 'ada');
    assert.equal(model.welcomed({ epoch: 'i2', seq_id: 0, recovered: false }), 'anew');
    const second = letter(1, { content: 'new' });
    model.conversation_of(second).add(second, 'ada');
    assert.deepEqual(contents(model.person('bob')), ['m1', 'new']);
    assert.match(notes(model.person('bob'))[0], /started anew/);
  });
});

describe('reading', () => {
  test("counts what others wrote after one's place", () => {
    const { room, say } = lobby({ epoch: 'e1', seq_id: 2 });
    say(message(3), message(4, { sender: 'ada' }), message(5));
    assert.equal(room.unread('ada'), 2);
    room.mark_read();
    assert.equal(room.unread('ada'), 0);
    room.change('eve', 'join', NOON);
    say(message(6));
    assert.equal(room.unread('ada'), 1);
  });

  test('a room never seen before begins at its head, one seen before where it was left', () => {
    for (const [places, unread] of [
      [undefined, 0], [[['room lobby', 'e1', 2]], 3], [[['room lobby', 'e0', 99]], 5], ['nonsense', 0], [[[1, 2], null], 0],
    ]) {
      const model = new Model('ada', places);
      model.joined('lobby', { epoch: 'e1', seq_id: 5 });
      const messages = [1, 2, 3, 4, 5].map((seq_id) => message(seq_id));
      model.page(model.room('lobby').log, { epoch: 'e1', messages, more: false });
      assert.equal(model.room('lobby').unread('ada'), unread, JSON.stringify(places));
    }
  });

  test('places go from one page to the next', () => {
    const { model, room, say } = lobby();
    say(message(1), message(2));
    room.mark_read();
    say(message(3));
    const next = new Model('ada', JSON.parse(JSON.stringify(model.places)));
    next.joined('lobby', { epoch: 'e1', seq_id: 3 });
    assert.deepEqual(next.room('lobby').read, { era: 0, seq: 2 });
    next.learn([['room lobby', 'e1', 3]]);
    next.learn([['room lobby', 'e1', 1], ['room lobby', 'e0', 9]]);
    assert.deepEqual(next.room('lobby').read, { era: 0, seq: 3 });
  });

  test('private messages from somebody new are unread', () => {
    const model = new Model('ada');
    model.welcomed({ epoch: 'i1', seq_id: 3 });
    const event = letter(3);
    model.conversation_of(event).add(event, 'ada');
    assert.equal(model.person('bob').unread('ada'), 1);
    const later = new Model('ada', [['person bob', 'i1', 3]]);
    later.person('bob');
    later.welcomed({ epoch: 'i1', seq_id: 3 });
    later.conversation_of(event).add(event, 'ada');
    assert.equal(later.person('bob').unread('ada'), 0);
  });

  test('private conversations of earlier visits are there again, as long as their messages can be', () => {
    const model = new Model('ada', [['person bob', 'i1', 3], ['person eve', 'i0', 9], ['room lobby', 'i1', 1]]);
    model.welcomed({ epoch: 'i1', seq_id: 500 });
    assert.deepEqual(model.of('person').map(({ name, read }) => [name, read.seq]), [['bob', 3]]);
  });

  test('what was deleted is no news', () => {
    const { room, say } = lobby();
    say(message(1), message(2), message(3, { content: undefined, deleted: true }));
    room.erase({ type: 'deleted', room_id: 'lobby', seq_id: 4, deleted_seq_id: 1, sender: 'mod', timestamp: NOON });
    assert.equal(room.unread('ada'), 1);
  });

  test('the divider stands above the first unread message of somebody else', () => {
    const { room, say } = lobby();
    say(message(1), message(2, { sender: 'ada', id: 'x' }), message(3), message(4));
    room.divider = { era: 0, seq: 1 };
    assert.deepEqual(kinds(room).slice(-5), ['message', 'message', 'divider', 'message', 'message']);
  });
});

describe('people', () => {
  test('comings and goings share a line, and cancel each other', () => {
    const { room } = lobby();
    room.change('bob', 'join', NOON);
    room.change('eve', 'join', NOON + 1);
    room.change('bob', 'join', NOON + 2);
    assert.deepEqual([notes(room), room.member_count], [['bob and eve joined'], 2]);
    room.change('bob', 'leave', NOON + 3);
    assert.deepEqual([notes(room), [...room.members]], [['eve joined'], ['eve']]);
    room.change('eve', 'leave', NOON + 4);
    assert.deepEqual(notes(room), []);
    room.change('eve', 'join', NOON);
    room.change('eve', 'leave', NOON + 600_000);
    assert.deepEqual(notes(room), ['eve joined', 'eve left']);
  });

  test('typing ends with a message, a word, a farewell or the time', () => {
    const { room, say } = lobby();
    room.change('liz', 'join', NOON);
    for (const name of ['bob', 'eve', 'kim', 'liz']) room.type(name, true, 0);
    room.change('liz', 'leave', NOON);
    say(message(1));
    room.type('eve', false, 1_000);
    assert.deepEqual(room.typing(5_999).names, ['kim']);
    assert.deepEqual(room.typing(6_000).names, []);
  });

  test('names are only names', () => {
    const model = new Model('ada', [['room __proto__', 'e', 1]]);
    for (const name of ['__proto__', 'constructor', 'toString']) {
      model.joined(name, EPOCH);
      assert.equal(model.room(name).name, name);
      const event = letter(1, { sender: name });
      assert.equal(model.conversation_of(event).name, name);
    }
    assert.equal(model.conversations.size, 6);
  });

  test('a name turns nothing around but itself', () => {
    assert.equal(isolated('Ada L. (3)'), 'Ada L. (3)');
    assert.equal(isolated('שרה'), '\u2068שרה\u2069');
    assert.equal(isolated('a\u2069\u202eb\u2028c'), '\u2068abc\u2069');
    const { room } = lobby();
    room.change('a\u202eb', 'join', NOON);
    assert.deepEqual(notes(room), ['\u2068ab\u2069 joined']);
    assert.equal(list(['a', 'é', 'c']), 'a, \u2068é\u2069 and c');
  });

  test('are listed as one says it', () => {
    for (const [names, text] of [
      [[], ''], [['a'], 'a'], [['a', 'b'], 'a and b'], [['a', 'b', 'c', 'd'], 'a, b, c and d'],
      [['a', 'b', 'c', 'd', 'e', 'f'], 'a, b, c, d and 2 others'],
    ]) assert.equal(list(names), text);
  });
});

test('an address in a sentence ends before its punctuation', () => {
  for (const [found, url] of [
    ['https://a.b/c', 'https://a.b/c'], ['https://a.b/c.', 'https://a.b/c'], ['https://a.b/c?!', 'https://a.b/c'],
    ['https://a.b/c)', 'https://a.b/c'], ['https://a.b/c_(d)', 'https://a.b/c_(d)'], ['https://a.b/c_(d)).', 'https://a.b/c_(d)'],
    ['https://a.b/?q=1&r=2,', 'https://a.b/?q=1&r=2'], ['https://a.b/x]', 'https://a.b/x'],
  ]) assert.equal(without_tail(found), url);
});

test('what is sent to block a page costs little', () => {
  const start = performance.now();
  const brackets = `http://a${')'.repeat(65_000)}`;
  assert.equal(without_tail(brackets), 'http://a');
  assert.deepEqual(addresses(brackets), [], 'nobody writes such an address');
  assert.equal(addresses('http://a '.repeat(7_000)).length, 100);
  let nested = [];
  for (let depth = 1; depth < 1_999; depth++) nested = [nested];
  assert.ok(json_text(nested).length < 4_000);
  assert.ok(json_text(Array(30_000).fill(7)).length < 20_010);
  assert.ok(json_text(Array(30_000).fill(7)).endsWith('…'));
  assert.equal(json_text({ a: [1] }), '{\n "a": [\n  1\n ]\n}');
  assert.ok(performance.now() - start < 2_000);
});
