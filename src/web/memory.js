// @ts-check
/**
 * What the page itself remembers, for all tabs and visits. What is on its way to the server is kept by `store.js`.
 */

import { randomId } from './roomcast.js';

const SESSIONS_MAX = 20;

/** Storage that may be missing or full: then the page simply forgets. */
export class Memory {
  #storage;
  /** @param {() => Storage} storage */
  constructor(storage) {
    try {
      this.#storage = storage();
    } catch {
      this.#storage = null;
    }
  }
  /** @param {string} key */
  text(key) {
    return this.#storage?.getItem(`roomcast.${key}`) ?? '';
  }
  /** @param {string} key @param {string} value */
  set(key, value) {
    try {
      if (this.text(key) !== value) this.#storage?.setItem(`roomcast.${key}`, value);
    } catch {
      // Full: the old value stays.
    }
  }
  /** @param {string} key @returns {any} */
  json(key) {
    return parse(this.text(key));
  }
  /** A list of names, maybe an empty one, or null if there is none. @param {string} key @returns {string[] | null} */
  names(key) {
    const value = this.json(key);
    return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : null;
  }
  /**
   * The list belongs to all tabs: each changes what it means to and nothing else.
   * @param {string} key @param {string} name
   */
  add_name(key, name) {
    const names = this.names(key) ?? [];
    if (!names.includes(name)) this.set_json(key, [...names, name]);
  }
  /** @param {string} key @param {string} name */
  remove_name(key, name) {
    this.set_json(key, (this.names(key) ?? []).filter((each) => each !== name));
  }
  /** @param {string} key @param {any} value */
  set_json(key, value) {
    this.set(key, JSON.stringify(value));
  }
}

export const local = new Memory(() => localStorage);
/** What ends with the tab. */
export const visit = new Memory(() => sessionStorage);

/** The secrets of the names that were used in this browser. */
export const sessions = {
  /** @returns {[string, string][]} */
  all() {
    const stored = local.json('sessions');
    return Array.isArray(stored) ? stored : [];
  },
  /** A new one is kept before its first use: an answer that gets lost must not cost the name. @param {string} user */
  of(user) {
    const known = this.all().find(([name]) => name === user);
    if (known) return known[1];
    const secret = randomId(32);
    local.set_json('sessions', [...this.all(), [user, secret]].slice(-SESSIONS_MAX));
    return secret;
  },
  /** @param {string} user */
  forget(user) {
    local.set_json('sessions', this.all().filter(([name]) => name !== user));
  },
};

/** @param {string | null} text @returns {any} */
export function parse(text) {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return null;
  }
}
