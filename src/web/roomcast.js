// @ts-check
/**
 * Client of a roomcast server (protocol `roomcast.v1`) for browsers and Node 22 or newer. It consists of
 * this file, `link.js`, `outbox.js` and `store.js`, and depends on nothing else.
 *
 *     import { Roomcast } from './roomcast.js';
 *
 *     const chat = new Roomcast({ url: '/ws', user: 'ada' });
 *     chat.on('message', (m) => console.log(m.room_id, m.sender, m.content));
 *     await chat.join('lobby');
 *     await chat.send({ room: 'lobby', content: 'Hello' }).acknowledged;
 *
 * The connection comes and goes; what was asked for stays. After a loss the client connects again, takes its rooms and
 * its inbox up where they stopped, drops what it has seen already, and repeats each send that has no answer yet under
 * the `id` it had, so that it counts once. Where the server cannot continue it says so, and so does the `reset` event.
 *
 * In a browser, under a `user`, sends outlive the page too: they stand in IndexedDB until they are answered, and the
 * next client of that server and user goes on with them. It does so of its own accord only as long as the server surely
 * knows what it was given: in the same epoch, and within half of what `welcome.limits` promises. Beyond that a send
 * becomes `unconfirmed`, and it is for the user to say `retry` or `discard`. A send that is refused only for now (a
 * disk that is full, too much to do) is repeated for as long, with growing pauses. One that is refused for good has
 * `failed` only if no earlier attempt can have arrived; it is `unconfirmed` otherwise.
 *
 * A join that is refused only for now (a room that is full) is repeated with growing pauses, too, until `leave`. The
 * first refusal of it is an `error` event with `retryable: true`; it ends with `joined`, or an `error` that is not.
 *
 * Fields that come from the wire keep the names and units that they have there (`room_id`, `seq_id`, milliseconds).
 */

import { BACKOFF_FIRST_MS, clamp, Link, systemClock, Timer } from './link.js';
import { Deferred, in_doubt, Outbox, randomId, RoomcastError, Send } from './outbox.js';

export { randomId, RoomcastError, Send };

/** Bounds of the pause that a server may ask for before a refused command is repeated. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 60_000;
/** Longest pause that is made unasked. */
const BACKOFF_MAX_MS = 30_000;
/**
 * Attempts of one send that end in a fault of the server, or in `not_joined` while it is in its room: more of them do
 * not help. What is refused because the server has too much to do, or a disk that fails, has no such bound.
 */
const FAULTS_MAX = 10;
/** Connections that may break while a send is in flight, each with a close code that blames a message. */
const STRIKES_MAX = 2;
/** Own private messages remembered, so that their copy in the inbox is not taken for news. */
const SENT_IDS_MAX = 1_000;
/** How long `history` and `who` wait for their answer. */
const REQUEST_MS = 30_000;

