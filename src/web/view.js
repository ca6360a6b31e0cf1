// @ts-check
/**
 * The document: what the model holds, as elements. Whatever a peer sent becomes text nodes and nothing else, and
 * elements are kept by key, so that focus and reading position survive a redraw.
 *
 * @typedef {import('./model.js').Conversation} Conversation
 * @typedef {import('./model.js').Row} Row
 * @typedef {import('./model.js').MessageRow} MessageRow
 * @typedef {import('./roomcast.js').LinkStatus} LinkStatus
 * @typedef {import('./roomcast.js').Send} Send
 *
 * @typedef {object} Actions
 * @property {(key: string) => void} open       shows a conversation
 * @property {(name: string) => void} write_to  opens the private conversation with somebody
 * @property {() => void} older                 loads older messages of the current conversation
 * @property {() => void} scrolled              the reader moved
 * @property {(send: Send) => void} retry
 * @property {(send: Send) => void} discard
 *
 * @typedef {object} Shown
 * @property {string} user
 * @property {Conversation[]} rooms
 * @property {Conversation[]} people
 * @property {Conversation | undefined} current
 * @property {LinkStatus} link
 * @property {string[]} typing
 * @property {string[]} unconfirmed  where each message that was not confirmed belongs
 */

import { isolated, list } from './model.js';

/** Names in the members list; a room may have more. */
const MEMBERS_SHOWN_MAX = 200;
/** Texts longer than this get a frame of their own that scrolls. */
const LONG_CHARS = 4_000;
/** More of one message is not shown: a peer chooses what is sent, and every reader's browser has to lay it out. */
const SHOWN_CHARS_MAX = 20_000;
const LINKS_MAX = 100;
const ADDRESS_CHARS_MAX = 2_000;
/** JSON longer than this stays on one line. */
const INDENTED_CHARS_MAX = 4_000;
/** What may close around an address, and with what. @type {Record<string, string>} */
const OPENINGS = { ')': '(', ']': '[', '}': '{' };
/** This near to its end the conversation follows new messages. */
const BOTTOM_PX = 60;

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return /** @type {T} */ (element);
}

export class View {
  #scroller = byId('scroller');
  #rows = byId('rows');
  /** @type {Conversation | undefined} */
  #shown;
  #actions;
  #older_seen;
  /** Whether the newest message is in sight, and stays so when another one comes. */
  following = true;

