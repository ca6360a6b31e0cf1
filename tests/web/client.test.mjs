// The client library against a fake socket and a fake clock: `node --test tests/web/*.test.mjs`.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inLobby, LOBBY, message, reconnect, seqs, setup, WELCOME } from './setup.mjs';

describe('connecting', () => {
  test('says hello first, with nothing secret in the address', () => {
    const { last, chat } = setup({ url: 'https://host:1/chat/ws?x=1#y', inbox_since: { epoch: 'i1', seq_id: 7 } });
    assert.equal(last().url, 'wss://host:1/chat/ws?hello');
    assert.equal(last().protocol, 'roomcast.v1');
    assert.deepEqual(last().sent, []);
    last().accept();
    assert.deepEqual(last().sent, [{
      type: 'hello', user: 'ada', session: 's'.repeat(32), inbox_since: { epoch: 'i1', seq_id: 7 },
    }]);
    assert.equal(chat.link.state, 'connecting');
    last().say(WELCOME);
    assert.equal(chat.link.state, 'open');
  });

  test('brings a secret of its own where it has none, and the same one again', () => {
    const all = setup({ session: undefined });
    all.last().accept();
    const [{ session }] = all.last().sent;
    assert.match(session, /^[0-9a-f]{64}$/);
    all.last().hang_up();
    all.clock.run(1_000);
    all.last().accept();
    assert.equal(all.last().sent[0].session, session);
  });

  test('keeps the name that the server made up', () => {
    const all = setup({ user: undefined, session: undefined });
    all.last().accept();
    assert.deepEqual(all.last().sent, [{ type: 'hello' }]);
    all.last().say({ ...WELCOME, user: 'guest-7', session: 'secret' });
    assert.deepEqual([all.chat.user, all.chat.session], ['guest-7', 'secret']);
    const socket = reconnect(all);
    assert.deepEqual(socket.sent[0], { type: 'hello', user: 'guest-7', session: 'secret' });
  });

  test('gives an attempt up that gets no welcome', () => {
    const { last, clock, seen, sockets } = setup();
    last().accept();
    clock.run(14_999);
    assert.equal(seen('state').length, 0);
    clock.run(1);
    assert.equal(seen('state').at(-1).state, 'waiting');
    assert.equal(sockets[0].closed, 1005);
  });
});

describe('back-off', () => {
  test('doubles its window from 1 s to 30 s', () => {
    const { last, clock, seen, sockets } = setup({ random: () => 0.5 });
    for (const window_ms of [1, 2, 4, 8, 16, 30, 30, 30].map((s) => s * 1_000)) {
      const before = sockets.length;
      last().hang_up();
      assert.equal(seen('state').at(-1).retry_at, clock.now() + window_ms / 2);
      clock.run(window_ms / 2 - 1);
      assert.equal(sockets.length, before);
      clock.run(1);
      assert.equal(sockets.length, before + 1);
    }
  });

  test('has full jitter', () => {
    for (const share of [0, 0.25, 0.999]) {
      const { last, clock, seen } = setup({ random: () => share });
      last().hang_up();
      assert.equal(seen('state').at(-1).retry_at, clock.now() + 1_000 * share);
    }
  });

  test('starts anew after a stable connection, and only then', () => {
    for (const [lived_ms, window_ms] of [[9_999, 8_000], [10_000, 1_000]]) {
      const { last, clock, seen, open } = setup({ random: () => 0.5 });
      for (let i = 0; i < 3; i++) {
        last().hang_up();
        clock.run(4_000);
      }
      open();
      clock.run(lived_ms);
      last().hang_up();
      assert.equal(seen('state').at(-1).retry_at - clock.now(), window_ms / 2, `lived ${lived_ms}`);
    }
  });

  test('gives up on 4000 to 4099 and says why', () => {
    for (const code of [4000, 4001, 4099]) {
      const { last, clock, seen, sockets } = setup();
      last().accept();
      last().say({ type: 'error', code: 'name_taken', message: 'ada is taken', request: 'hello', retryable: false });
      last().hang_up(code);
      clock.run(600_000);
      assert.equal(sockets.length, 1);
      const { state, reason, error } = seen('state').at(-1);
      assert.deepEqual([state, reason, error.code], ['closed', 'ada is taken', 'name_taken']);
    }
  });

  test('comes back after every other code', () => {
    for (const code of [1000, 1001, 1002, 1006, 1008, 1009, 1011, 1013, 3999, 4100, 4199, 4200, 4299]) {
      const { clock, sockets, open } = setup();
      open().hang_up(code);
      clock.run(5_000);
      assert.equal(sockets.length, 2, String(code));
    }
  });

  test('pauses on 4100 to 4199, comes back at once on 4200 to 4299', () => {
    for (const [code, least, most] of [[4100, 1_000, 2_000], [1013, 1_000, 2_000], [4200, 0, 250], [4299, 0, 250]]) {
      for (const share of [0, 0.999]) {
        const { clock, seen, open } = setup({ random: () => share });
        open().hang_up(code);
        const pause_ms = seen('state').at(-1).retry_at - clock.now();
        assert.ok(pause_ms >= least && pause_ms <= most, `${code}: ${pause_ms}`);
      }
    }
  });

  test('does not believe "now" again and again', () => {
    const { clock, seen, open } = setup();
    open().hang_up(4200);
    clock.run(250);
    open().hang_up(4200);
    assert.ok(seen('state').at(-1).retry_at - clock.now() > 1_000);
  });

  test('obeys bye', () => {
    const { clock, seen, open, page, sockets } = setup({ random: () => 0 });
    const socket = open();
    socket.say({ type: 'bye', code: 'shutting_down', reason: 'Restarting', reconnect: true, retry_after_ms: 7_000 });
    socket.hang_up(1001);
    assert.equal(seen('state').at(-1).reason, 'Restarting');
    page.online();
    clock.run(6_999);
    assert.equal(sockets.length, 1);
    clock.run(1);
    assert.equal(sockets.length, 2);
  });

  test('gives up when bye says so', () => {
    const { seen, open } = setup();
    const socket = open();
    socket.say({ type: 'bye', code: 'forbidden', reason: 'Enough', reconnect: false });
    socket.hang_up(1008);
    assert.deepEqual([seen('state').at(-1).state, seen('state').at(-1).reason], ['closed', 'Enough']);
  });

  test('connect() ends a pause, and tries again after a refusal', () => {
    const { chat, last, sockets } = setup();
    last().hang_up();
    chat.connect();
    chat.connect();
    assert.equal(sockets.length, 2);
    last().hang_up(4001);
    chat.connect();
    assert.equal(sockets.length, 3);
  });

  test('comes back when the network does', () => {
    const { last, clock, page, sockets } = setup();
    for (let i = 0; i < 5; i++) {
      last().hang_up();
      clock.run(16_000);
    }
    last().hang_up();
    page.online();
    clock.run(250);
    assert.equal(sockets.length, 7);
  });

  test('does not storm from a hidden tab', () => {
    const { last, clock, page, sockets } = setup({ random: () => 0 });
    page.show(false);
    last().hang_up();
    clock.run(0);
    assert.equal(sockets.length, 2, 'the first attempt is an ordinary one');
    last().hang_up();
    clock.run(29_999);
    assert.equal(sockets.length, 2);
    clock.run(1);
    assert.equal(sockets.length, 3);
    last().hang_up();
    page.show(true);
    clock.run(250);
    assert.equal(sockets.length, 4);
  });

  test('says in words why there is no connection', () => {
    for (const [opened, code, reason, words] of [
      [false, 1006, '', 'The server cannot be reached'], [true, 1006, '', 'The connection was lost'],
      [true, 1001, '', 'The server is going away'], [true, 1013, '', 'The server is busy'],
      [true, 4100, 'Slow down', 'Slow down'],
    ]) {
      const { last, open, chat } = setup();
      if (opened) open();
      last().hang_up(code, reason);
      assert.equal(chat.link.reason, words);
    }
  });

  test('takes the code of bye where the close frame was lost', () => {
    const { open, chat } = setup();
    const socket = open();
    socket.say({ type: 'bye', code: 4003, reason: 'Banned', reconnect: false });
    socket.hang_up(1006);
    assert.deepEqual([chat.link.state, chat.link.code], ['closed', 4003]);
  });

  test('a late event of an earlier socket is not heard', () => {
    const { last, clock, seen, open, sockets } = setup();
    clock.run(15_000);
    clock.run(1_000);
    open();
    const states = seen('state').length;
    sockets[0].accept();
    sockets[0].say(WELCOME);
    sockets[0].hang_up(4001);
    assert.equal(seen('state').length, states);
    assert.equal(last().sent.length, 1);
  });
});

