// @ts-check
/**
 * The sends of a client that have no answer yet: in memory, and where there is a store also there.
 *
 * @typedef {import('./link.js').Clock} Clock
 * @typedef {import('./roomcast.js').Options} Options
 * @typedef {import('./roomcast.js').WireError} WireError
 * @typedef {import('./store.js').Line} Line
 * @typedef {import('./store.js').Flight} Flight
 * @typedef {'sending' | 'unconfirmed' | 'acknowledged' | 'failed'} SendState  `unconfirmed`: it may have arrived or
 *   not, and sending it again could double it
 *
 * @typedef {object} Owner
 * @property {() => void} ready               something may go out that could not before
 * @property {(send: Send) => void} taken_up  an earlier page left it
 * @property {(error: WireError) => void} unsaved  the store takes no more
 */

import { Timer } from './link.js';
import { Store } from './store.js';

/** Unanswered sends kept, and their bytes on the wire. */
const OUTBOX_MAX = 1_000;
const OUTBOX_BYTES_MAX = 4 * 1_024 * 1_024;
/** How long the browser may take to open its database before the outbox is kept in memory alone. */
const STORE_OPEN_MS = 3_000;
/**
 * How long a private message is repeated of its own accord where ids are remembered by count alone: the recipient's
 * count is not known here, but no inbox takes 5,000 messages in this time.
 */
const PRIVATE_MS = 60_000;

/** A failure that the server, or this client in its place, gives a `code`. */
export class RoomcastError extends Error {
  /** @param {{ code: string, message: string }} error */
  constructor(error) {
    super(error.message);
    this.name = 'RoomcastError';
    this.code = error.code;
  }
}

/** One message on its way: what `send` returns, and what the `send` event brings. */
export class Send {
  /** @type {SendState} */
  state = 'sending';
  /** Why it failed. @type {{ code: string, message: string } | null} */
  error = null;
  /** Its place in the room or in the recipient's inbox, where known. @type {number | undefined} */
  seq_id = undefined;
  /** @type {number | undefined} */
  timestamp = undefined;
  /** Whether the server keeps it on disk, where known. @type {boolean | undefined} */
  durable = undefined;

  /** On the current connection, unanswered. */
  _flying = false;
  /** Its first time out, written down before it leaves. @type {Flight | null} */
  _flight = null;
  /** The server may have it. */
  _left = false;
  /** At least one attempt has ended, and nobody said whether the server has it. */
  _unknown = false;
  /** `_flight` is on its way to the disk, and must be there first. */
  _stamping = false;
  /** It stands in the store, as it is. */
  _kept = false;
  /** Not sent before this time. */
  _ready_at = 0;
  /** Answers that it got, of those that let it be repeated, and which of them were faults. */
  _refusals = 0;
  _faults = 0;
  _strikes = 0;
  _settle = new Deferred();

  /**
   * @param {{ id: string, room?: string, to?: string, content: any, metadata?: any }} message
   * @param {number} created_at  when it was given to the client, in milliseconds on the clock of `Date.now()`
   */
  constructor({ id, room, to, content, metadata }, created_at) {
    this.id = id;
    this.created_at = created_at;
    this.room = room;
    this.to = to;
    this.content = content;
    this.metadata = metadata;
    this._text = JSON.stringify({ type: 'message', id, room_id: room, to, content, metadata });
    this._bytes = new TextEncoder().encode(this._text).length;
    this._log = room === undefined ? `to ${to}` : `room ${room}`;
  }

  /** As an earlier page left it. @param {Line} line */
  static _restore({ id, created_at, text, flight }) {
    const { room_id, to, content, metadata } = JSON.parse(text);
    const send = new Send({ id, room: room_id, to, content, metadata }, created_at);
    send._flight = flight;
    send._left = send._unknown = flight !== null;
    send._kept = true;
    return send;
  }

  /**
   * Resolves with this send, or rejects with a `RoomcastError`, also when it is `unconfirmed`; a new one after `retry`.
   * @returns {Promise<Send>}
   */
  get acknowledged() {
    return this._settle.promise;
  }