  /** @param {Actions} actions */
  constructor(actions) {
    this.#actions = actions;
    this.#older_seen = new IntersectionObserver(
      (entries) => entries.some((entry) => entry.isIntersecting) && actions.older(),
      { root: this.#scroller, rootMargin: '300px 0px 0px' },
    );
    this.#scroller.addEventListener('scroll', () => {
      this.following = this.#at_bottom;
      actions.scrolled();
    });
    new ResizeObserver(() => this.following && this.to_bottom()).observe(this.#scroller);
    this.#rows.addEventListener('click', ({ target }) => {
      const row = target instanceof Element && target.closest('.avatar, .name') ? target.closest('li') : null;
      const name = row ? senders.get(row) : undefined;
      if (name !== undefined) actions.write_to(name);
    });
    for (const id of ['rooms', 'people', 'member-list']) walkable(byId(id));
  }

  get #at_bottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < BOTTOM_PX;
  }

  to_bottom() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.following = true;
  }

  /** @param {Shown} shown */
  render(shown) {
    this.#lists(shown);
    this.#heading(shown);
    this.#messages(shown);
    this.#members(shown);
    this.#status(shown);
  }

  // ---- conversations ----------------------------------------------------------------------------------------------

  /** @param {Shown} shown */
  #lists({ user, rooms, people, current }) {
    const update = (/** @type {HTMLElement} */ node, /** @type {Conversation} */ each) =>
      update_entry(node, each, each === current ? 0 : each.unread(user), each === current);
    const build = (/** @type {Conversation} */ each) => build_entry(each, () => this.#actions.open(each.key));
    reconcile(byId('rooms'), rooms, build, update);
    reconcile(byId('people'), people, build, update);
    byId('people-hint').hidden = people.length > 0;
    const elsewhere = [...rooms, ...people].reduce((sum, each) => sum + (each === current ? 0 : each.unread(user)), 0);
    byId('unread-elsewhere').hidden = elsewhere === 0;
    const total = elsewhere + (current?.unread(user) ?? 0);
    document.title = `${total > 0 ? `(${total}) ` : ''}${current ? `${isolated(current.name)} – ` : ''}roomcast`;
  }

  /** @param {Shown} shown */
  #heading({ user, current }) {
    set_text(byId('me-name'), user);
    paint(byId('me-avatar'), user);
    set_text(byId('title'), current?.name ?? 'No conversation');
    byId('title').classList.toggle('room', current?.kind === 'room');
    const count = current?.member_count ?? 0;
    set_text(byId('subtitle'), !current ? 'Join a room to begin.'
      : current.kind === 'person' ? 'Private conversation' : `${count} ${count === 1 ? 'member' : 'members'}`);
    byId('leave').hidden = current?.kind !== 'room';
    set_text(byId('text-label'), current ? `Message to ${isolated(current.name)}` : 'Message');
    const field = /** @type {HTMLTextAreaElement} */ (byId('text'));
    // The label has the name: a long one would make the field as high as itself.
    field.placeholder = current ? 'Message' : '';
  }

  /** @param {Shown} shown */
  #members({ user, current }) {
    const names = current?.kind === 'room' ? [...current.members] : [];
    names.sort((a, b) => Number(b === user) - Number(a === user) || a.localeCompare(b));
    const shown = names.slice(0, MEMBERS_SHOWN_MAX).map((name) => ({ key: name, name }));
    const build = (/** @type {{ name: string }} */ { name }) =>
      build_member(name, name === user, () => this.#actions.write_to(name));
    reconcile(byId('member-list'), shown, build, () => {});
    const rest = (current?.kind === 'room' ? current.member_count : 0) - shown.length;
    byId('members').hidden = current?.kind !== 'room';
    byId('open-members').hidden = current?.kind !== 'room';
    set_text(byId('members-hint'), rest > 0 ? `and ${rest} more` : '');
  }

  // ---- messages ---------------------------------------------------------------------------------------------------

  /** @param {Shown} shown */
  #messages({ user, current, link }) {
    const rows = current?.rows(user) ?? [];
    const switched = current !== this.#shown;
    if (switched) this.#rows.replaceChildren();
    this.#shown = current;
    const follow = switched || this.following;
    const anchor = follow ? undefined : this.#anchor();
    const offline = link.state !== 'open';
    reconcile(this.#rows, rows, (row) => this.#build_row(row), (node, row) => this.#update_row(node, row, offline));
    if (anchor?.node.isConnected) this.#scroller.scrollTop += anchor.node.offsetTop - anchor.top;
    else if (follow) this.to_bottom();
    if (switched) this.#show_divider();
    const jump = byId('jump');
    const unread = current?.unread(user) ?? 0;
    jump.hidden = this.following;
    set_text(jump, unread > 0 ? `${unread} new ${unread === 1 ? 'message' : 'messages'}` : 'Newest messages');
  }

  /** What is new begins in the middle. Only the scroller moves: `scrollIntoView` would move the whole page as well. */
  #show_divider() {
    const divider = /** @type {HTMLElement | null} */ (this.#rows.querySelector('.divider'));
    if (!divider) return;
    const spare = this.#scroller.clientHeight - divider.offsetHeight;
    this.#scroller.scrollTop = divider.offsetTop - spare / 2;
  }

  /** The first message in sight, and where it is: it shall stay there. */
  #anchor() {
    const top = this.#scroller.scrollTop;
    const messages = /** @type {NodeListOf<HTMLElement>} */ (this.#rows.querySelectorAll('.message'));
    for (const node of messages) {
      if (node.offsetTop + node.offsetHeight > top) return { node, top: node.offsetTop };
    }
    return undefined;
  }

  /** @param {Row} row */
  #build_row(row) {
    switch (row.kind) {
      case 'message': return build_message(row);
      case 'day': return make('li', 'day', make('span', '', ''));
      case 'note':
      case 'start':
      case 'divider': return make('li', row.kind, make('span', '', row.text));
      case 'more': {
        const node = make('li', 'more', button('quiet', 'Load older messages', () => this.#actions.older()));
        this.#older_seen.observe(node);
        return node;
      }
    }
  }

  /** @param {HTMLElement} node @param {Row} row @param {boolean} offline */
  #update_row(node, row, offline) {
    switch (row.kind) {
      case 'message': return this.#update_message(node, row, offline);
      case 'day': return set_text(/** @type {HTMLElement} */ (node.firstElementChild), day_name(row.timestamp));
      case 'note':
      case 'start':
      case 'divider': return set_text(/** @type {HTMLElement} */ (node.firstElementChild), row.text);
      case 'more': {
        const control = /** @type {HTMLButtonElement} */ (node.firstElementChild);
        return set_text(control, row.loading ? 'Loading…' : 'Load older messages');
      }
    }
  }

  /** @param {HTMLElement} node @param {MessageRow} row @param {boolean} offline */
  #update_message(node, row, offline) {
    node.classList.toggle('first', row.first);
    const state = row.state === 'sending' && offline ? 'waiting' : row.state;
    if (!row.own || node.dataset.state === state) return;
    node.dataset.state = state;
    const status = /** @type {HTMLElement} */ (node.lastElementChild);
    status.replaceChildren(...this.#status_of(row, state));
  }

  /** @param {MessageRow} row @param {string} state */
  #status_of({ send }, state) {
    if (state === 'acknowledged') return [make('span', 'tick', '✓'), make('span', 'unseen', 'Sent')];
    if (state === 'sending') return ['Sending…'];
    if (state === 'waiting' || !send) return ['Waiting for the connection'];
    const words = state === 'unconfirmed' ? 'Not confirmed' : `Not sent: ${send.error?.message ?? 'unknown reason'}`;
    return [
      make('span', 'error', words),
      button('quiet', state === 'unconfirmed' ? 'Send again' : 'Try again', () => this.#actions.retry(send)),
      button('quiet', 'Discard', () => this.#actions.discard(send)),
    ];
  }

  // ---- state ------------------------------------------------------------------------------------------------------

  /** @param {Shown} shown */
  #status({ link, typing, unconfirmed }) {
    const words = link_words(link);
    set_text(byId('link-state'), words.short);
    byId('link-state').dataset.state = link.state;
    byId('banner').hidden = link.state === 'open';
    set_text(byId('banner-text'), words.long);
    byId('try-now').hidden = link.state === 'connecting';
    byId('unconfirmed').hidden = unconfirmed.length === 0;
    set_text(byId('unconfirmed-text'), unconfirmed_words(unconfirmed));
    set_text(byId('typing'), typing.length === 0 ? ''
      : `${list(typing)} ${typing.length === 1 ? 'is' : 'are'} typing…`);
    this.tick(link);
  }

  /** The seconds that are left to the next attempt. @param {LinkStatus} link */
  tick(link) {
    const seconds = Math.max(0, Math.ceil(((link.retry_at ?? 0) - Date.now()) / 1_000));
    set_text(byId('countdown'), link.state === 'waiting' ? `Trying again in ${seconds} s.` : '');
  }

  /** Speaks to those who do not see the page. @param {string} text */
  announce(text) {
    byId('announcer').append(make('p', '', text));
    while (byId('announcer').childElementCount > 5) byId('announcer').firstElementChild?.remove();
  }

  /** @param {string} text */
  toast(text) {
    const toast = byId('toast');
    set_text(toast, text);
    toast.hidden = false;
    clearTimeout(this.#toast_timer);
    this.#toast_timer = setTimeout(() => (toast.hidden = true), 6_000);
  }
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #toast_timer;
}