describe('liveness', () => {
  test('sends heartbeats a little faster than asked, in a hidden tab too', () => {
    const { clock, open, page } = setup();
    const socket = open();
    page.show(false);
    for (let i = 1; i <= 4; i++) {
      clock.run(22_500);
      assert.equal(socket.of('heartbeat').length, i);
      socket.say({ type: 'heartbeat', timestamp: 1 });
    }
  });

  test('gives a link up that was silent for two intervals', () => {
    const { clock, open, seen, sockets } = setup();
    open();
    clock.run(49_999);
    assert.equal(seen('state').at(-1).state, 'open');
    clock.run(1);
    assert.equal(seen('state').at(-1).state, 'waiting');
    assert.equal(sockets[0].closed, 1005);
  });

  test('any traffic is a sign of life', () => {
    const { clock, seen, last } = inLobby();
    for (let seq_id = 11; seq_id < 20; seq_id++) {
      clock.run(24_000);
      last().say(message(seq_id));
    }
    assert.equal(seen('state').filter(({ state }) => state === 'waiting').length, 0);
  });

  test('a page that slept asks before it gives up', () => {
    const { clock, open, seen } = setup();
    const socket = open();
    clock.run(22_500);
    clock.sleep(600_000);
    clock.run(0);
    assert.equal(seen('state').at(-1).state, 'open');
    socket.say({ type: 'heartbeat', timestamp: 1 });
    clock.run(20_000);
    assert.equal(seen('state').at(-1).state, 'open');
  });

  test('a page that slept and gets no answer gives up soon', () => {
    const { clock, open, seen } = setup();
    open();
    clock.run(22_500);
    clock.sleep(600_000);
    clock.run(5_000);
    assert.equal(seen('state').at(-1).state, 'waiting');
  });

  test('a page that slept is believed once', () => {
    for (const answered of [true, false]) {
      const { clock, open, chat } = setup();
      const socket = open();
      clock.run(22_500);
      clock.sleep(600_000);
      clock.run(0);
      if (answered) {
        socket.say({ type: 'heartbeat', timestamp: 1 });
        clock.run(22_500);
      }
      clock.sleep(600_000);
      clock.run(0);
      assert.equal(chat.link.state, answered ? 'open' : 'waiting');
    }
  });

  test('an interval that makes no sense is bounded', () => {
    for (const [heartbeat_ms, first_ms] of [[1, 900], [undefined, 22_500], ['x', 22_500], [1e12, 540_000]]) {
      const { clock, open } = setup();
      const socket = open({ heartbeat_ms });
      clock.run(first_ms - 1);
      assert.equal(socket.of('heartbeat').length, 0);
      clock.run(1);
      assert.equal(socket.of('heartbeat').length, 1);
    }
  });

  test('a doubt shortens a wait that has begun', () => {
    const { clock, open, page, chat } = setup();
    open();
    clock.run(22_500);
    page.online();
    clock.run(5_000);
    assert.equal(chat.link.state, 'waiting');
  });

  test('doubts the link when the tab is looked at again', () => {
    const { clock, open, page, seen } = setup();
    open();
    page.show(false);
    page.show(true);
    clock.run(5_000);
    assert.equal(seen('state').at(-1).state, 'waiting');
  });
});