  /** Once more: anew where no earlier attempt counts, be it that the user was asked and said so. */
  _restart() {
    if (this.state === 'unconfirmed' || !this._unknown) {
      this._flight = null;
      this._left = this._unknown = false;
    }
    this.state = 'sending';
    this.error = null;
    this._kept = false;
    this._refusals = this._faults = this._strikes = this._ready_at = 0;
    this._settle = new Deferred();
  }

  /** @param {{ seq_id?: number, timestamp: number, durable?: boolean }} answer */
  _succeed({ seq_id, timestamp, durable }) {
    Object.assign(this, { state: 'acknowledged', seq_id, timestamp, durable });
    this._settle.resolve(this);
  }

  /** @param {{ code: string, message: string }} error @param {'failed' | 'unconfirmed'} state */
  _fail({ code, message }, state = 'failed') {
    this._flying = false;
    this.state = state;
    this.error = { code, message };
    this._settle.reject(new RoomcastError(this.error));
  }
}

export class Outbox {
  /** By id, oldest first. @type {Map<string, Send>} */
  #sends = new Map();
  #bytes = 0;
  /** @type {Store | null} */
  #store = null;
  /** What an earlier page left goes out first; until that is known, nothing does. */
  #restoring = false;
  #unsaved_told = false;
  #newest_at = 0;
  #clock;
  #owner;

  /** @param {Clock} clock @param {Owner} owner */
  constructor(clock, owner) {
    this.#clock = clock;
    this.#owner = owner;
  }

