// @ts-check
/**
 * Where the messages that a server has not confirmed outlive their page: a table in IndexedDB, one line each, for all
 * servers, users and tabs of an origin. Who sends a line is settled by Web Locks, so that two tabs do not take up the
 * same one: a client holds a lock in its own name for as long as it lives, and whoever is granted the lock of an owner
 * knows that this one is gone. Where there are no locks (a page without TLS), each new client takes every line: two may
 * then send one message, under one `id`, and the server counts it once.
 *
 * @typedef {{ epoch: string, seq_id: number, at: number }} Flight  where the log stood, and when, as a message first
 *   went out. `at` is in milliseconds on the clock of `Date.now()`
 * @typedef {{ id: string, created_at: number, text: string, flight: Flight | null }} Line  `text` is the command as it
 *   goes on the wire; without a flight the message has never left
 * @typedef {Line & { scope: string, owner: string }} Kept
 * @typedef {Pick<LockManager, 'request'>} Locks
 */

const DATABASE = 'roomcast';
const TABLE = 'outbox';

export class Store {
  #database;
  #scope;
  #owner;
  #locks;
  /** Owners whose end is waited for. @type {Set<string>} */
  #watched = new Set();
  /** Ends the waiting, and lets others have what is left. */
  #end = new AbortController();

  /** @param {IDBDatabase} database @param {string} scope @param {string} owner @param {Locks | null} locks */
  constructor(database, scope, owner, locks) {
    this.#database = database;
    this.#scope = scope;
    this.#owner = owner;
    this.#locks = locks;
    // Another version of this file wants to change the table, which waits for us.
    database.onversionchange = () => database.close();
  }

  /**
   * Rejects where the browser does not let the page keep anything.
   * @param {{ scope: string, owner: string, factory: IDBFactory, locks: Locks | null }} options `scope` is a server
   *   and a user, `owner` a name that no other client has
   * @returns {Promise<Store>}
   */
  static async open({ scope, owner, factory, locks }) {
    const opening = factory.open(DATABASE, 1);
    opening.onupgradeneeded = () => void opening.result.createObjectStore(TABLE, { keyPath: ['scope', 'id'] });
    const store = new Store(await done(opening), scope, owner, locks);
    await store.#claim();
    return store;
  }

  /** Every line of this server and user, whoever owns it, oldest first. @returns {Promise<Kept[]>} */
  async lines() {
    /** @type {Kept[]} */
    const lines = await done(this.#database.transaction(TABLE).objectStore(TABLE).getAll());
    return lines.filter(({ scope }) => scope === this.#scope).sort((a, b) => a.created_at - b.created_at);
  }

  /** Adds a line or puts it in the place of its older self; what was put earlier is kept earlier. @param {Line} line */
  put({ id, created_at, text, flight }) {
    const kept = { scope: this.#scope, owner: this.#owner, id, created_at, text, flight };
    return this.#write((table) => table.put(kept));
  }

  /** @param {string} id */
  remove(id) {
    return this.#write((table) => table.delete([this.#scope, id]));
  }

  /**
   * Hands over the lines of owners that are gone, and later those of owners that are still there, when they go.
   * Resolves when the first part is done.
   * @param {(lines: Line[]) => void} take
   */
  async adopt(take) {
    const owners = new Set((await this.lines()).map(({ owner }) => owner));
    const others = [...owners].filter((owner) => owner !== this.#owner && !this.#watched.has(owner));
    await Promise.all(others.map((owner) => this.#inherit(owner, take)));
  }

  /** Whether `adopt` can tell owners that are gone from others. */
  get exclusive() {
    return this.#locks !== null;
  }

  /** Keeps what is there for the next client. */
  close() {
    this.#end.abort();
    this.#database.close();
  }

  /** @param {string} owner @param {(lines: Line[]) => void} take */
  async #inherit(owner, take) {
    const run = async () => {
      this.#watched.delete(owner);
      const left = (await this.lines()).filter((line) => line.owner === owner);
      await Promise.all(left.map((line) => this.put(line)));
      if (!this.#end.signal.aborted) take(left);
      return true;
    };
    if (!this.#locks) return void (await run());
    this.#watched.add(owner);
    const gone = await this.#locks.request(lock_of(owner), { ifAvailable: true }, (lock) => lock !== null && run());
    // Rejects when this client ends first, or cannot read any more; then it is the next one's affair.
    if (!gone) this.#locks.request(lock_of(owner), { signal: this.#end.signal }, run).catch(() => {});
  }

  /** Takes the lock that says that this owner lives, until `close` or the end of the page. */
  async #claim() {
    const { signal } = this.#end;
    const ended = new Promise((resolve) => signal.addEventListener('abort', resolve));
    await new Promise((resolve, reject) => {
      if (!this.#locks) return resolve(undefined);
      const held = this.#locks.request(lock_of(this.#owner), () => {
        resolve(undefined);
        return ended;
      });
      held.catch(reject);
    });
  }

  /** @param {(table: IDBObjectStore) => void} change @returns {Promise<void>} when it is committed */
  #write(change) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(TABLE, 'readwrite');
      transaction.oncomplete = () => resolve();
      // The reason of a full disk stands here and not at the request.
      transaction.onabort = () => reject(transaction.error ?? new Error('aborted'));
      change(transaction.objectStore(TABLE));
    });
  }
}

/** @param {string} owner */
function lock_of(owner) {
  return `roomcast outbox ${owner}`;
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