describe('rooms', () => {
  test('join resolves with the first joined and is asked once', async () => {
    const { chat, open } = setup();
    chat.on('welcome', () => chat.join('late'));
    const joined = chat.join('lobby');
    const socket = open();
    assert.deepEqual(socket.of('join'), [{ type: 'join', room_id: 'late' }, { type: 'join', room_id: 'lobby' }]);
    socket.say(LOBBY);
    assert.equal((await joined).seq_id, 10);
    assert.equal(await chat.join('lobby'), await joined);
  });

  test('resumes after the last message that came on the wire', () => {
    const all = inLobby();
    all.last().say(message(11), message(12));
    assert.deepEqual(reconnect(all).of('join'), [{ type: 'join', room_id: 'lobby', since: { epoch: 'e1', seq_id: 12 } }]);
  });

  test('resumes after joined where nothing came', () => {
    const all = inLobby();
    assert.deepEqual(reconnect(all).of('join')[0].since, { epoch: 'e1', seq_id: 10 });
  });

  test('resumes after a gap', () => {
    const all = inLobby();
    all.last().say({ type: 'gap', room_id: 'lobby', from_seq_id: 11, to_seq_id: 40, reason: 'too_old' });
    assert.deepEqual(all.seen('gap').map((gap) => gap.to_seq_id), [40]);
    assert.deepEqual(reconnect(all).of('join')[0].since, { epoch: 'e1', seq_id: 40 });
  });

  test('never resumes from an ack, a history or the head of a room that still catches up', async () => {
    const all = inLobby();
    all.chat.send({ room: 'lobby', content: 'x', id: 'a' });
    all.last().say({ type: 'ack', id: 'a', room_id: 'lobby', seq_id: 15, timestamp: 1, durable: true });
    const page = all.chat.history({ room: 'lobby' });
    const { id } = all.last().of('history')[0];
    all.last().say({ type: 'history', id, room_id: 'lobby', epoch: 'e1', messages: [message(20)], more: false });
    assert.equal((await page).messages.length, 1);
    reconnect(all).say({ ...LOBBY, seq_id: 30, recovered: true });
    assert.deepEqual(reconnect(all).of('join')[0].since, { epoch: 'e1', seq_id: 10 });
  });

  test('drops what it has seen', () => {
    const all = inLobby();
    all.last().say(message(10), message(11), message(12), message(12), message(11));
    reconnect(all).say({ ...LOBBY, seq_id: 13, recovered: true }, message(12), message(13));
    assert.deepEqual(seqs(all.seen), [11, 12, 13]);
  });

  test('says when the room could not be continued, and takes the new numbers', () => {
    for (const joined of [
      { recovered: false, reason: 'epoch', epoch: 'e2', seq_id: 0 },
      { recovered: false, reason: 'ahead', epoch: 'e1', seq_id: 0 },
    ]) {
      const all = inLobby();
      all.last().say(message(11));
      const socket = reconnect(all);
      socket.say({ ...LOBBY, ...joined }, message(1));
      assert.deepEqual(all.seen('reset').map(({ room_id, reason }) => [room_id, reason]), [['lobby', joined.reason]]);
      assert.deepEqual(seqs(all.seen), [11, 1]);
      assert.deepEqual(all.chat.position('lobby'), { epoch: joined.epoch, seq_id: 1 });
    }
  });

  test('takes an epoch that changes under a live connection', () => {
    const all = inLobby();
    all.last().say({ ...LOBBY, epoch: 'e2', seq_id: 3, recovered: false, reason: 'epoch' }, message(4));
    assert.equal(all.seen('reset').length, 1);
    assert.deepEqual(all.chat.position('lobby'), { epoch: 'e2', seq_id: 4 });
  });

  test('a first join is no reset, a continued one neither', () => {
    const all = inLobby();
    reconnect(all).say({ ...LOBBY, recovered: true });
    assert.equal(all.seen('reset').length, 0);
  });

  test('what concerns a room that nobody asked for is not heard', () => {
    const all = inLobby();
    all.last().say({ ...LOBBY, room_id: 'other' }, message(11, { room_id: 'other' }),
      { type: 'gap', room_id: 'other', from_seq_id: 1, to_seq_id: 2, reason: 'too_old' });
    assert.deepEqual([all.seen('joined').length, all.seen('message').length, all.seen('gap').length], [1, 0, 0]);
  });

  test('leave fails what was not acknowledged, and a join that is refused later', async () => {
    const all = setup();
    const joined = all.chat.join('lobby');
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    const kept = all.chat.send({ to: 'bob', content: 'y' });
    const socket = all.open();
    socket.say({ type: 'error', request: 'join', room_id: 'lobby', code: 'overloaded', message: '', retryable: true });
    all.chat.leave('lobby');
    await assert.rejects(joined, { code: 'left' });
    await assert.rejects(send.acknowledged, { code: 'left' });
    all.clock.run(5_000);
    assert.deepEqual([socket.of('join').length, kept.state], [1, 'sending']);
  });

  test('a join that is refused again and again is asked for less and less often', () => {
    const all = setup({ random: () => 0 });
    all.chat.join('lobby');
    const socket = all.open();
    const refuse = (retry_after_ms) => socket.say({ type: 'error', request: 'join', room_id: 'lobby', code: 'room_full',
      message: '', retryable: true, retry_after_ms });
    for (const [pause_ms, retry_after_ms] of [[1_000], [2_000, 1_000], [4_000, 1_000]]) {
      const asked = socket.of('join').length;
      refuse(retry_after_ms);
      all.clock.run(pause_ms - 1);
      assert.equal(socket.of('join').length, asked);
      all.clock.run(1);
      assert.equal(socket.of('join').length, asked + 1);
    }
    const told = all.seen('error').map(({ code, retryable }) => [code, retryable]);
    assert.deepEqual(told, [['room_full', true]], 'told once');
    socket.say(LOBBY);
    const again = reconnect(all);
    again.say({ type: 'error', request: 'join', room_id: 'lobby', code: 'room_full', message: '', retryable: true });
    all.clock.run(1_000);
    assert.equal(again.of('join').length, 2);
  });

  test('leave forgets the room', () => {
    const all = inLobby();
    all.chat.leave('lobby');
    assert.deepEqual(all.last().of('leave'), [{ type: 'leave', room_id: 'lobby' }]);
    all.last().say(message(11));
    assert.deepEqual(seqs(all.seen), []);
    assert.deepEqual(reconnect(all).of('join'), []);
  });

  test('a refused join rejects and is not repeated; a retryable one is', async () => {
    const all = setup();
    const joined = all.chat.join('lobby');
    const socket = all.open();
    const error = { type: 'error', request: 'join', room_id: 'lobby', message: 'no' };
    socket.say({ ...error, code: 'overloaded', retryable: true, retry_after_ms: 2_000 });
    all.clock.run(3_000);
    assert.equal(socket.of('join').length, 2);
    socket.say({ ...error, code: 'room_full', retryable: false });
    await assert.rejects(joined, { code: 'room_full' });
    assert.deepEqual(all.seen('error').map(({ code }) => code), ['overloaded', 'room_full']);
    assert.deepEqual(reconnect(all).of('join'), []);
  });

  test('names are only names', () => {
    const all = setup();
    const socket = all.open();
    for (const name of ['__proto__', 'constructor', 'toString']) {
      all.chat.join(name);
      socket.say({ ...LOBBY, room_id: name }, message(11, { room_id: name, sender: '__proto__' }));
    }
    assert.equal(all.seen('message').length, 3);
    assert.equal({}.position, undefined);
  });
});

