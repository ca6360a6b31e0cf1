// A clock, a socket and a page that do as the test says.

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
