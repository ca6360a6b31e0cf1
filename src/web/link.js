// @ts-check
/**
 * The connection of a roomcast client: one socket at a time, when to try again, and whether it is still alive.
 * What is said over it belongs to `roomcast.js`.
 *
 * @typedef {import('./roomcast.js').LinkStatus} LinkStatus
 * @typedef {import('./roomcast.js').WireError} WireError
 * @typedef {import('./roomcast.js').Options} Options
 * @typedef {{ now(): number, setTimeout(run: () => void, ms: number): any, clearTimeout(timer: any): void }} Clock
 * @typedef {{ code?: number, reason?: string, reconnect?: boolean, retry_after_ms?: number }} Farewell
 *
 * @typedef {object} Owner
 * @property {() => string | undefined | Promise<string>} token  proves who the user is, where the server wants that
 * @property {boolean} renews                  whether another token can be had
 * @property {(token: string | undefined) => object} hello  the first command on a new connection
 * @property {(event: any) => void} take       an event came in
 * @property {(code: number) => void} lost     the socket is gone; `changed` follows
 * @property {(status: LinkStatus) => void} changed
 */

export const PROTOCOL = 'roomcast.v1';
/** First window of every back-off. */
export const BACKOFF_FIRST_MS = 1_000;
/** Longest window of the reconnect back-off. */
const BACKOFF_MAX_MS = 30_000;
/** A connection that lived this long starts the back-off anew. */
const STABLE_MS = 10_000;
/** Least pause before another attempt in a hidden tab, after one has failed. */
const HIDDEN_PAUSE_MS = 30_000;
/** Window that spreads clients which are all told "now" by the same event. */
const SPREAD_MS = 250;
/** From the start of an attempt to `welcome`. */
const CONNECT_MS = 15_000;
/** How soon something must be heard when there is reason for doubt. */
const PROBE_MS = 5_000;
/** A timer this late says that the page slept, not that the link is dead. */
const LATE_MS = 1_000;
const HEARTBEAT_DEFAULT_MS = 25_000;
const HEARTBEAT_MIN_MS = 1_000;
const HEARTBEAT_MAX_MS = 600_000;
/** The server closed because the token had expired. */
const EXPIRED = 4002;
/** Longest pause that the server may ask for. */
const ASKED_MAX_MS = 300_000;

export class Link {
  /** @type {LinkStatus} */
  status = { state: 'waiting' };
  /** @type {WebSocket | null} */
  #socket = null;
  #opened_at = 0;
  /** Attempts since the last stable connection. */
  #failures = 0;
  /** What the server said before it closed. @type {Farewell | null} */
  #bye = null;
  /** The error that came instead of `welcome`. @type {WireError | null} */
  #refusal = null;
  #heartbeat_ms = HEARTBEAT_DEFAULT_MS;
  #heard_at = 0;
  #second_chance = true;
  #ended = false;
  /** The token that is being asked for, if one is. @type {object | null} */
  #asked = null;

  /** @param {Options} options @param {Owner} owner */
  constructor(options, owner) {
    this.owner = owner;
    this.url = address(options.url);
    this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.WebSocket) throw new TypeError('There is no WebSocket here: pass one as the option `WebSocket`');
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? Math.random;
    this.page = options.page === undefined ? (globalThis.document ?? null) : options.page;
    this.network = options.network === undefined ? (globalThis.window ?? null) : options.network;
    this.retry_timer = new Timer(this.clock);
    this.connect_timer = new Timer(this.clock);
    this.beat_timer = new Timer(this.clock);
    this.silence_timer = new Timer(this.clock);
    this.page?.addEventListener('visibilitychange', this.#seen);
    this.network?.addEventListener('online', this.#wake);
  }

  /** Welcomed, and not told to go. */
  get open() {
    return this.status.state === 'open' && this.#bye === null;
  }

  connect() {
    if (this.#ended || this.#socket || this.#asked) return;
    this.retry_timer.stop();
    this.#bye = this.#refusal = null;
    const token = this.owner.token();
    if (token instanceof Promise) this.#await(token);
    else this.#open(token);
    const late = () => this.#drop(this.#asked ? 'There is no token' : 'The server does not answer');
    this.connect_timer.start(CONNECT_MS, late);
    this.#enter({ state: 'connecting' });
  }

  /** Opens a socket when there is a token; a token that comes too late is for nobody. @param {Promise<string>} token */
  #await(token) {
    const asked = (this.#asked = {});
    token.then(
      (token) => this.#asked === asked && this.#open(token),
      () => this.#asked === asked && this.#lost(1006, 'There is no token'),
    );
  }

  /** @param {string | undefined} token */
  #open(token) {
    this.#asked = null;
    const socket = new this.WebSocket(this.url, PROTOCOL);
    this.#socket = socket;
    socket.onopen = () => this.write(this.owner.hello(token));
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    // The close event that follows is enough; without a handler some implementations throw.
    socket.onerror = () => {};
  }

  /** @param {object} command @returns {boolean} */
  write(command) {
    return this.write_text(JSON.stringify(command));
  }

  /** @param {string} text @returns {boolean} false without a connection */
  write_text(text) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(text);
    return true;
  }