describe('sends', () => {
  test('wait for the room, go out once, and are acknowledged', async () => {
    const all = setup();
    all.chat.join('lobby');
    const send = all.chat.send({ room: 'lobby', content: { a: 1 }, metadata: 2 });
    const socket = all.open();
    assert.deepEqual(socket.of('message'), []);
    socket.say(LOBBY);
    const wire = { type: 'message', id: send.id, room_id: 'lobby', content: { a: 1 }, metadata: 2 };
    assert.deepEqual(socket.of('message'), [wire]);
    assert.equal(send.state, 'sending');
    socket.say({ type: 'ack', id: send.id, room_id: 'lobby', seq_id: 11, timestamp: 5, durable: true });
    assert.equal(await send.acknowledged, send);
    assert.deepEqual([send.state, send.seq_id, send.timestamp, send.durable], ['acknowledged', 11, 5, true]);
  });

  test('in private wait for nothing but the connection', () => {
    const all = setup();
    all.chat.send({ to: 'bob', content: 'early' });
    assert.deepEqual(all.open().of('message').map((command) => command.content), ['early']);
  });

  test('tell each change of their state', () => {
    const all = inLobby({ random: () => 0 });
    const states = [];
    all.chat.on('send', (send) => states.push(`${send.content} ${send.state}`));
    const good = all.chat.send({ room: 'lobby', content: 'good' });
    const bad = all.chat.send({ room: 'lobby', content: 'bad' });
    all.last().say({ type: 'ack', id: good.id, room_id: 'lobby', seq_id: 11, timestamp: 5, durable: true });
    all.last().say({ type: 'error', id: bad.id, code: 'forbidden', message: '', request: 'message', retryable: false });
    all.chat.retry(good);
    all.chat.retry(bad);
    assert.deepEqual(states, ['good acknowledged', 'bad failed', 'bad sending']);
    assert.deepEqual([good.state, bad.error], ['acknowledged', null]);
  });

  test('of one id are one', () => {
    const all = inLobby();
    const [one, two] = ['a', 'b'].map((content) => all.chat.send({ room: 'lobby', content, id: 'same' }));
    assert.equal(one, two);
    assert.deepEqual(all.last().of('message').map((command) => command.content), ['a']);
  });

  test('keep what they were given', () => {
    const { chat } = inLobby();
    const send = chat.send({ room: 'lobby', content: { a: 1 }, metadata: 2 });
    assert.deepEqual([send.room, send.to, send.content, send.metadata], ['lobby', undefined, { a: 1 }, 2]);
    assert.deepEqual([send.seq_id, send.timestamp, send.durable, send.error], [undefined, undefined, undefined, null]);
  });

  test('without an answer go out again under the same id, in order, after the room is joined again', () => {
    const all = inLobby();
    const ids = ['one', 'two', 'three'].map((content) => all.chat.send({ room: 'lobby', content }).id);
    assert.equal(new Set(ids).size, 3);
    all.last().say({ type: 'ack', id: ids[0], room_id: 'lobby', seq_id: 11, timestamp: 5, durable: true });
    all.last().hang_up();
    ids.push(all.chat.send({ room: 'lobby', content: 'while away' }).id);
    all.clock.run(1_000);
    const socket = all.open();
    assert.deepEqual(socket.of('message'), []);
    socket.say({ ...LOBBY, recovered: true });
    assert.deepEqual(socket.of('message').map((command) => command.id), ids.slice(1));
    socket.say({ type: 'ack', id: ids[1], room_id: 'lobby', seq_id: 12, timestamp: 5, durable: true, dup: true });
    reconnect(all).say({ ...LOBBY, recovered: true });
    assert.deepEqual(all.last().of('message').map((command) => command.id), ids.slice(2));
  });

  test('that came back as a message are taken for acknowledged', () => {
    const all = inLobby();
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    all.last().say(message(11, { sender: 'mallory', id: send.id }));
    assert.equal(send.state, 'sending', "another user's message proves nothing");
    all.last().say(message(12, { sender: 'ada', id: send.id }));
    assert.deepEqual([send.state, send.seq_id], ['acknowledged', 12]);
    reconnect(all).say({ ...LOBBY, recovered: true });
    assert.deepEqual(all.last().of('message'), []);
  });

  test('refused for good fail with the code', async () => {
    const all = inLobby();
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    const error = { type: 'error', id: send.id, code: 'forbidden', message: 'no', request: 'message', retryable: false };
    all.last().say(error);
    await assert.rejects(send.acknowledged, { code: 'forbidden', message: 'no' });
    assert.deepEqual([send.state, send.error.code], ['failed', 'forbidden']);
    assert.equal(all.seen('error').length, 0);
    reconnect(all).say({ ...LOBBY, recovered: true });
    assert.deepEqual(all.last().of('message'), []);
  });

  test('refused for now are repeated after the pause, and hold back what is behind them', () => {
    const all = inLobby({ random: () => 0 });
    const first = all.chat.send({ room: 'lobby', content: 'x' });
    all.last().say({ type: 'error', id: first.id, code: 'rate_limited', message: 'slow', request: 'message',
      retryable: true, retry_after_ms: 3_000 });
    const second = all.chat.send({ room: 'lobby', content: 'y' });
    all.chat.send({ to: 'bob', content: 'z' });
    const sent = () => all.last().of('message').map((command) => command.content);
    assert.deepEqual(sent(), ['x', 'z']);
    all.clock.run(2_999);
    assert.deepEqual(sent(), ['x', 'z']);
    all.clock.run(1);
    assert.deepEqual(sent(), ['x', 'z', 'x', 'y']);
    assert.equal(second.state, 'sending');
  });

  test('pauses that the server asks for are bounded', () => {
    for (const [asked_ms, pause_ms] of [[1, 100], [1e12, 60_000], [undefined, 1_000]]) {
      const all = inLobby({ random: () => 0 });
      const send = all.chat.send({ room: 'lobby', content: 'x' });
      all.last().say({ type: 'error', id: send.id, code: 'overloaded', message: '', request: 'message',
        retryable: true, retry_after_ms: asked_ms });
      const sent = () => all.last().of('message').length;
      let waited_ms = 0;
      for (; waited_ms < pause_ms; waited_ms += 100) {
        assert.equal(sent(), 1);
        all.clock.run(100);
        all.last().say({ type: 'heartbeat', timestamp: 1 });
      }
      assert.equal(sent(), 2);
    }
  });

  test('refused for now are repeated for as long, with growing pauses, whatever the server asks for', () => {
    for (const [code, retry_after_ms] of [['storage', 1_000], ['overloaded', 1_000], ['rate_limited', 100],
      ['shutting_down', undefined]]) {
      const all = inLobby({ random: () => 0 });
      const send = all.chat.send({ room: 'lobby', content: 'x' });
      const sent = () => all.last().of('message').length;
      const pauses_s = [];
      for (let i = 1; i <= 30; i++) {
        all.last().say({ type: 'error', id: send.id, code, message: '', request: 'message', retryable: true, retry_after_ms });
        let pause_ms = 0;
        for (; sent() === i; pause_ms += 100) {
          assert.ok(pause_ms < 60_000, `${code}: attempt ${i} is the last`);
          all.clock.run(100);
          all.last().say({ type: 'heartbeat', timestamp: 1 });
        }
        pauses_s.push(pause_ms / 1_000);
      }
      assert.deepEqual(pauses_s.slice(0, 7), [(retry_after_ms ?? 1_000) / 1_000, 2, 4, 8, 16, 30, 30], code);
      assert.equal(send.state, 'sending');
      all.last().say({ type: 'ack', id: send.id, room_id: 'lobby', seq_id: 11, timestamp: 5, durable: true });
      assert.equal(send.state, 'acknowledged');
    }
  });

  test('that meet the same fault again and again are given up, as failed only if none can have arrived', () => {
    for (const [code, retryable, state, shown] of [
      ['internal', true, 'unconfirmed', 'unconfirmed'], ['not_joined', false, 'failed', 'not_joined'],
    ]) {
      const all = inLobby({ random: () => 0 });
      const send = all.chat.send({ room: 'lobby', content: 'x' });
      for (let i = 0; i < 10; i++) {
        assert.equal(send.state, 'sending');
        all.last().say({ type: 'error', id: send.id, code, message: 'why', request: 'message', retryable });
        all.last().say({ ...LOBBY, recovered: true });
        all.clock.run(30_000);
        all.last().say({ type: 'heartbeat', timestamp: 1 });
      }
      assert.deepEqual([send.state, send.error.code, all.last().of('message').length], [state, shown, 10]);
    }
  });

  test('refused for good are unconfirmed where an earlier attempt has no answer', async () => {
    const no = (send, code, retryable) => ({ type: 'error', id: send.id, code, message: 'muted', request: 'message', retryable });
    for (const lose of [
      (all) => reconnect(all).say({ ...LOBBY, recovered: true }),
      (all, send) => {
        all.last().say(no(send, 'storage', true));
        all.clock.run(1_000);
      },
    ]) {
      const all = inLobby({ random: () => 0 });
      const send = all.chat.send({ room: 'lobby', content: 'x' });
      lose(all, send);
      assert.equal(all.last().of('message').at(-1).id, send.id);
      all.last().say(no(send, 'forbidden', false));
      await assert.rejects(send.acknowledged, { code: 'unconfirmed', message: 'It may have arrived or not: muted' });
      assert.equal(send.state, 'unconfirmed');
      all.last().say(message(11, { sender: 'ada', id: send.id }));
      assert.equal(send.state, 'acknowledged', 'and it is still looked for');
    }
  });

  test('to a room that the server lost are repeated after a new join', () => {
    const all = inLobby({ random: () => 0 });
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    all.last().say({ type: 'error', id: send.id, code: 'not_joined', message: '', request: 'message', retryable: false });
    assert.deepEqual(all.last().of('join').at(-1).since, { epoch: 'e1', seq_id: 10 });
    all.last().say({ ...LOBBY, recovered: true });
    all.clock.run(1_000);
    assert.equal(all.last().of('message').length, 2);
  });

  test('that break each connection are given up', () => {
    const all = inLobby();
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    for (const code of [1009, 1006, 1009]) {
      assert.equal(send.state, 'sending');
      reconnect(all, code).say({ ...LOBBY, recovered: true });
    }
    assert.deepEqual([send.state, send.error.code], ['failed', 'rejected']);
  });

  test('too large, to a room not joined, or too many fail at once', async () => {
    const all = inLobby();
    const rejects = (send, code) => assert.rejects(send.acknowledged, { code });
    await rejects(all.chat.send({ room: 'lobby', content: 'é'.repeat(500) }), 'too_large');
    await rejects(all.chat.send({ room: 'elsewhere', content: 'x' }), 'not_joined');
    for (let i = 0; i < 1_000; i++) all.chat.send({ to: 'bob', content: i });
    await rejects(all.chat.send({ to: 'bob', content: 'x' }), 'outbox_full');
    assert.throws(() => all.chat.send({ content: 'x' }), TypeError);
    assert.throws(() => all.chat.send({ room: 'a', to: 'b', content: 'x' }), TypeError);
    assert.throws(() => all.chat.send({ room: 'a' }), TypeError);
  });

  test('retry repeats a failed send under its id', async () => {
    const all = inLobby();
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    all.last().say({ type: 'error', id: send.id, code: 'storage', message: 'full', request: 'message', retryable: false });
    await assert.rejects(send.acknowledged);
    all.chat.retry(send);
    assert.equal(send.state, 'sending');
    assert.deepEqual(all.last().of('message').map((command) => command.id), [send.id, send.id]);
    all.last().say({ type: 'ack', id: send.id, room_id: 'lobby', seq_id: 11, timestamp: 5, durable: false });
    await send.acknowledged;
    all.chat.retry(send);
    assert.equal(all.last().of('message').length, 2);
  });

  test('wait once the server has said bye', () => {
    const all = inLobby();
    all.last().say({ type: 'bye', code: 'shutting_down', reason: 'Restart', reconnect: true });
    all.chat.send({ room: 'lobby', content: 'x' });
    assert.deepEqual(all.last().of('message'), []);
    reconnect(all, 1001).say({ ...LOBBY, recovered: true });
    assert.equal(all.last().of('message').length, 1);
  });

  test('fail at once after the client gave up, and can be tried again when it comes back', async () => {
    const all = inLobby();
    all.last().hang_up(4003, 'banned');
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    await assert.rejects(send.acknowledged, { code: 'closed', message: 'banned' });
    all.chat.connect();
    all.open().say({ ...LOBBY, recovered: true });
    all.chat.retry(send);
    assert.equal(all.last().of('message').length, 1);
  });

  test('fail with the reason when the client gives up', async () => {
    const all = inLobby();
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    all.last().hang_up(4003, 'banned');
    await assert.rejects(send.acknowledged, { code: 'closed', message: 'banned' });
  });
});

