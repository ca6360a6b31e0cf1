// A client of the library with everything around it in the test's hands.

import assert from 'node:assert/strict';
import { Roomcast } from '../../src/web/roomcast.js';
import { FakeClock, FakePage, fakeSockets } from './fakes.mjs';

export const WELCOME = {
  type: 'welcome', client_id: 'c1', user: 'ada', session: 's'.repeat(32), inbox: { epoch: 'i1', seq_id: 0 },
  heartbeat_ms: 25_000, limits: { message_bytes_max: 1_000, dedupe_count: 10_000, dedupe_hours: 24 }, timestamp: 1,
};
export const LOBBY = { type: 'joined', room_id: 'lobby', epoch: 'e1', seq_id: 10, members: 1 };

/** A client with everything around it in the test's hands. `random` is 1 (almost): the longest pause. */
export function setup({ random = () => 0.999, clock = new FakeClock(), ...options } = {}) {
  const page = new FakePage();
  const { sockets, FakeSocket } = fakeSockets();
  const chat = new Roomcast({
    url: 'http://host/ws', user: 'ada', session: 's'.repeat(32), WebSocket: FakeSocket, clock, random, page,
    network: page, indexedDB: null, ...options,
  });
  const events = [];
  for (const type of ['state', 'welcome', 'joined', 'left', 'message', 'deleted', 'gap', 'reset', 'signal', 'system', 'presence',
    'send', 'error', 'token_expires']) chat.on(type, (event) => events.push({ ...event, on: type }));
  const seen = (type) => events.filter((event) => event.on === type);
  const last = () => sockets[sockets.length - 1];
  const open = (welcome = {}) => {
    last().accept();
    last().say({ ...WELCOME, ...welcome });
    return last();
  };
  return { chat, clock, page, sockets, last, open, seen };
}

/** As `setup`, welcomed and in the lobby at 10. */
export function inLobby(options) {
  const all = setup(options);
  all.chat.join('lobby');
  all.open().say(LOBBY);
  return all;
}

export const message = (seq_id, more = {}) =>
  ({ type: 'message', room_id: 'lobby', seq_id, timestamp: seq_id, sender: 'bob', content: `m${seq_id}`, ...more });
export const seqs = (seen) => seen('message').map((event) => event.seq_id);

/** Loses the connection, lets the pause end and is welcomed again. */
export function reconnect({ last, clock, open, sockets }, code = 1006, welcome = {}) {
  const count = sockets.length;
  last().hang_up(code);
  for (let waited_ms = 0; sockets.length === count; waited_ms += 100) {
    assert.ok(waited_ms < 60_000, 'it does not come back');
    clock.run(100);
  }
  return open(welcome);
}