  /** Closes, and never opens again. */
  end() {
    if (this.#ended) return;
    this.#ended = true;
    this.page?.removeEventListener('visibilitychange', this.#seen);
    this.network?.removeEventListener('online', this.#wake);
    this.#detach()?.close(1000);
    this.owner.lost(1000);
    this.#enter({ state: 'closed', code: 1000, reason: 'Closed' });
  }

  /** @param {LinkStatus} status */
  #enter(status) {
    this.status = status;
    this.owner.changed(status);
  }

  /** @param {any} data */
  #receive(data) {
    this.#heard_at = this.clock.now();
    this.#second_chance = true;
    this.silence_timer.stop();
    const event = parse(data);
    if (event === null) return;
    if (event.type === 'welcome') this.#opened(event);
    else if (event.type === 'bye') this.#bye = event;
    else if (event.type === 'error' && this.status.state === 'connecting') this.#refusal = event;
    this.owner.take(event);
  }

  /** @param {{ heartbeat_ms: number }} welcome */
  #opened(welcome) {
    this.connect_timer.stop();
    this.#opened_at = this.clock.now();
    const heartbeat_ms = Number(welcome.heartbeat_ms) || HEARTBEAT_DEFAULT_MS;
    this.#heartbeat_ms = clamp(heartbeat_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS);
    this.#beat();
    this.#enter({ state: 'open' });
  }

  // ---- after a loss -----------------------------------------------------------------------------------------------

  /** The socket is gone, whoever closed it. @param {number} close_code @param {string} reason */
  #lost(close_code, reason) {
    // A connection that broke off before its close frame was still told why.
    const code = close_code === 1006 ? (this.#bye?.code ?? 1006) : close_code;
    const opened = this.status.state === 'open';
    const lived_ms = opened ? this.clock.now() - this.#opened_at : 0;
    if (lived_ms >= STABLE_MS) this.#failures = 0;
    this.#detach();
    this.owner.lost(code);
    const error = this.#refusal ?? undefined;
    const status = { code, reason: this.#bye?.reason || error?.message || reason || describe(code, opened), error };
    const is_final = (code >= 4000 && code < 4100) || this.#bye?.reconnect === false;
    if (is_final && !(code === EXPIRED && this.owner.renews)) this.#enter({ state: 'closed', ...status });
    else this.#wait(this.#pause_ms(code), status);
  }

  /** Gives a link up for dead. The browser's own close event may be minutes away. @param {string} reason */
  #drop(reason) {
    const socket = this.#socket;
    this.#lost(1006, reason);
    socket?.close();
  }