describe('inbox', () => {
  const letter = (seq_id, more = {}) =>
    ({ type: 'message', to: 'ada', seq_id, timestamp: seq_id, sender: 'bob', content: `p${seq_id}`, ...more });

  test('private messages need no room and are pushed from the last one taken in', () => {
    const all = setup();
    assert.equal(all.chat.inbox_position, null);
    const socket = all.open({ inbox: { epoch: 'i1', seq_id: 5 } });
    socket.say(letter(4), letter(5), letter(5));
    assert.deepEqual(seqs(all.seen), [4, 5]);
    all.chat.send({ to: 'bob', content: 'hi' });
    assert.equal(socket.of('message')[0].to, 'bob');
    assert.deepEqual(reconnect(all).sent[0].inbox_since, { epoch: 'i1', seq_id: 5 });
  });

  test('what is pushed again is dropped', () => {
    const all = setup();
    all.open().say(letter(1), letter(2));
    reconnect(all, 1006, { inbox: { epoch: 'i1', seq_id: 3, recovered: true } }).say(letter(2), letter(3));
    assert.deepEqual(seqs(all.seen), [1, 2, 3]);
    assert.equal(all.seen('reset').length, 0);
  });

  test('an inbox that starts anew is told', () => {
    for (const inbox of [{ epoch: 'i2', seq_id: 1, recovered: false }, { epoch: 'i1', seq_id: 1, recovered: false }]) {
      const all = setup();
      all.open().say(letter(5));
      reconnect(all, 1006, { inbox }).say(letter(1));
      assert.deepEqual(all.seen('reset').map(({ to }) => to), ['ada']);
      assert.deepEqual(seqs(all.seen), [5, 1]);
    }
  });

  test('the copy of an own message is news for other connections only', () => {
    const all = setup();
    const socket = all.open();
    const send = all.chat.send({ to: 'bob', content: 'hi' });
    socket.say({ type: 'ack', id: send.id, to: 'bob', seq_id: 9, timestamp: 5, durable: true });
    socket.say(letter(1, { to: 'bob', sender: 'ada', id: send.id }));
    assert.deepEqual(seqs(all.seen), []);
    socket.say(letter(2, { to: 'bob', sender: 'ada', id: 'from-another-tab' }));
    assert.deepEqual(seqs(all.seen), [2]);
    assert.deepEqual(all.chat.inbox_position, { epoch: 'i1', seq_id: 2 });
  });

  test('own messages are remembered, but not for ever', () => {
    const all = setup();
    const socket = all.open();
    const ids = Array.from({ length: 1_001 }, (_, i) => {
      const { id } = all.chat.send({ to: 'bob', content: i });
      socket.say({ type: 'ack', id, to: 'bob', seq_id: i, timestamp: 5, durable: true });
      return id;
    });
    ids.slice(0, 2).forEach((id, i) => socket.say(letter(i + 1, { to: 'bob', sender: 'ada', id })));
    assert.deepEqual(seqs(all.seen), [1]);
  });

  test('a copy answers a send whose ack was lost', () => {
    const all = setup();
    all.open().say(letter(1));
    const send = all.chat.send({ to: 'bob', content: 'hi' });
    all.last().hang_up();
    all.clock.run(1_000);
    const socket = all.open({ inbox: { epoch: 'i1', seq_id: 2, recovered: true } });
    socket.say(letter(2, { to: 'bob', sender: 'ada', id: send.id }));
    assert.deepEqual([send.state, send.seq_id], ['acknowledged', undefined]);
    assert.deepEqual(seqs(all.seen), [1]);
  });

  test('a gap moves the place', () => {
    const all = setup();
    all.open().say(letter(1), { type: 'gap', to: 'ada', from_seq_id: 2, to_seq_id: 6, reason: 'too_old' });
    assert.deepEqual(all.chat.inbox_position, { epoch: 'i1', seq_id: 6 });
  });
});