/** The connection in words. @param {LinkStatus} link */
export function link_words({ state, reason }) {
  const why = reason ? `${reason.replace(/[.\s]+$/, '')}.` : '';
  switch (state) {
    case 'open': return { short: 'Connected', long: '' };
    case 'connecting': return { short: 'Connecting…', long: 'Connecting…' };
    case 'waiting': return { short: 'Not connected', long: why || 'Not connected.' };
    case 'closed': return { short: 'Disconnected', long: why || 'Disconnected.' };
  }
}

/** @param {string[]} places @returns {string} */
function unconfirmed_words(places) {
  const [count, where] = [places.length, list([...new Set(places)])];
  if (count === 0) return '';
  return count === 1 ? `1 message was not confirmed (${where}). It may have arrived or not.`
    : `${count} messages were not confirmed (${where}). They may have arrived or not.`;
}

// ---- parts ----------------------------------------------------------------------------------------------------------

/** Whose message a row is. @type {WeakMap<Element, string>} */
const senders = new WeakMap();
/** Under which key an element stands in its list. @type {WeakMap<Element, string>} */
const keys = new WeakMap();

/** @param {MessageRow} row */
function build_message({ sender, own, content, timestamp, deleted }) {
  const stamp = /** @type {HTMLTimeElement} */ (make('time', '', time.format(timestamp)));
  stamp.dateTime = new Date(timestamp).toISOString();
  stamp.title = full.format(timestamp);
  const node = make('li', own ? 'message own' : 'message', paint(make('span', 'avatar'), sender),
    make('p', 'head', own ? make('bdi', 'name', sender) : author(sender), stamp),
    deleted ? make('p', 'text deleted', 'Message deleted') : build_content(content), make('p', 'status'));
  senders.set(node, sender);
  return node;
}