  /** Whether sends may go out. */
  get ready() {
    return !this.#restoring;
  }
  get sends() {
    return [...this.#sends.values()];
  }
  /** @param {string} id */
  get(id) {
    return this.#sends.get(id);
  }
  /** @param {string} id */
  has(id) {
    return this.#sends.has(id);
  }
  /** Whether there is room for one more. @param {Send} send */
  takes(send) {
    return this.#sends.size < OUTBOX_MAX && this.#bytes + send._bytes <= OUTBOX_BYTES_MAX;
  }
  /** The time, which is also the order of sends, so it never stands still. */
  now() {
    return (this.#newest_at = Math.max(this.#clock.now(), this.#newest_at + 1));
  }

  /** @param {Send} send */
  add(send) {
    this.#sends.set(send.id, send);
    this.#bytes += send._bytes;
  }

  /** It has to wait, maybe for longer than this page lives. @param {Send} send */
  keep(send) {
    if (!send._kept) this.#write(send);
  }

  /** It goes out for the first time, as soon as that is written down. @param {Send} send @param {Flight} flight */
  stamp(send, flight) {
    send._flight = flight;
    if (!this.#store) return;
    send._stamping = true;
    this.#write(send).then(() => {
      // Another connection may have begun meanwhile, and another flight.
      if (send._flight !== flight) return;
      send._stamping = false;
      this.#owner.ready();
    });
  }

  /** Takes it out, and leaves it in the store. @param {Send} send */
  drop(send) {
    if (this.#sends.delete(send.id)) this.#bytes -= send._bytes;
  }

  /** It needs no keeping any more. @param {Send} send */
  forget(send) {
    this.drop(send);
    this.#store?.remove(send.id).catch((error) => this.#unsaved(error));
  }

  // ---- the store --------------------------------------------------------------------------------------------------

  /**
   * Takes up what earlier pages left under this server and user.
   * @param {string} scope @param {Options} options
   */
  async open(scope, { indexedDB = globalThis.indexedDB, locks = globalThis.navigator?.locks }) {
    if (!indexedDB) return;
    this.#restoring = true;
    const opening = Store.open({ scope, owner: randomId(16), factory: indexedDB, locks: locks ?? null });
    const timer = new Timer(this.#clock);
    const late = new Promise((_, reject) => timer.start(STORE_OPEN_MS, () => reject(new Error('it does not open'))));
    try {
      await this.#restore(await Promise.race([opening, late]));
    } catch (error) {
      opening.then((store) => store.close(), () => {});
      console.warn(`roomcast: messages that wait are kept in memory only: ${error}`);
    } finally {
      timer.stop();
      this.#begin();
    }
  }

  /** Other clients of the user may have gone meanwhile, and left something. */
  look_around() {
    if (this.#store?.exclusive && !this.#restoring) this.#adopt(this.#store);
  }

  /** What stands in the store stays there. */
  close() {
    this.#store?.close();
    this.#store = null;
    this.#restoring = false;
  }

  /** @param {Store} store */
  async #restore(store) {
    // `close` came first.
    if (!this.#restoring) return store.close();
    this.#store = store;
    await this.#adopt(store);
  }

  #begin() {
    if (!this.#restoring) return;
    this.#restoring = false;
    this.#owner.ready();
    for (const send of this.#sends.values()) this.keep(send);
  }

  /** @param {Store} store */
  async #adopt(store) {
    try {
      await store.adopt((lines) => this.#take_up(lines));
    } catch (error) {
      this.#unsaved(error);
    }
  }

  /** @param {Line[]} lines */
  #take_up(lines) {
    for (const line of lines) {
      const known = this.#sends.get(line.id);
      if (known && !known._left && line.flight) {
        Object.assign(known, { _flight: line.flight, _left: true, _unknown: true });
      }
      const send = known ?? Send._restore(line);
      // What finds no place stays in the store, for another time.
      if (known || !this.takes(send)) continue;
      this.add(send);
      this.#owner.taken_up(send);
    }
    this.#sends = new Map([...this.#sends].sort(([, a], [, b]) => a.created_at - b.created_at));
    this.#owner.ready();
  }

  /** Writes down how a send stands. @param {Send} send */
  async #write(send) {
    // What is given before the store is open is kept when it is.
    if (!this.#store || this.#restoring) return;
    try {
      send._kept = true;
      await this.#store.put({ id: send.id, created_at: send.created_at, text: send._text, flight: send._flight });
      this.#unsaved_told = false;
    } catch (error) {
      this.#unsaved(error);
    }
  }

  /**
   * The disk is full, or the browser took the store away. It is told once, and all goes on in memory.
   * @param {any} error
   */
  #unsaved(error) {
    if (this.#unsaved_told || !this.#store) return;
    this.#unsaved_told = true;
    const message = `Messages that wait would not outlive this page: ${error?.message || error}`;
    this.#owner.unsaved({ code: 'outbox_unsaved', message, request: 'message', retryable: false });
  }
}

/**
 * Whether the server could have taken a send and forgotten its `id`. Half of what it promises is left for the way
 * there, and for clocks that differ.
 * @param {Send} send @param {{ epoch: string, head: number }} log
 * @param {{ dedupe_hours?: number, dedupe_count?: number }} limits @param {number} now
 */
export function in_doubt({ room, _flight: flight }, log, { dedupe_hours, dedupe_count }, now) {
  if (flight === null) return false;
  if (flight.epoch !== log.epoch) return true;
  const age_ms = now - flight.at;
  const within = (/** @type {number} */ ms) => age_ms >= 0 && age_ms < ms;
  // An id is remembered as long as either of the two says so.
  if (within(((Number(dedupe_hours) || 0) * 3_600_000) / 2)) return false;
  if (room === undefined) return !within(PRIVATE_MS);
  return log.head - flight.seq_id >= (Number(dedupe_count) || 0) / 2;
}

/** A promise with its ends outside. */
export class Deferred {
  constructor() {
    /** @type {(value: any) => void} */
    this.resolve = () => {};
    /** @type {(error: Error) => void} */
    this.reject = () => {};
    /** @type {Promise<any>} */
    this.promise = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    // Who watches states instead of promises must not be punished by an unhandled rejection.
    this.promise.catch(() => {});
  }
}

/** Unguessable, also where the page came without TLS and `crypto.randomUUID` is missing. @param {number} bytes */
export function randomId(bytes) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, '0')).join('');
}