describe('the rest', () => {
  test('requests find their answers by id', async () => {
    const all = inLobby();
    const who = all.chat.who('lobby');
    const history = all.chat.history({ room: 'lobby', before: 5, limit: 2 });
    const inbox = all.chat.history({ after: 1 });
    const [first, second] = all.last().of('history');
    assert.deepEqual([first.room_id, first.before, first.limit, first.to], ['lobby', 5, 2, undefined]);
    assert.deepEqual([second.room_id, second.to, second.after], [undefined, 'ada', 1]);
    all.last().say({ type: 'error', id: second.id, code: 'storage', message: 'disk', request: 'history', retryable: true });
    all.last().say({ type: 'history', id: first.id, room_id: 'lobby', epoch: 'e1', messages: [], more: false });
    all.last().say({ type: 'presence', room_id: 'lobby', count: 9 });
    all.last().say({ type: 'presence', id: all.last().of('who')[0].id, room_id: 'lobby', count: 1, members: ['ada'] });
    await assert.rejects(inbox, { code: 'storage' });
    assert.equal((await history).more, false);
    assert.deepEqual((await who).members, ['ada']);
    assert.equal(all.seen('presence').length, 2);
  });

  test('requests fail with the connection, or in time', async () => {
    const all = inLobby();
    const lost = all.chat.who('lobby');
    all.last().hang_up();
    await assert.rejects(lost, { code: 'disconnected' });
    await assert.rejects(all.chat.who('lobby'), { code: 'disconnected' });
    all.clock.run(1_000);
    const socket = all.open();
    const silent = all.chat.who('lobby');
    for (let i = 0; i < 3; i++) {
      all.clock.run(10_000);
      socket.say({ type: 'heartbeat', timestamp: 1 });
    }
    await assert.rejects(silent, { code: 'timeout' });
  });

  test('an error that belongs to nothing is told', () => {
    const all = inLobby();
    all.last().say({ type: 'error', code: 'bad_json', message: 'no', request: '', retryable: false });
    assert.deepEqual(all.seen('error').map(({ code }) => code), ['bad_json']);
  });

  test('an answered request leaves no timer behind', async () => {
    const all = inLobby();
    const timers = all.clock.pending;
    const who = all.chat.who('lobby');
    all.last().say({ type: 'presence', id: all.last().of('who')[0].id, room_id: 'lobby', count: 1 });
    await who;
    assert.equal(all.clock.pending, timers);
  });

  test('nothing is written to a connection that is closing', () => {
    const all = inLobby();
    all.last().readyState = 2;
    assert.equal(all.chat.signal({ room: 'lobby', content: 1 }), false);
    assert.deepEqual(all.last().of('signal'), []);
  });

  test('signals are sent or not, never later', () => {
    const all = setup();
    all.chat.join('lobby');
    assert.equal(all.chat.signal({ room: 'lobby', content: 1 }), false);
    const socket = all.open();
    assert.equal(all.chat.signal({ room: 'lobby', content: 1 }), false);
    socket.say(LOBBY, { type: 'signal', room_id: 'lobby', sender: 'bob', content: 2, timestamp: 1 });
    assert.equal(all.chat.signal({ room: 'lobby', content: 1 }), true);
    assert.equal(all.chat.signal({ to: 'bob', content: 1 }), true);
    assert.deepEqual(socket.of('signal').length, 2);
    assert.equal(all.seen('signal').length, 1);
  });

  test('what is no JSON object, or of an unknown type, is passed over', () => {
    const all = inLobby();
    for (const data of ['', '{', 'null', '[]', '"x"', '{"type":"from-the-future"}', new ArrayBuffer(4)]) {
      all.last().onmessage({ data });
    }
    all.last().say(message(11));
    assert.deepEqual(seqs(all.seen), [11]);
  });

  test('a listener that throws disturbs nobody', (t) => {
    const reported = [];
    globalThis.reportError = (error) => reported.push(error.message);
    t.after(() => delete globalThis.reportError);
    const all = inLobby();
    const stop = all.chat.on('message', () => {
      throw new Error('mine');
    });
    const heard = [];
    all.chat.on('message', ({ seq_id }) => heard.push(seq_id));
    all.last().say(message(11));
    stop();
    all.last().say(message(12));
    assert.deepEqual(heard, [11, 12]);
    assert.deepEqual(reported, ['mine']);
  });

  test('close ends everything', async () => {
    const all = inLobby();
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    const asked = all.chat.who('lobby');
    const joined = all.chat.join('other');
    all.chat.close();
    await assert.rejects(send.acknowledged, { code: 'closed' });
    await assert.rejects(asked, { code: 'disconnected' });
    await assert.rejects(joined, { code: 'closed' });
    assert.equal(all.last().closed, 1000);
    assert.equal(all.seen('state').at(-1).state, 'closed');
    all.page.online();
    all.chat.connect();
    all.clock.run(600_000);
    assert.equal(all.sockets.length, 1);
    assert.equal(all.clock.pending, 0);
    all.chat.close();
    assert.equal(all.page.listeners, 0);
  });
});