/** A click is heard by the list. @param {string} name */
function author(name) {
  const control = button('name', '', () => {});
  control.append(make('bdi', '', name));
  control.title = write_words(name);
  return control;
}

/** @param {any} content */
function build_content(content) {
  if (typeof content !== 'string') return make('pre', 'text json', json_text(content));
  const text = make('p', 'text', ...linked(shortened(content)));
  text.dir = 'auto';
  if (content.length > LONG_CHARS) {
    text.classList.add('long');
    text.tabIndex = 0;
  }
  return text;
}

/** @param {string} text */
function shortened(text) {
  return text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
}

/** Content that is no text, on lines of its own where that is not too much. @param {any} content */
export function json_text(content) {
  const compact = JSON.stringify(content);
  if (compact.length > INDENTED_CHARS_MAX) return shortened(compact);
  // What is deeply nested is mostly indentation.
  const indented = JSON.stringify(content, null, 1);
  return indented.length > SHOWN_CHARS_MAX ? compact : indented;
}

/** A text with its addresses made into links. @param {string} text @returns {(Node | string)[]} */
export function linked(text) {
  const parts = [];
  let end = 0;
  for (const { url, at } of addresses(text)) {
    const link = /** @type {HTMLAnchorElement} */ (make('a'));
    link.href = url;
    // Characters that do not show could make it look like another address.
    link.textContent = /\p{Cf}/u.test(url) ? link.href : url;
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
    parts.push(text.slice(end, at), link);
    end = at + url.length;
  }
  return [...parts, text.slice(end)];
}