/**
 * @typedef {{ epoch: string, seq_id: number }} Position  a place in a log, as sent in `since`
 * @typedef {'connecting' | 'open' | 'waiting' | 'closed'} LinkState
 * @typedef {{ code: string, message: string, request?: string, id?: string, room_id?: string, to?: string,
 *   retryable: boolean, retry_after_ms?: number }} WireError
 * @typedef {{ type: 'message', room_id?: string, to?: string, seq_id: number, timestamp: number, sender: string,
 *   content: any, metadata?: any, id?: string, deleted?: true }} Message  one that is `deleted` has no content
 * @typedef {{ type: 'deleted', room_id: string, seq_id: number, deleted_seq_id: number, sender: string,
 *   timestamp: number, id?: string }} Deleted
 * @typedef {{ room_id?: string, to?: string, epoch: string, messages: (Message | Deleted)[], more: boolean }} History
 * @typedef {{ request: string, room_id: string, user: string, until?: number }} Done
 * @typedef {{ room: string, user: string, seconds?: number, reason?: string }} Order  `seconds` is for mutes and bans
 * @typedef {{ room_id: string, count: number, members?: string[] }} Presence
 * @typedef {{ room_id: string, epoch: string, seq_id: number, members: number, recovered?: boolean,
 *   reason?: string }} Joined
 * @typedef {{ state: LinkState, retry_at?: number, code?: number, reason?: string, error?: WireError }} LinkStatus
 *   `retry_at` is when the next attempt starts, on the clock of `Date.now()`; `reason` is in words
 *
 * @typedef {object} Events
 * @property {LinkStatus} state      the connection changed its state
 * @property {any} welcome           the server's greeting: `user`, `session`, `limits`, …
 * @property {Joined} joined         a room is (again) joined
 * @property {{ room_id: string, event?: 'kick' | 'ban', by?: string, reason?: string, until?: number }} left
 *   `event` says that a moderator did it
 * @property {Message} message       once per message, in order within a room and within the inbox
 * @property {Deleted} deleted       a message that was there is to be shown no more; in the order of the messages
 * @property {{ room_id?: string, to?: string, from_seq_id: number, to_seq_id: number, reason: string }} gap
 * @property {{ room_id?: string, to?: string, reason: string }} reset  a log could not be continued: numbers start
 *   anew and messages may be missing; `history` has what there is
 * @property {{ room_id?: string, to?: string, sender: string, content: any, timestamp: number }} signal
 * @property {{ event: string, room_id: string, sender: string, timestamp: number, by?: string, reason?: string,
 *   until?: number }} system
 * @property {Presence} presence
 * @property {Send} send             a send changed its state, or comes from an earlier page
 * @property {{ expires_at: number, timestamp: number }} token_expires  the connection will be closed then, unless the
 *   `token` option is a function: then a new one is on its way already
 * @property {WireError} error       an error that belongs to no send and no request, or the refusal of a join; one
 *   that is `retryable` is told the first time, and the join is repeated
 *
 * @typedef {object} Options
 * @property {string | URL} url      of the chat endpoint; relative to the page in a browser, `http` stands for `ws`
 * @property {string} [user]         the name to take; without one the server makes one up
 * @property {string} [session]      the secret that the name belongs to; made up here if there is none
 * @property {string | (() => string | Promise<string>)} [token]  where the server wants one: proves who the user is. A
 *   function is called before each connection, and again when the token that it gave is about to expire
 * @property {Position} [inbox_since]  last private message that was taken in, by an earlier client
 * @property {typeof WebSocket} [WebSocket]
 * @property {IDBFactory | null} [indexedDB]  where unanswered sends outlive the page; null: nowhere
 * @property {import('./store.js').Locks | null} [locks]  by default `navigator.locks`, where there are any
 * @property {Clock} [clock]
 * @property {() => number} [random]  uniform in [0, 1)
 * @property {(EventTarget & { hidden: boolean }) | null} [page]  by default `document`, where there is one
 * @property {EventTarget | null} [network]  what fires `online`; by default `window`, where there is one
 *
 * @typedef {{ state: 'out' | 'asked' | 'in', position: Position | null, head: number, echo: boolean, refusals: number,
 *   settle: Deferred }} Room  `head` is the newest number heard of, `position` the place up to which all came
 * @typedef {import('./link.js').Clock} Clock
 * @typedef {import('./outbox.js').SendState} SendState
 */

export class Roomcast {
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();
  /** Rooms that were asked for. @type {Map<string, Room>} */
  #rooms = new Map();
  /** Unanswered sends. */
  #outbox;
  /** Unanswered `history` and `who`. @type {Map<string, { settle: Deferred, timer: Timer }>} */
  #requests = new Map();
  /** Ids of own private messages that are answered. @type {Set<string>} */
  #sent_ids = new Set();
  /** `seq_id` is null until the first message. @type {{ epoch: string, seq_id: number | null } | null} */
  #inbox;
  /** @type {string | undefined} */
  #user;
  /** @type {string | undefined} */
  #session;
  /** What the server says about itself. @type {any} */
  #limits = {};
  /** @type {Options['token']} */
  #token;
  #clock;
  #random;
  #link;
  #flush_timer;