describe('moderation', () => {
  const deleted = (seq_id, deleted_seq_id) =>
    ({ type: 'deleted', room_id: 'lobby', seq_id, deleted_seq_id, sender: 'bob', timestamp: seq_id });

  test('a deletion has its place among the messages, and is told once', () => {
    const all = inLobby();
    all.last().say(message(11), deleted(12, 11), deleted(12, 11));
    assert.deepEqual(all.seen('deleted').map((event) => event.deleted_seq_id), [11]);
    const socket = reconnect(all);
    assert.deepEqual(socket.of('join')[0].since, { epoch: 'e1', seq_id: 12 });
    socket.say({ ...LOBBY, seq_id: 13, recovered: true }, deleted(12, 11), message(13));
    assert.equal(all.seen('deleted').length, 1);
    assert.deepEqual(seqs(all.seen), [11, 13]);
  });

  test('commands are answered, or refused', async () => {
    const all = inLobby();
    const [gone, banned] = [all.chat.delete('lobby', 7), all.chat.ban({ room: 'lobby', user: 'eve', seconds: 60, reason: 'spam' })];
    const [ask] = all.last().of('delete');
    assert.deepEqual([ask.room_id, ask.seq_id], ['lobby', 7]);
    const [order] = all.last().of('ban');
    assert.deepEqual([order.room_id, order.user, order.seconds, order.reason], ['lobby', 'eve', 60, 'spam']);
    all.last().say({ type: 'ack', id: ask.id, room_id: 'lobby', seq_id: 11, timestamp: 1, durable: true });
    all.last().say({ type: 'done', request: 'ban', room_id: 'lobby', user: 'eve', until: 5, id: order.id });
    assert.equal((await gone).seq_id, 11);
    assert.equal((await banned).until, 5);
    const kicked = all.chat.kick({ room: 'lobby', user: 'eve' });
    const { id } = all.last().of('kick')[0];
    all.last().say({ type: 'error', id, code: 'forbidden', message: 'no', request: 'kick', room_id: 'lobby', retryable: false });
    await assert.rejects(kicked, { code: 'forbidden' });
  });

  test('a room that one was removed from is not joined again', async () => {
    const all = inLobby();
    const send = all.chat.send({ room: 'lobby', content: 'x' });
    all.last().say({ type: 'left', room_id: 'lobby', epoch: 'e1', seq_id: 10, members: 1, event: 'kick', by: 'mod', reason: 'loud' });
    await assert.rejects(send.acknowledged, { code: 'kick' });
    assert.equal(all.seen('left')[0].reason, 'loud');
    assert.deepEqual(all.chat.rooms, []);
    assert.deepEqual(reconnect(all).of('join'), []);
    all.chat.leave('lobby');
    assert.deepEqual(all.last().of('leave'), []);
  });
});