  /** Takes the socket out of use, so that nothing late from it is heard. */
  #detach() {
    const socket = this.#socket;
    this.#socket = this.#asked = null;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    for (const timer of [this.retry_timer, this.connect_timer, this.beat_timer, this.silence_timer]) timer.stop();
    return socket;
  }

  /** @param {number} code @returns {number} how long to wait before the next attempt */
  #pause_ms(code) {
    const failures = this.#failures++;
    const window_ms = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** failures);
    const asked_ms = this.#asked_ms();
    if (asked_ms !== undefined) return asked_ms + this.random() * window_ms;
    // "Now" is believed once: a server that says it again and again is met with the back-off.
    if (code >= 4200 && code < 4300 && failures === 0) return this.random() * SPREAD_MS;
    if (this.page?.hidden && failures > 0) return HIDDEN_PAUSE_MS * (1 + this.random());
    const busy = code === 1013 || (code >= 4100 && code < 4200);
    return this.random() * window_ms + (busy ? BACKOFF_FIRST_MS : 0);
  }

  /** The pause that the server asked for. @returns {number | undefined} */
  #asked_ms() {
    const ms = this.#bye?.retry_after_ms ?? this.#refusal?.retry_after_ms;
    return ms === undefined ? undefined : clamp(Number(ms) || 0, 0, ASKED_MAX_MS);
  }

  /** @param {number} pause_ms @param {{ code?: number, reason?: string, error?: WireError }} why */
  #wait(pause_ms, why) {
    this.retry_timer.start(pause_ms, () => this.connect());
    this.#enter({ ...why, state: 'waiting', retry_at: this.clock.now() + pause_ms });
  }

  /** The tab is looked at again. */
  #seen = () => {
    if (!this.page?.hidden) this.#wake();
  };

  /** Something changed for the better: a pause ends, unless the server asked for it, and an old link is doubted. */
  #wake = () => {
    const { state, code, reason, error } = this.status;
    if (state === 'open') this.#probe();
    else if (state === 'waiting' && !this.#asked_ms()) this.#wait(this.random() * SPREAD_MS, { code, reason, error });
  };

  // ---- liveness ---------------------------------------------------------------------------------------------------

  /** Sends heartbeats a little faster than the server wants them; two intervals without any traffic are the end. */
  #beat() {
    this.beat_timer.start(this.#heartbeat_ms * 0.9, () => {
      this.#ask(Math.max(this.#heard_at + 2 * this.#heartbeat_ms, this.clock.now() + this.#heartbeat_ms / 2));
      this.#beat();
    });
  }

  /** Is anybody there? */
  #probe() {
    this.silence_timer.stop();
    this.#ask(this.clock.now() + PROBE_MS);
  }

  /** Sends a heartbeat; something must be heard until the deadline. @param {number} deadline */
  #ask(deadline) {
    this.write({ type: 'heartbeat', timestamp: this.clock.now() });
    if (this.silence_timer.running) return;
    this.silence_timer.start(deadline - this.clock.now(), () => {
      const late = this.clock.now() - deadline > LATE_MS;
      if (!late || !this.#second_chance) return this.#drop('The connection went silent');
      this.#second_chance = false;
      this.#probe();
    });
  }
}

/** A timer that is started anew instead of twice. */
export class Timer {
  /** @type {any} */
  #handle = null;
  #clock;
  /** @param {Clock} clock */
  constructor(clock) {
    this.#clock = clock;
  }
  get running() {
    return this.#handle !== null;
  }
  /** @param {number} ms @param {() => void} run */
  start(ms, run) {
    this.stop();
    this.#handle = this.#clock.setTimeout(() => {
      this.#handle = null;
      run();
    }, Math.max(0, ms));
  }
  stop() {
    if (this.#handle !== null) this.#clock.clearTimeout(this.#handle);
    this.#handle = null;
  }
}

/** @type {Clock} */
export const systemClock = {
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** `?hello` keeps name and secret out of the URL. @param {string | URL} url @returns {string} */
function address(url) {
  const full = new URL(url, globalThis.document?.baseURI);
  full.protocol = full.protocol.replace(/^http/, 'ws');
  full.search = '?hello';
  full.hash = '';
  return full.href;
}

/** @param {any} data @returns {any} an object with a `type`, or null */
function parse(data) {
  if (typeof data !== 'string') return null;
  try {
    const event = JSON.parse(data);
    return typeof event === 'object' && event !== null ? event : null;
  } catch {
    return null;
  }
}

/** @param {number} value @param {number} min @param {number} max */
export function clamp(value, min, max) {
  return Math.min(max, Math.max(min, value));
}

/** @param {number} code @param {boolean} opened */
function describe(code, opened) {
  if (code === 1001) return 'The server is going away';
  if (code === 1013) return 'The server is busy';
  return opened ? 'The connection was lost' : 'The server cannot be reached';
}