/** The addresses in a text that are made into links. @param {string} text @returns {{ url: string, at: number }[]} */
export function addresses(text) {
  const found = [];
  for (const { 0: word, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"'`]+/gi)) {
    if (word.length > ADDRESS_CHARS_MAX) continue;
    const url = without_tail(word);
    if (URL.canParse(url)) found.push({ url, at: index });
    if (found.length === LINKS_MAX) break;
  }
  return found;
}

/** Punctuation that ends a sentence is no part of the address in it. @param {string} url */
export function without_tail(url) {
  /** @type {Record<string, number>} */
  const counts = { '(': 0, ')': 0, '[': 0, ']': 0, '{': 0, '}': 0 };
  for (const char of url) if (char in counts) counts[char] += 1;
  let end = url.length;
  for (; end > 0; end--) {
    const last = url[end - 1];
    const closes = last in OPENINGS && counts[last] > counts[OPENINGS[last]];
    if (!closes && !'.,;:!?…*_~'.includes(last)) break;
    if (closes) counts[last] -= 1;
  }
  return url.slice(0, end);
}

/** @param {Conversation} conversation @param {() => void} open */
function build_entry({ kind, name }, open) {
  const mark = kind === 'room' ? make('span', 'hash', '#') : paint(make('span', 'avatar small'), name);
  mark.setAttribute('aria-hidden', 'true');
  const control = button('entry', '', open);
  control.append(mark, make('bdi', 'entry-name', name), make('span', 'badge'));
  return make('li', '', control);
}

/** @param {HTMLElement} node @param {Conversation} conversation @param {number} unread @param {boolean} current */
function update_entry(node, { log }, unread, current) {
  const control = /** @type {HTMLElement} */ (node.firstElementChild);
  const badge = /** @type {HTMLElement} */ (control.lastElementChild);
  if (current) control.setAttribute('aria-current', 'true');
  else control.removeAttribute('aria-current');
  control.classList.toggle('unread', unread > 0);
  const more = log.more && unread >= 50 ? '+' : '';
  if (badge.dataset.count === `${unread}${more}`) return;
  badge.dataset.count = `${unread}${more}`;
  badge.replaceChildren(...(unread > 0 ? [`${unread}${more}`, make('span', 'unseen', ' unread')] : []));
}

/** @param {string} name @param {boolean} self @param {() => void} open */
function build_member(name, self, open) {
  const parts = [paint(make('span', 'avatar small'), name), make('bdi', 'entry-name', name)];
  if (self) return make('li', 'entry', ...parts, make('span', 'you', 'you'));
  const control = button('entry', '', open);
  control.append(...parts);
  control.title = write_words(name);
  return make('li', '', control);
}

/** @param {string} name */
function write_words(name) {
  return `Write to ${isolated(name)} in private`;
}

/** Initials on a colour, both made from the name. @param {HTMLElement} avatar @param {string} name */
function paint(avatar, name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  const words = name.split(/[\s._-]+/u).filter((word) => word !== '');
  const letters = words.length > 1 ? words.slice(0, 2).map(first_letter).join('') : [...name].slice(0, 2).join('');
  set_text(avatar, letters.toUpperCase());
  avatar.style.setProperty('--hue', String(Math.round(hash * 137.508) % 360));
  avatar.setAttribute('aria-hidden', 'true');
  return avatar;
}

/** @param {string} word */
function first_letter(word) {
  return [...word][0] ?? '';
}

/** Up and Down go through the buttons of a list. @param {HTMLElement} list */
function walkable(list) {
  list.addEventListener('keydown', (event) => {
    if (event.altKey || (event.key !== 'ArrowDown' && event.key !== 'ArrowUp')) return;
    const controls = [...list.querySelectorAll('button')];
    const at = controls.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const next = controls[at + (event.key === 'ArrowDown' ? 1 : -1)];
    if (at < 0 || !next) return;
    event.preventDefault();
    next.focus();
  });
}

/**
 * Makes the children of `parent` be those of `entries`, in their order. A child with a known key stays.
 * @template {{ key: string }} T
 * @param {HTMLElement} parent @param {T[]} entries
 * @param {(entry: T) => HTMLElement} build @param {(node: HTMLElement, entry: T) => void} update
 */
function reconcile(parent, entries, build, update) {
  const wanted = new Set(entries.map((entry) => entry.key));
  /** @type {Map<string, HTMLElement>} */
  const known = new Map();
  for (const child of [...parent.children]) {
    const key = keys.get(child) ?? '';
    if (wanted.has(key)) known.set(key, /** @type {HTMLElement} */ (child));
    else child.remove();
  }
  let place = parent.firstChild;
  for (const entry of entries) {
    const node = known.get(entry.key) ?? build(entry);
    keys.set(node, entry.key);
    update(node, entry);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
}

/** @param {string} tag @param {string} [className] @param {(Node | string)[]} children @returns {HTMLElement} */
function make(tag, className = '', ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** @param {string} className @param {string} text @param {() => void} run */
function button(className, text, run) {
  const node = /** @type {HTMLButtonElement} */ (make('button', className, ...(text ? [text] : [])));
  node.type = 'button';
  node.addEventListener('click', run);
  return node;
}

/**
 * Writes only what changed, since a live region speaks whenever it is written.
 * @param {HTMLElement} node @param {string} text
 */
function set_text(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {number} timestamp */
function day_name(timestamp) {
  const midnight = (/** @type {number} */ ms) => new Date(ms).setHours(0, 0, 0, 0);
  const days = Math.round((midnight(Date.now()) - midnight(timestamp)) / 86_400_000);
  return days === 0 ? 'Today' : days === 1 ? 'Yesterday' : day.format(timestamp);
}