describe('tokens', () => {
  /** Lets promises that are settled be heard of. */
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  /** A source of numbered tokens that can be made to fail, or to wait. */
  const source = () => {
    const all = { count: 0, fails: false, waiting: null };
    all.token = () => {
      all.count += 1;
      if (all.fails) throw new Error('no token today');
      return all.waiting ?? `t${all.count}`;
    };
    return all;
  };
  const warning = { type: 'token_expires', expires_at: 2, timestamp: 1 };

  test('a string is sent in each hello, and there is nothing else to send', () => {
    const all = setup({ token: 't' });
    all.open();
    assert.equal(all.last().sent[0].token, 't');
    assert.equal(reconnect(all).sent[0].token, 't');
    all.last().say(warning);
    assert.deepEqual(all.seen('token_expires'), [{ ...warning, on: 'token_expires' }]);
    assert.equal(all.last().of('hello').length, 1);
  });

  test('a function is asked before each connection', async () => {
    const tokens = source();
    const all = setup({ token: tokens.token });
    assert.equal(all.sockets.length, 0, 'no socket waits for the token');
    await settle();
    all.open();
    assert.equal(all.last().sent[0].token, 't1');
    all.last().hang_up();
    all.clock.run(2_000);
    await settle();
    all.open();
    assert.equal(all.last().sent[0].token, 't2');
    assert.equal(tokens.count, 2);
  });

  test('a function is asked again when its token is about to expire', async () => {
    const tokens = source();
    const all = setup({ token: tokens.token });
    await settle();
    const socket = all.open();
    socket.say(warning);
    await settle();
    const [, renewal] = socket.of('hello');
    assert.equal(renewal.token, 't2');
    assert.deepEqual(Object.keys(renewal).sort(), ['id', 'token', 'type'], 'it says nothing else');
    // The answer is no warning.
    socket.say({ ...warning, id: renewal.id });
    await settle();
    assert.equal(tokens.count, 2);
    assert.equal(all.seen('token_expires').length, 1);
    assert.equal(all.chat.link.state, 'open');
  });

  test('an expired token is the end only where there is no other', async () => {
    const one = setup({ token: 't' });
    one.open();
    one.last().say({ type: 'bye', code: 4002, reason: 'the token has expired', reconnect: false });
    one.last().hang_up(4002);
    assert.deepEqual([one.chat.link.state, one.chat.link.code], ['closed', 4002]);
    const tokens = source();
    const many = setup({ token: tokens.token });
    await settle();
    many.open().say({ type: 'bye', code: 4002, reason: 'the token has expired', reconnect: false });
    many.last().hang_up(4002);
    assert.equal(many.chat.link.state, 'waiting');
    many.clock.run(2_000);
    await settle();
    many.open();
    assert.equal(many.last().sent[0].token, 't2');
    // What was refused is not tried again: the next one would be no better.
    many.last().hang_up(4001);
    assert.equal(many.chat.link.state, 'closed');
  });

  test('without a token there is no connection, but another attempt', async () => {
    const tokens = source();
    tokens.fails = true;
    const all = setup({ token: tokens.token });
    await settle();
    assert.equal(all.sockets.length, 0);
    assert.deepEqual([all.chat.link.state, all.chat.link.reason], ['waiting', 'There is no token']);
    tokens.fails = false;
    all.clock.run(2_000);
    await settle();
    all.open();
    assert.equal(all.last().sent[0].token, 't2');
    // A renewal that fails costs nothing until the old one has expired.
    tokens.fails = true;
    all.last().say(warning);
    await settle();
    assert.equal(all.chat.link.state, 'open');
    assert.equal(all.last().of('hello').length, 1);
  });

  test('a token that comes too late is for nobody', async () => {
    const tokens = source();
    let give = (/** @type {string} */ _) => {};
    tokens.waiting = new Promise((resolve) => (give = resolve));
    const all = setup({ token: tokens.token });
    all.clock.run(15_000);
    assert.deepEqual([all.chat.link.state, all.chat.link.reason], ['waiting', 'There is no token']);
    give('late');
    await settle();
    assert.equal(all.sockets.length, 0);
    tokens.waiting = null;
    all.chat.connect();
    all.chat.connect();
    await settle();
    assert.equal(all.sockets.length, 1);
    all.open();
    assert.equal(all.last().sent[0].token, 't2');
    // One that was asked for by a client that ended is for nobody either.
    const other = setup({ token: tokens.token });
    other.chat.close();
    await settle();
    assert.equal(other.sockets.length, 0);
  });
});
