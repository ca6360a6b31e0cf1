// A clock, a socket, a page, a database and locks that do as the test says.

/** Time stands still between calls of `run`. */
export class FakeClock {
  #now = 1_000_000;
  #timers = new Map();
  #count = 0;

  now() {
    return this.#now;
  }
  setTimeout(run, ms) {
    this.#timers.set(++this.#count, { at: this.#now + ms, run });
    return this.#count;
  }
  clearTimeout(timer) {
    this.#timers.delete(timer);
  }
  /** Lets that much time pass; timers run in order, each at its time. */
  run(ms) {
    const end = this.#now + ms;
    for (;;) {
      const [first] = [...this.#timers].filter(([, t]) => t.at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (!first) break;
      this.#timers.delete(first[0]);
      this.#now = Math.max(this.#now, first[1].at);
      first[1].run();
    }
    this.#now = end;
  }
  /** As after a nap of the machine: time has passed and no timer ran yet. */
  sleep(ms) {
    this.#now += ms;
  }
  get pending() {
    return this.#timers.size;
  }
}

/** Makes a WebSocket class whose instances are collected in `sockets`. */
export function fakeSockets() {
  const sockets = [];
  class FakeSocket {
    readyState = 0;
    sent = [];
    closed = null;
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;
    constructor(url, protocol) {
      Object.assign(this, { url, protocol });
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code) {
      this.closed = code ?? 1005;
      this.readyState = 2;
    }
    // The server's side.
    accept() {
      this.readyState = 1;
      this.onopen?.({});
    }
    say(...events) {
      for (const event of events) this.onmessage?.({ data: JSON.stringify(event) });
    }
    hang_up(code = 1006, reason = '') {
      this.readyState = 3;
      this.onclose?.({ code, reason });
    }
    /** What was sent of this type. */
    of(type) {
      return this.sent.filter((command) => command.type === type);
    }
  }
  return { sockets, FakeSocket };
}

/** Stands for `document` and `window` at once. */
export class FakePage extends EventTarget {
  hidden = false;
  listeners = 0;
  addEventListener(...args) {
    this.listeners += 1;
    super.addEventListener(...args);
  }
  removeEventListener(...args) {
    this.listeners -= 1;
    super.removeEventListener(...args);
  }
  show(visible) {
    this.hidden = !visible;
    this.dispatchEvent(new Event('visibilitychange'));
  }
  online() {
    this.dispatchEvent(new Event('online'));
  }
}

/** As much of IndexedDB as the outbox uses. What was committed outlives the pages that share it. */
export class FakeIndexedDB {
  /** Lines by key, in the one table. */
  lines = new Map();
  /** What the next transactions fail with. */
  error = null;
  /** Whether it opens: at once, not at all, or when somebody calls `opening`. */
  opens = 'yes';
  opening = null;
  /** While it is an array, commits wait in it. */
  waiting = null;
  #made = false;

  open() {
    const request = { result: new FakeDatabase(this), error: null };
    const succeed = () => {
      if (!this.#made) request.onupgradeneeded();
      this.#made = true;
      request.onsuccess();
    };
    if (this.opens === 'yes') queueMicrotask(succeed);
    else if (this.opens === 'no') queueMicrotask(() => request.onerror(request.error = new Error('private mode')));
    else this.opening = succeed;
    return request;
  }
  /** Lets the commits happen that wait. */
  commit() {
    const waiting = this.waiting;
    this.waiting = null;
    for (const run of waiting) run();
  }
  /** The texts that were given to `send`. */
  get contents() {
    return [...this.lines.values()].map(({ text }) => JSON.parse(text).content);
  }
}

class FakeDatabase {
  #base;
  #closed = false;
  constructor(base) {
    this.#base = base;
  }
  createObjectStore(name, { keyPath }) {
    this.#base.key = (line) => JSON.stringify(keyPath.map((name) => line[name]));
  }
  transaction() {
    if (this.#closed) throw new Error('the database is closed');
    const { lines, error } = this.#base;
    const changes = [];
    const transaction = { error, objectStore: () => ({
      put: (line) => changes.push(() => lines.set(this.#base.key(line), structuredClone(line))),
      delete: (key) => changes.push(() => lines.delete(JSON.stringify(key))),
      getAll: () => {
        const request = {};
        queueMicrotask(() => request.onsuccess(request.result = [...lines.values()].map((line) => structuredClone(line))));
        return request;
      },
    }) };
    const commit = () => {
      if (error) return transaction.onabort?.();
      for (const change of changes) change();
      transaction.oncomplete?.();
    };
    if (this.#base.waiting) this.#base.waiting.push(commit);
    else queueMicrotask(commit);
    return transaction;
  }
  close() {
    this.#closed = true;
  }
}

/** Web Locks that several tabs share: `tab()` gives what one of them sees. */
export class FakeLocks {
  /** By name: whom it belongs to, first, and who waits. */
  #queues = new Map();

  tab() {
    const mine = new Set();
    const request = (name, ...rest) => {
      const run = rest.pop();
      const { ifAvailable = false, signal } = rest.pop() ?? {};
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      if (ifAvailable && queue.length > 0) return Promise.resolve().then(() => run(null));
      return new Promise((resolve, reject) => {
        const entry = { start: () => Promise.resolve({ name }).then(run).then(resolve, reject).finally(entry_ends) };
        const entry_ends = () => {
          const first = queue[0] === entry;
          if (queue.includes(entry)) queue.splice(queue.indexOf(entry), 1);
          if (first) queue[0]?.start();
        };
        mine.add(entry_ends);
        signal?.addEventListener('abort', () => {
          if (queue[0] === entry) return;
          entry_ends();
          reject(signal.reason);
        });
        queue.push(entry);
        if (queue[0] === entry) entry.start();
      });
    };
    /** The page goes, and with it all that it holds and waits for. */
    const end = () => mine.forEach((entry_ends) => entry_ends());
    return { request, end };
  }
}
