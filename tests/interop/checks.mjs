// Chats with a roomcast server through the ws library for Node.
//
//     node tests/interop/checks.mjs ws://127.0.0.1:8080
//
// The server needs --raw and --echo, and to be a new one each time. ws is looked for where Node finds modules, NODE_PATH
// among it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';

const PATIENCE_MS = 20_000;
const { WebSocket } = createRequire(import.meta.url)('ws');
const url = process.argv[2];
const open = new Set();

/** One connection. What it receives waits until it is asked for. */
class Peer {
  #received = [];
  #wake = () => {};

  constructor(path, { subprotocols = [], ...options } = {}) {
    this.socket = new WebSocket(url + path, subprotocols, options);
    this.socket.on('message', (data, is_binary) => this.#take({ data: is_binary ? data : String(data) }));
    this.socket.on('close', (code, reason) => this.#take({ code, reason: String(reason) }));
    this.socket.on('error', (error) => this.#take({ error }));
    open.add(this.socket);
  }

  static async connect(path, options) {
    const peer = new Peer(path, options);
    await in_time('open', once(peer.socket, 'open'));
    return peer;
  }

  #take(what) {
    this.#received.push(what);
    this.#wake();
  }

  async #next() {
    while (this.#received.length === 0) await new Promise((wake) => { this.#wake = wake; });
    return this.#received.shift();
  }

  async recv() {
    const { data, ...other } = await in_time('a message', this.#next());
    assert.notEqual(data, undefined, `a message, not ${JSON.stringify(other)}`);
    return data;
  }

  /** Reads to the end, and gives the code of the server's close frame. */
  async closed() {
    for (;;) {
      const { code } = await in_time('the close', this.#next());
      if (code !== undefined) return code;
    }
  }
}

/** A chat connection. Events of a kind not asked for wait until they are. */
class Chat {
  #waiting = [];

  static async open(query = '') {
    const chat = new Chat();
    chat.peer = await Peer.connect(`/ws${query}`, { subprotocols: ['roomcast.v1'] });
    chat.welcome = await chat.event('welcome');
    return chat;
  }

  say(command) {
    this.peer.socket.send(JSON.stringify(command));
  }

  async event(type) {
    const at = this.#waiting.findIndex((event) => event.type === type);
    if (at >= 0) return this.#waiting.splice(at, 1)[0];
    for (;;) {
      const event = JSON.parse(await this.peer.recv());
      if (event.type === type) return event;
      this.#waiting.push(event);
    }
  }

  async join(room_id, more) {
    this.say({ type: 'join', room_id, ...more });
    return this.event('joined');
  }
}

function in_time(what, promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`${what} did not come`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const checks = {
  async 'a room is in one order for everyone'() {
    const members = await Promise.all(['ada', 'bob', 'cleo'].map((name) => Chat.open(`?user=${name}`)));
    for (const member of members) await member.join('order');
    for (let number = 0; number < 60; number += 1) {
      members[number % 3].say({ type: 'message', room_id: 'order', content: { number }, id: String(number) });
    }
    const seen = [];
    for (const member of members) {
      const events = [];
      while (events.length < 60) events.push(await member.event('message'));
      seen.push(events);
    }
    assert.deepEqual(seen[0].map((event) => event.seq_id), Array.from({ length: 60 }, (_, at) => at + 1));
    for (const events of seen) assert.deepEqual(events, seen[0]);
    const ack = await members[1].event('ack');
    assert.equal(seen[0][ack.seq_id - 1].id, ack.id);
  },

  async 'a private message waits for its reader'() {
    let reader = await Chat.open('?user=reader');
    reader.peer.socket.close();
    const writer = await Chat.open('?user=writer');
    writer.say({ type: 'message', to: 'reader', content: ['are you there?'] });
    assert.equal((await writer.event('ack')).seq_id, 1);
    reader = await Chat.open(`?user=reader&session=${reader.welcome.session}`);
    const message = await reader.event('message');
    assert.deepEqual([message.sender, message.to, message.content], ['writer', 'reader', ['are you there?']]);
  },

  async 'a member comes back to where it was'() {
    const stays = await Chat.open('?room=since');
    const { epoch } = await stays.event('joined');
    for (let number = 1; number <= 5; number += 1) stays.say({ type: 'message', room_id: 'since', content: number });
    for (let number = 1; number <= 5; number += 1) await stays.event('ack');
    const comes_back = await Chat.open();
    const joined = await comes_back.join('since', { since: { epoch, seq_id: 3 } });
    assert.equal(joined.recovered, true);
    assert.equal((await comes_back.event('message')).content, 4);
    assert.equal((await comes_back.event('message')).content, 5);
  },

  async 'fragments become one message, with pings between them'() {
    const { socket, ...peer } = await Peer.connect('/echo');
    const echo = in_time('the echo', once(socket, 'message'));
    const pong = in_time('the pong', once(socket, 'pong'));
    const parts = Array.from({ length: 20 }, (_, at) => Buffer.alloc(at * 100, at));
    parts.forEach((part, at) => {
      socket.send(part, { fin: at === parts.length - 1, binary: true });
      if (at === 7) socket.ping('between');
    });
    assert.equal(String((await pong)[0]), 'between');
    assert.deepEqual((await echo)[0], Buffer.concat(parts));
  },

  async 'a relay gives text and binary to the others'() {
    const [ada, bob] = await Promise.all([Peer.connect('/raw/relay'), Peer.connect('/raw/relay')]);
    // A relay doesn't say when one is in, so this asks until it is heard.
    const asking = setInterval(() => ada.socket.send('are you in?'), 50);
    await bob.recv().finally(() => clearInterval(asking));
    const binary = Buffer.from(Array.from({ length: 70_000 }, (_, at) => at % 251)).subarray(0, 65_536);
    ada.socket.send(binary);
    ada.socket.send('ä');
    let data = await bob.recv();
    while (data === 'are you in?') data = await bob.recv();
    assert.deepEqual(data, binary);
    assert.equal(await bob.recv(), 'ä');
    bob.socket.send('back');
    assert.equal(await ada.recv(), 'back');
  },

  async 'a close is answered with its code'() {
    for (const path of ['/ws', '/echo', '/raw/closes']) {
      for (const code of [1000, 3000, 4999]) {
        const peer = await Peer.connect(path);
        peer.socket.close(code, 'ä'.repeat(61));
        assert.equal(await peer.closed(), code, path);
      }
    }
  },

  async 'a violation has its close code'() {
    const bad_text = [Buffer.from([0xed, 0xa0, 0x80]), { binary: false }];
    for (const [path, sent, code] of [
      ['/ws', [Buffer.from('{}')], 1003], ['/ws', bad_text, 1007], ['/echo', bad_text, 1007],
      ['/echo', [Buffer.alloc(65_537)], 1009],
    ]) {
      const peer = await Peer.connect(path);
      peer.socket.send(...sent);
      assert.equal(await peer.closed(), code, path);
    }
  },

  async 'the subprotocol is chosen'() {
    const chat = await Peer.connect('/ws', { subprotocols: ['other', 'roomcast.v1'] });
    assert.equal(chat.socket.protocol, 'roomcast.v1');
    assert.equal((await Peer.connect('/ws')).socket.protocol, '');
  },

  async 'a page from elsewhere is refused'() {
    const { socket } = new Peer('/ws', { origin: 'https://elsewhere.example' });
    const [, response] = await in_time('the refusal', once(socket, 'unexpected-response'));
    assert.equal(response.statusCode, 403);
    await Peer.connect('/ws', { origin: url.replace('ws://', 'http://') });
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}: ${error.stack}`);
  }
  for (const socket of open) socket.terminate();
  open.clear();
}
console.log(`${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