  /** Connects at once. @param {Options} options */
  constructor(options) {
    this.#user = options.user;
    this.#session = options.session ?? (options.user === undefined ? undefined : randomId(32));
    this.#inbox = options.inbox_since ? { ...options.inbox_since } : null;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#flush_timer = new Timer(this.#clock);
    this.#token = options.token;
    this.#link = new Link(options, {
      token: () => (typeof this.#token === 'function' ? given(this.#token) : this.#token),
      renews: typeof this.#token === 'function',
      hello: (token) => ({ type: 'hello', user: this.#user, session: this.#session, token,
        inbox_since: this.inbox_position ?? undefined }),
      take: (event) => this.#take(event),
      lost: (code) => this.#lost(code),
      changed: (status) => this.#changed(status),
    });
    this.#outbox = new Outbox(this.#clock, {
      ready: () => this.#flush(),
      taken_up: (send) => this.#emit('send', send),
      unsaved: (error) => this.#emit('error', error),
    });
    // A name that the server makes up is another one on the next page.
    if (options.user !== undefined) this.#outbox.open(`${this.#link.url.replace(/\?.*/, '')} ${options.user}`, options);
    this.#link.connect();
  }

  /** The state of the connection. @returns {Readonly<LinkStatus>} */
  get link() {
    return this.#link.status;
  }
  /** The name, once known. */
  get user() {
    return this.#user;
  }
  /** The secret that takes the name back; keep it for the next visit. */
  get session() {
    return this.#session;
  }
  /** Sends that have no answer yet, oldest first, and those that an earlier page left. @returns {Send[]} */
  get outbox() {
    return this.#outbox.sends;
  }
  /** Names of the rooms that were asked for. */
  get rooms() {
    return [...this.#rooms.keys()];
  }
  /** How far a room was read. @param {string} room @returns {Position | null} */
  position(room) {
    const position = this.#rooms.get(room)?.position;
    return position ? { ...position } : null;
  }
  /** How far the inbox was read, for the next client's `inbox_since`. @returns {Position | null} */
  get inbox_position() {
    const inbox = this.#inbox;
    return inbox && inbox.seq_id !== null ? { epoch: inbox.epoch, seq_id: inbox.seq_id } : null;
  }

  /**
   * Calls `listener` for each event of that type; returns the function that stops it.
   * @template {keyof Events} T
   * @param {T} type @param {(event: Events[T]) => void} listener @returns {() => void}
   */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * Joins a room and stays in it through reconnects, until `leave`. With `since`, what came after it is sent first.
   * Resolves with the first `joined`; rejects when the server refuses, or when `leave` or `close` comes before.
   * @param {string} room @param {{ since?: Position, echo?: boolean }} [options] @returns {Promise<Joined>}
   */
  join(room, { since, echo = true } = {}) {
    const known = this.#rooms.get(room);
    if (known) return known.settle.promise;
    const position = since ? { ...since } : null;
    /** @type {Room} */
    const entry = { state: 'out', position, head: 0, echo, refusals: 0, settle: new Deferred() };
    this.#rooms.set(room, entry);
    this.#ask_to_join(room, entry);
    return entry.settle.promise;
  }

  /** Leaves a room; sends to it that have no answer fail with `left`. @param {string} room */
  leave(room) {
    if (!this.#rooms.has(room)) return;
    this.#part(room, { code: 'left', message: `Left ${room}` });
    this.#link.write({ type: 'leave', room_id: room });
  }

  /**
   * Sends a message to a joined room, or to a user (`to`). It waits while there is no connection. `content` is any
   * JSON value. An `id` repeats an earlier send of the same user: it counts once.
   * @param {{ room?: string, to?: string, content: any, metadata?: any, id?: string }} message @returns {Send}
   */
  send({ room, to, content, metadata, id = randomId(16) }) {
    if ((room === undefined) === (to === undefined)) throw new TypeError('send needs either room or to');
    if (content === undefined) throw new TypeError('send needs content');
    const send = this.#outbox.get(id) ?? new Send({ id, room, to, content, metadata }, this.#outbox.now());
    this.#submit(send);
    return send;
  }

  /** Tries a failed or unconfirmed send again, under its `id`. @param {Send} send */
  retry(send) {
    if (send.state !== 'failed' && send.state !== 'unconfirmed') return;
    this.#outbox.drop(send);
    send._restart();
    this.#emit('send', send);
    this.#submit(send);
  }

  /** Gives a failed or unconfirmed send up. @param {Send} send */
  discard(send) {
    if (send.state !== 'failed' && send.state !== 'unconfirmed') return;
    this.#fail(send, { code: 'discarded', message: 'Discarded' });
  }

  /**
   * Tells the others something that is not kept (typing and the like). Never repeated: false if it could not be sent.
   * @param {{ room?: string, to?: string, content: any }} signal @returns {boolean}
   */
  signal({ room, to, content }) {
    if (!this.#link.open || (room !== undefined && this.#rooms.get(room)?.state !== 'in')) return false;
    return this.#link.write({ type: 'signal', room_id: room, to, content });
  }

  /**
   * A page of a room's messages, or of one's own inbox (no `room`): the newest, or those next to `before` or `after`.
   * @param {{ room?: string, before?: number, after?: number, limit?: number }} page @returns {Promise<History>}
   */
  history({ room, ...page }) {
    return this.#request({ type: 'history', room_id: room, to: room === undefined ? this.#user : undefined, ...page });
  }

  /** Who is in a joined room. @param {string} room @returns {Promise<Presence>} */
  who(room) {
    return this.#request({ type: 'who', room_id: room });
  }

  /** Deletes a message: one's own, or any where one moderates. @param {string} room @param {number} seq_id */
  delete(room, seq_id) {
    return this.#request({ type: 'delete', room_id: room, seq_id });
  }

  /** Takes a user out of a room. @param {Order} order @returns {Promise<Done>} */
  kick(order) {
    return this.#moderate('kick', order);
  }

  /** Lets a user send nothing to a room. @param {Order} order @returns {Promise<Done>} */
  mute(order) {
    return this.#moderate('mute', order);
  }

  /** @param {Order} order @returns {Promise<Done>} */
  unmute(order) {
    return this.#moderate('unmute', order);
  }

  /** Takes a user out of a room, and keeps it out. @param {Order} order @returns {Promise<Done>} */
  ban(order) {
    return this.#moderate('ban', order);
  }

  /** @param {Order} order @returns {Promise<Done>} */
  unban(order) {
    return this.#moderate('unban', order);
  }

  /** Connects now: ends a pause, or tries again after the server refused. Does nothing while connected. */
  connect() {
    this.#link.connect();
  }

  /**
   * Ends it for good: unanswered sends, joins and requests fail with `closed`. In a browser the sends are still kept,
   * and the next client of that user goes on with them.
   */
  close() {
    this.#link.end();
    for (const room of this.rooms) this.#part(room, { code: 'closed', message: 'Closed' });
    this.#outbox.close();
  }

  // ---- the connection comes and goes ------------------------------------------------------------------------------

  /** @param {LinkStatus} status */
  #changed(status) {
    this.#emit('state', status);
    if (status.state !== 'closed') return;
    for (const send of this.outbox) this.#fail(send, { code: 'closed', message: status.reason ?? 'Closed' });
  }

  /** What depended on the connection goes back to where it can start again. @param {number} code */
  #lost(code) {
    this.#flush_timer.stop();
    for (const id of this.#requests.keys()) {
      this.#answer(id)?.reject(new RoomcastError({ code: 'disconnected', message: 'The connection was lost' }));
    }
    for (const room of this.#rooms.values()) room.state = 'out';
    for (const send of this.outbox) this.#ground(send, code);
  }

  /**
   * A message that breaks each connection it is sent on must not do so for ever.
   * @param {Send} send @param {number} code
   */
  #ground(send, code) {
    const blamed = send._flying && (code === 1003 || (code >= 1007 && code <= 1009));
    if (send._flying) send._unknown = true;
    send._flying = false;
    if (blamed && ++send._strikes >= STRIKES_MAX) {
      this.#fail(send, { code: 'rejected', message: `The server closed the connection over it (${code})` });
    }
  }

  // ---- what comes in ----------------------------------------------------------------------------------------------

  /** @param {any} event */
  #take(event) {
    switch (event.type) {
      case 'welcome': return this.#welcome(event);
      case 'joined': return this.#joined(event);
      case 'message': return this.#message(event);
      case 'gap': return this.#gap(event);
      case 'deleted': return this.#deleted(event);
      case 'left': return this.#left(event);
      case 'done': return this.#answer(event.id)?.resolve(event);
      case 'ack':
        // The answer to a `delete` is one too.
        this.#answer(event.id)?.resolve(event);
        return this.#acknowledge(event.id, event);
      case 'history': return this.#history(event);
      case 'error': return this.#error(event);
      case 'token_expires': return this.#token_expires(event);
      case 'presence':
        this.#answer(event.id)?.resolve(event);
        // An event as well, asked for or not.
      case 'signal':
      case 'system': return this.#emit(event.type, event);
    }
  }

  /** @param {any} event */
  #welcome(event) {
    this.#user = event.user;
    this.#session = event.session ?? this.#session;
    this.#limits = event.limits ?? {};
    this.#outbox.look_around();
    this.#emit('welcome', event);
    this.#open_inbox(event.inbox);
    for (const [name, room] of this.#rooms) this.#ask_to_join(name, room);
    this.#flush();
  }

  /** @param {Events['token_expires'] & { id?: string }} event */
  #token_expires(event) {
    // One with an `id` answers ours: the new token was taken.
    if (event.id !== undefined) return;
    this.#emit('token_expires', event);
    if (typeof this.#token !== 'function') return;
    const link = this.#link;
    const renew = (/** @type {string} */ token) => link.open && link.write({ type: 'hello', token, id: randomId(16) });
    // Without one the connection is closed in time, and the next asks again.
    given(this.#token).then(renew, () => {});
  }

  /** @param {{ epoch: string, recovered?: boolean } | undefined} inbox */
  #open_inbox(inbox) {
    if (!inbox) return;
    const had = this.#inbox;
    if (had?.epoch === inbox.epoch && inbox.recovered !== false) return;
    // `inbox.seq_id` is the head, and unread messages below it are still to come.
    this.#inbox = { epoch: inbox.epoch, seq_id: null };
    if (had && had.seq_id !== null) this.#emit('reset', { to: this.#user, reason: 'unknown' });
  }

  /** @param {Joined} event */
  #joined(event) {
    const room = this.#rooms.get(event.room_id);
    if (!room) return;
    const had = room.position;
    const continued = had !== null && event.recovered === true && had.epoch === event.epoch;
    // `joined.seq_id` is the head: where the room continues, what lies between our place and it is still to come.
    if (!continued) room.position = { epoch: event.epoch, seq_id: event.seq_id };
    room.head = event.seq_id;
    room.state = 'in';
    room.refusals = 0;
    room.settle.resolve(event);
    this.#emit('joined', event);
    if (had && !continued) this.#emit('reset', { room_id: event.room_id, reason: event.reason ?? 'unknown' });
    this.#flush();
  }

  /** @param {Message} event */
  #message(event) {
    const position = this.#log_of(event);
    if (!position || (position.seq_id !== null && event.seq_id <= position.seq_id)) return;
    position.seq_id = event.seq_id;
    this.#heard(event.room_id, event.seq_id);
    const own = event.id !== undefined && event.sender === this.#user;
    const copy = own && is_copy(event, this.#user);
    // It came back, so it was taken, with or without its `ack`.
    if (own) this.#acknowledge(event.id, numbered(event, this.#user));
    if (!copy || !this.#sent_ids.has(String(event.id))) this.#emit('message', event);
  }

  /** @param {Deleted} event */
  #deleted(event) {
    const position = this.#log_of(event);
    if (!position || (position.seq_id !== null && event.seq_id <= position.seq_id)) return;
    position.seq_id = event.seq_id;
    this.#heard(event.room_id, event.seq_id);
    this.#emit('deleted', event);
  }

  /** Where a moderator did it, the room is not asked for again. @param {Events['left']} event */
  #left(event) {
    if (event.event !== undefined) {
      const why = event.reason ? `: ${event.reason}` : '';
      this.#part(event.room_id, { code: event.event, message: `Removed from ${event.room_id}${why}` });
    }
    this.#emit('left', event);
  }

  /** @param {Events['gap']} event */
  #gap(event) {
    const position = this.#log_of(event);
    if (!position) return;
    if (position.seq_id === null || position.seq_id < event.to_seq_id) position.seq_id = event.to_seq_id;
    this.#heard(event.room_id, event.to_seq_id);
    this.#emit('gap', event);
  }

  /** @param {History & { id?: string }} event */
  #history(event) {
    for (const message of event.messages) {
      if (message.type === 'deleted') continue;
      // What stands there has arrived, whatever became of its `ack`.
      if (message.sender === this.#user) this.#acknowledge(message.id, numbered(message, this.#user));
    }
    this.#answer(event.id)?.resolve(event);
  }

  /** @param {string | undefined} room_id @param {number} seq_id */
  #heard(room_id, seq_id) {
    const room = this.#rooms.get(room_id ?? '');
    if (room) room.head = Math.max(room.head, seq_id);
  }

  /** @param {{ room_id?: string }} event */
  #log_of(event) {
    return event.room_id === undefined ? this.#inbox : this.#rooms.get(event.room_id)?.position;
  }

  /** @param {WireError} error */
  #error(error) {
    const send = this.#outbox.get(error.id ?? '');
    if (send) return this.#refused(send, error);
    const request = this.#answer(error.id);
    if (request) return request.reject(new RoomcastError(error));
    if (error.request === 'join' && error.room_id !== undefined) this.#join_refused(error.room_id, error);
    else this.#emit('error', error);
  }

  // ---- rooms ------------------------------------------------------------------------------------------------------

  /** @param {string} name @param {Room} room */
  #ask_to_join(name, room) {
    if (!this.#link.open || room.state !== 'out') return;
    room.state = 'asked';
    this.#link.write({ type: 'join', room_id: name, since: room.position ?? undefined,
      echo: room.echo ? undefined : false });
  }

  /** @param {string} name @param {WireError} error */
  #join_refused(name, error) {
    const room = this.#rooms.get(name);
    if (room && error.retryable) {
      if (room.refusals === 0) this.#emit('error', error);
      this.#clock.setTimeout(() => {
        if (this.#rooms.get(name) !== room || room.state !== 'asked') return;
        room.state = 'out';
        this.#ask_to_join(name, room);
      }, retry_ms(error, ++room.refusals, this.#random()));
      return;
    }
    this.#part(name, error);
    this.#emit('error', error);
  }

  /** @param {string} name @param {{ code: string, message: string }} error */
  #part(name, error) {
    this.#rooms.get(name)?.settle.reject(new RoomcastError(error));
    this.#rooms.delete(name);
    for (const send of this.outbox) if (send.room === name) this.#fail(send, error);
  }

  // ---- requests ---------------------------------------------------------------------------------------------------

  /** @param {string} type @param {Order} order @returns {Promise<Done>} */
  #moderate(type, { room, ...order }) {
    return this.#request({ type, room_id: room, ...order });
  }

  /** @param {object} command @returns {Promise<any>} */
  #request(command) {
    const settle = new Deferred();
    const id = randomId(16);
    if (!this.#link.open || !this.#link.write({ ...command, id })) {
      settle.reject(new RoomcastError({ code: 'disconnected', message: 'There is no connection' }));
      return settle.promise;
    }
    const timer = new Timer(this.#clock);
    this.#requests.set(id, { settle, timer });
    timer.start(REQUEST_MS, () => {
      this.#answer(id)?.reject(new RoomcastError({ code: 'timeout', message: 'The server did not answer' }));
    });
    return settle.promise;
  }

  /** Takes the request that waits under this id. @param {string | undefined} id @returns {Deferred | undefined} */
  #answer(id) {
    const request = this.#requests.get(id ?? '');
    this.#requests.delete(id ?? '');
    request?.timer.stop();
    return request?.settle;
  }

  // ---- the outbox -------------------------------------------------------------------------------------------------

  /** @param {Send} send */
  #submit(send) {
    if (this.#outbox.has(send.id)) return;
    const error = this.#objection(send);
    // Later, so that the caller has the handle when it hears of the failure.
    if (error) return queueMicrotask(() => this.#fail(send, error));
    this.#outbox.add(send);
    this.#flush();
    this.#outbox.keep(send);
  }

  /** @param {Send} send @returns {{ code: string, message: string } | null} why it cannot even wait to be sent */
  #objection(send) {
    const status = this.#link.status;
    const bytes = send._bytes;
    const bytes_max = Number(this.#limits.message_bytes_max ?? Infinity);
    if (status.state === 'closed') return { code: 'closed', message: status.reason ?? 'Closed' };
    if (bytes > bytes_max) return { code: 'too_large', message: `${bytes} bytes are too many: ${bytes_max} at most` };
    const outside = send.room !== undefined && !this.#rooms.has(send.room);
    if (outside) return { code: 'not_joined', message: `Not in ${send.room}` };
    return this.#outbox.takes(send) ? null : { code: 'outbox_full', message: 'Too many messages wait already' };
  }

  /** Sends what may go now. A send that has to wait holds back those behind it in the same log. */
  #flush() {
    if (!this.#link.open || !this.#outbox.ready) return;
    const held = new Set();
    let ready_at = Infinity;
    for (const send of this.outbox) {
      if (send._flying || send.state !== 'sending' || held.has(send._log)) continue;
      const log = this.#open_log(send);
      if (log && send._ready_at <= this.#clock.now()) {
        if (!this.#release(send, log)) held.add(send._log);
      } else {
        held.add(send._log);
        if (log) ready_at = Math.min(ready_at, send._ready_at);
      }
    }
    if (ready_at < Infinity) this.#flush_timer.start(ready_at - this.#clock.now(), () => this.#flush());
  }

  /**
   * The log that a send may go to now. A private message goes to the recipient's, of which nothing is known; one's own
   * inbox stands for it, since both start anew when the server does.
   * @param {Send} send @returns {{ epoch: string, head: number } | null}
   */
  #open_log({ room }) {
    if (room === undefined) return { epoch: this.#inbox?.epoch ?? '', head: 0 };
    const { state, position, head } = this.#rooms.get(room) ?? {};
    return state === 'in' && position ? { epoch: position.epoch, head: head ?? 0 } : null;
  }

  /** Sends, unless something has to come first. @param {Send} send @param {{ epoch: string, head: number }} log */
  #release(send, log) {
    const now = this.#clock.now();
    if (send._left && in_doubt(send, log, this.#limits, now)) {
      this.#doubt(send);
      return true;
    }
    // A page that ends right after the write must know that there was one.
    if (!send._left && send._flight?.epoch !== log.epoch) {
      this.#outbox.stamp(send, { epoch: log.epoch, seq_id: log.head, at: now });
    }
    if (!send._stamping && this.#link.write_text(send._text)) send._flying = send._left = true;
    return send._flying;
  }

  /** It stays in the outbox, as it may still turn up in its log. @param {Send} send @param {string} [why] */
  #doubt(send, why) {
    const message = `It may have arrived or not${why ? `: ${why}` : ''}`;
    send._fail({ code: 'unconfirmed', message }, 'unconfirmed');
    this.#emit('send', send);
  }

  /** @param {string | undefined} id @param {{ seq_id?: number, timestamp: number, durable?: boolean }} answer */
  #acknowledge(id, answer) {
    const send = this.#outbox.get(id ?? '');
    if (!send) return;
    this.#outbox.forget(send);
    if (send.to !== undefined) remember(this.#sent_ids, send.id, SENT_IDS_MAX);
    send._succeed(answer);
    this.#emit('send', send);
  }

  /** The server answered a send with an error. @param {Send} send @param {WireError} error */
  #refused(send, error) {
    send._flying = false;
    const room = error.code === 'not_joined' && send.room !== undefined ? this.#rooms.get(send.room) : undefined;
    // A disk that failed may have kept it all the same.
    if (error.retryable) send._unknown = true;
    if ((room || error.code === 'internal') && ++send._faults >= FAULTS_MAX) return this.#give_up(send, error);
    if (!error.retryable && !room) return this.#give_up(send, error);
    send._ready_at = this.#clock.now() + retry_ms(error, ++send._refusals, this.#random());
    if (room?.state === 'in') {
      room.state = 'out';
      this.#ask_to_join(String(send.room), room);
    }
    this.#flush();
  }

  /** What this attempt met says nothing about an earlier one. @param {Send} send @param {WireError} error */
  #give_up(send, error) {
    if (send._unknown) this.#doubt(send, error.message);
    else this.#fail(send, error);
  }

  /** @param {Send} send @param {{ code: string, message: string }} error */
  #fail(send, error) {
    // It is the client that ended and not the send, which the next one may take up.
    if (error.code === 'closed') this.#outbox.drop(send);
    else this.#outbox.forget(send);
    send._fail(error);
    this.#emit('send', send);
  }

  // ---- listeners --------------------------------------------------------------------------------------------------

  /** A listener that throws disturbs neither the client nor the others. @param {string} type @param {any} event */
  #emit(type, event) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(event);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
}

/** What a function gives, now or later, if it does not throw. @param {() => string | Promise<string>} token */
async function given(token) {
  return token();
}

/** Whether this is the copy of a message to somebody else. @param {Message} message @param {string | undefined} user */
function is_copy({ to }, user) {
  return to !== undefined && to !== user;
}

/**
 * What an `ack` would have said. A copy has its number in another log.
 * @param {Message} message @param {string | undefined} user
 */
function numbered(message, user) {
  const { seq_id, timestamp } = message;
  return is_copy(message, user) ? { timestamp } : { seq_id, timestamp };
}

/** @param {Set<string>} set @param {string} value @param {number} max */
function remember(set, value, max) {
  set.add(value);
  if (set.size > max) for (const oldest of set) return void set.delete(oldest);
}

/**
 * The pause before a command is repeated: what the server asks for, and more from one refusal to the next, spread a
 * little.
 * @param {WireError} error @param {number} refusals  this one included @param {number} random
 */
function retry_ms({ retry_after_ms }, refusals, random) {
  const backoff_ms = Math.min(BACKOFF_FIRST_MS * 2 ** (refusals - 1), BACKOFF_MAX_MS);
  const asked_ms = clamp(Number(retry_after_ms) || backoff_ms, RETRY_MIN_MS, RETRY_MAX_MS);
  // The first time the server knows best.
  return (refusals === 1 ? asked_ms : Math.max(asked_ms, backoff_ms)) * (1 + random / 4);
}
