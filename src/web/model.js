// @ts-check
/**
 * What the page knows: conversations, and the rows that each of them is shown as. It has no document, no connection
 * and no clock, so that it can be tested alone.
 *
 * @typedef {import('./roomcast.js').Message} Message
 * @typedef {import('./roomcast.js').Deleted} Deleted
 * @typedef {import('./roomcast.js').History} History
 * @typedef {import('./roomcast.js').Send} Send
 *
 * A place is an era and a `seq_id`: when a log starts anew (another epoch), its numbers do so too, and what is on the
 * page already stands before them. `sub` orders what has no number of its own after the number that it followed.
 * @typedef {{ era: number, seq: number, sub: number }} Place
 *
 * @typedef {Place & { kind: 'message', key: string, sender: string, content: any, timestamp: number,
 *   id?: string, deleted?: true }} MessageItem
 * @typedef {'join' | 'leave'} Change
 * @typedef {Place & { kind: 'system', key: string, timestamp: number, changes: Map<string, Change> }} SystemItem
 * @typedef {Place & { kind: 'gap', key: string }} GapItem
 * @typedef {Place & { kind: 'reset', key: string }} ResetItem
 * @typedef {Place & { kind: 'notice', key: string, text: string }} NoticeItem
 * @typedef {MessageItem | SystemItem | GapItem | ResetItem | NoticeItem} Item
 *
 * @typedef {{ kind: 'message', key: string, sender: string, own: boolean, content: any, timestamp: number,
 *   first: boolean, deleted: boolean, state: import('./roomcast.js').SendState, send?: Send }} MessageRow
 * @typedef {{ kind: 'day', key: string, timestamp: number }} DayRow
 * @typedef {{ kind: 'note' | 'start' | 'divider', key: string, text: string }} NoteRow
 * @typedef {{ kind: 'more', key: string, loading: boolean }} MoreRow
 * @typedef {MessageRow | DayRow | NoteRow | MoreRow} Row
 */

/** Rows of a conversation kept in memory: over the first number the oldest go, down to the second. */
const ITEMS_MAX = 600;
const ITEMS_KEPT = 400;
/** So many messages come in behind a reader who scrolled up; those after them are loaded when they are wanted. */
const BEHIND_MAX = 500;
/** Messages of one sender within this time share a heading. */
const GROUP_MS = 300_000;
/** Comings and goings within this time share a line. */
const SYSTEM_MS = 600_000;
/** How long somebody who typed counts as typing. */
const TYPING_MS = 6_000;
/** Names in one line. */
const NAMES_MAX = 4;
const TYPING_MAX = 20;

/** How far a log is known. */
export class Log {
  /** @type {string | null} */
  epoch = null;
  era = 0;
  /** The newest number. */
  head = 0;
  /** The oldest number here of this era. */
  oldest = Infinity;
  /** Whether there are older ones. */
  more = false;
  loaded = false;
  loading = false;

  /**
   * The server says where the log stands.
   * @param {string} epoch @param {number} head @param {boolean} continued
   * @returns {'first' | 'same' | 'anew'}
   */
  enter(epoch, head, continued) {
    const known = this.epoch !== null;
    if (known && continued && epoch === this.epoch) {
      this.head = Math.max(this.head, head);
      return 'same';
    }
    if (known) this.era += 1;
    Object.assign(this, { epoch, head, oldest: Infinity, more: false, loaded: false });
    return known ? 'anew' : 'first';
  }

  /** The messages of a page, the newest one or the one before `oldest`, are here. @param {boolean} more */
  paged(more) {
    this.loaded = true;
    this.more = more && this.oldest > 1;
  }
}

/** A room, or the private messages with one person. */
export class Conversation {
  /** @type {Item[]} in order */
  items = [];
  /** Own messages on their way or failed, oldest first. @type {{ send: Send, timestamp: number }[]} */
  pending = [];
  /** @type {Set<string>} */
  members = new Set();
  /** Distinct users, which may be more than `members`. */
  member_count = 0;
  /** Why it is not entered yet, where that is not only a matter of the connection. */
  obstacle = '';
  /** Up to here it was read. */
  read = { era: 0, seq: 0 };
  /** Above the first message after this place stands "New". @type {{ era: number, seq: number } | null} */
  divider = null;
  /** Whether newer messages came than are here. */
  incomplete = false;
  /** The numbers of those from others. @type {number[]} */
  #held = [];
  /** How many came since the newest was last in sight. */
  #behind = 0;
  /** @type {Map<string, Item>} */
  #keys = new Map();
  /** Name and end of typing. @type {Map<string, number>} */
  #typing = new Map();
  #subs = 0;

  /** @param {'room' | 'person'} kind @param {string} name @param {Log} log */
  constructor(kind, name, log) {
    this.kind = kind;
    this.name = name;
    this.log = log;
    this.key = `${kind} ${name}`;
  }

  /** @param {Message} message @param {string} user whose page this is @returns {boolean} whether it is new */
  add({ seq_id, sender, content, timestamp = 0, id, deleted }, user) {
    const { era } = this.log;
    const key = `${era} ${seq_id}`;
    this.log.head = Math.max(this.log.head, seq_id);
    this.log.oldest = Math.min(this.log.oldest, seq_id);
    if (this.#keys.has(key)) return false;
    const own_id = sender === user ? id : undefined;
    if (own_id !== undefined) this.#forget(own_id);
    this.#typing.delete(sender);
    this.#insert({ kind: 'message', key, era, seq: seq_id, sub: 0, sender, content, timestamp, id: own_id, deleted });
    return true;
  }

  /** A message has just come. @param {Message} message @param {string} user @returns {boolean} whether it is new */
  arrive(message, user) {
    // The inbox is one log for many conversations, which cannot be loaded anew for one of them.
    if (this.kind === 'person' || (!this.incomplete && this.#behind < BEHIND_MAX)) {
      this.#behind += 1;
      return this.add(message, user);
    }
    this.incomplete = true;
    this.log.head = Math.max(this.log.head, message.seq_id);
    if (message.sender !== user) this.#held.push(message.seq_id);
    else if (message.id !== undefined) this.#forget(message.id);
    return true;
  }

  /** Lets go what is here, for the newest page to be loaded again. */
  renew() {
    this.items = [];
    this.#keys.clear();
    this.#complete();
    Object.assign(this.log, { oldest: Infinity, more: false, loaded: false });
  }

  #complete() {
    this.incomplete = false;
    this.#held = [];
    this.#behind = 0;
  }

  /** A message was deleted. It stays as that. @param {Deleted} event */
  erase({ seq_id, deleted_seq_id }) {
    const { era } = this.log;
    this.log.head = Math.max(this.log.head, seq_id);
    this.#held = this.#held.filter((seq) => seq !== deleted_seq_id);
    const item = this.#keys.get(`${era} ${deleted_seq_id}`);
    if (item?.kind === 'message') Object.assign(item, { content: undefined, deleted: true });
  }

  /** Something to be told where it happened. @param {string} text */
  notice(text) {
    const place = this.#after();
    this.#insert({ kind: 'notice', ...place, key: `notice ${place.sub}`, text });
  }

  /** An own message starts its way. @param {Send} send @param {number} timestamp */
  pend(send, timestamp) {
    // One that an earlier page sent may have come back already.
    if (this.#has(send.id) || this.pending.some((each) => each.send.id === send.id)) return;
    this.pending.push({ send, timestamp });
  }

  /** It arrived. @param {Send} send @param {string} user */
  settle({ id, room, content, seq_id, timestamp = 0 }, user) {
    if (!this.pending.some((each) => each.send.id === id)) return;
    this.#forget(id);
    if (room !== undefined && seq_id !== undefined) {
      this.add({ type: 'message', seq_id, sender: user, content, timestamp, id }, user);
    } else {
      // Its number belongs to the recipient's inbox; a copy with a number of ours may follow.
      this.#insert({ kind: 'message', ...this.#after(), key: `sent ${id}`, sender: user, content, timestamp, id });
    }
  }

  /** @param {Send} send */
  discard(send) {
    this.pending = this.pending.filter((each) => each.send !== send);
  }

  /** Somebody came or went. @param {string} name @param {Change} event @param {number} timestamp */
  change(name, event, timestamp) {
    if ((event === 'join') === this.members.has(name)) return;
    if (event === 'join') this.members.add(name);
    else this.members.delete(name);
    this.member_count += event === 'join' ? 1 : -1;
    this.#typing.delete(name);
    const last = this.items.at(-1);
    if (last?.kind === 'system' && timestamp - last.timestamp < SYSTEM_MS && last.era === this.log.era) {
      // Who came and went, or went and came back, is no news.
      if (last.changes.has(name) && last.changes.get(name) !== event) last.changes.delete(name);
      else last.changes.set(name, event);
      if (last.changes.size === 0) this.#remove(last);
    } else {
      const place = this.#after();
      const changes = new Map([[name, event]]);
      this.#insert({ kind: 'system', ...place, key: `system ${place.sub}`, timestamp, changes });
    }
  }

  /** @param {number} from @param {number} to */
  gap(from, to) {
    this.log.head = Math.max(this.log.head, to);
    this.#insert({ kind: 'gap', era: this.log.era, seq: from, sub: 0, key: `gap ${this.log.era} ${from}` });
  }

  /** The log has just started anew. */
  reset() {
    const { era } = this.log;
    if (this.items.length > 0) this.#insert({ kind: 'reset', era, seq: -1, sub: 0, key: `reset ${era}` });
    this.read = { era, seq: 0 };
    this.#complete();
    this.#typing.clear();
  }

  /** @param {string} name @param {boolean} typing @param {number} now */
  type(name, typing, now) {
    this.#typing.delete(name);
    if (typing && this.#typing.size < TYPING_MAX) this.#typing.set(name, now + TYPING_MS);
  }

  /** @param {number} now @returns {{ names: string[], until: number }} who types, and when the first one will stop */
  typing(now) {
    for (const [name, until] of this.#typing) if (until <= now) this.#typing.delete(name);
    return { names: [...this.#typing.keys()], until: Math.min(...this.#typing.values()) };
  }

  /** @param {string} user @returns {number} messages from others after the place up to which it was read */
  unread(user) {
    let count = this.#held.filter((seq) => seq > this.read.seq).length;
    for (let i = this.items.length - 1; i >= 0 && isAfter(this.items[i], this.read); i--) {
      const item = this.items[i];
      if (item.kind === 'message' && item.sender !== user && !item.deleted) count += 1;
    }
    return count;
  }

  mark_read() {
    this.read = { era: this.log.era, seq: this.log.head };
  }

  /** Lets the oldest rows go where there are too many; `more` brings them back. */
  trim() {
    this.#behind = 0;
    if (this.items.length <= ITEMS_MAX) return;
    for (const item of this.items.splice(0, this.items.length - ITEMS_KEPT)) this.#keys.delete(item.key);
    const first = this.items.find((item) => item.kind === 'message' && item.era === this.log.era && item.sub === 0);
    if (!first) return;
    this.log.oldest = first.seq;
    this.log.more = true;
  }

  /** @param {string} user @returns {Row[]} */
  rows(user) {
    /** @type {Row[]} */
    const rows = [];
    const builder = new RowBuilder(rows, user, this.divider);
    let begun = false;
    for (const item of this.items) {
      if (!begun && item.era === this.log.era && item.kind !== 'reset') {
        begun = true;
        this.#begin(rows);
      }
      builder.item(item);
    }
    if (!begun) this.#begin(rows);
    for (const { send, timestamp } of this.pending) builder.pending(send, timestamp);
    return rows;
  }

  /** What stands above the oldest message of this era. @param {Row[]} rows */
  #begin(rows) {
    const { epoch, loaded, loading, more, oldest, era } = this.log;
    if (epoch === null && this.obstacle !== '') {
      rows.push({ kind: 'note', key: 'obstacle', text: this.obstacle });
    } else if (!loaded || more) {
      rows.push({ kind: 'more', key: `more ${era} ${oldest}`, loading: loading || epoch === null });
    } else if (this.kind === 'person') {
      const text = `Private messages between you and ${isolated(this.name)}.`;
      rows.push({ kind: 'start', key: `start ${era}`, text });
    } else if (oldest > 1 && oldest < Infinity) {
      rows.push({ kind: 'note', key: `start ${era}`, text: 'Earlier messages are no longer kept.' });
    } else if (era === 0) {
      rows.push({ kind: 'start', key: `start ${era}`, text: `This is the start of ${isolated(this.name)}.` });
    }
  }

  /** A place behind everything that is here. */
  #after() {
    return { era: this.log.era, seq: this.log.head, sub: ++this.#subs };
  }

  /** @param {Item} item */
  #insert(item) {
    if (this.#keys.has(item.key)) return;
    this.#keys.set(item.key, item);
    let at = this.items.length;
    while (at > 0 && isAfter(this.items[at - 1], item)) at -= 1;
    this.items.splice(at, 0, item);
  }

  /** @param {string} id @returns {boolean} whether the own message of this id is among the items */
  #has(id) {
    return this.items.some((item) => item.kind === 'message' && item.id === id);
  }

  /** Takes an own message out that has not got its number yet. @param {string} id */
  #forget(id) {
    this.pending = this.pending.filter((each) => each.send.id !== id);
    const sent = this.#keys.get(`sent ${id}`);
    if (sent) this.#remove(sent);
  }

  /** @param {Item} item */
  #remove(item) {
    this.#keys.delete(item.key);
    this.items = this.items.filter((each) => each !== item);
  }
}

/** Turns items into rows, with what stands between them. */
class RowBuilder {
  /** @type {Set<string>} */
  #ids = new Set();
  #day = '';
  #divided = false;
  /** The message above, as long as nothing else is between. @type {{ sender: string, timestamp: number } | null} */
  #above = null;

  /** @param {Row[]} rows @param {string} user @param {{ era: number, seq: number } | null} divider */
  constructor(rows, user, divider) {
    this.rows = rows;
    this.user = user;
    this.divider = divider;
  }

  /** @param {Item} item */
  item(item) {
    switch (item.kind) {
      case 'message': {
        if (this.divider && item.sender !== this.user && isAfter(item, this.divider)) this.#divide();
        const { sender, content, timestamp, deleted } = item;
        const key = deleted ? `deleted ${item.key}` : this.#key(item);
        return this.#message({ key, sender, content, timestamp, deleted: deleted === true, state: 'acknowledged' });
      }
      case 'notice': return this.#note(item.key, item.text);
      case 'system': return this.#note(item.key, changesText(item.changes));
      case 'gap': return this.#note(item.key, 'Some messages are no longer kept.');
      case 'reset': return this.#note(item.key,
        'The server started anew. What is above is only on this page, and messages may be missing here.');
    }
  }

  /** @param {Send} send @param {number} timestamp */
  pending(send, timestamp) {
    const { id, content, state } = send;
    this.#message({ key: `own ${id}`, sender: this.user, content, timestamp, deleted: false, state, send });
  }

  /** An own message keeps its key on its way from pending to numbered. @param {MessageItem} item */
  #key({ id, key }) {
    if (id === undefined || this.#ids.has(id)) return key;
    this.#ids.add(id);
    return `own ${id}`;
  }

  /** @param {Omit<MessageRow, 'kind' | 'own' | 'first'>} message */
  #message(message) {
    const { key, sender, timestamp } = message;
    const day = new Date(timestamp).toDateString();
    if (day !== this.#day) {
      this.rows.push({ kind: 'day', key: `day ${day} ${this.rows.length === 0 ? '' : key}`, timestamp });
      this.#day = day;
      this.#above = null;
    }
    const first = this.#above?.sender !== sender || timestamp - this.#above.timestamp > GROUP_MS;
    this.rows.push({ kind: 'message', ...message, own: sender === this.user, first });
    this.#above = { sender, timestamp };
  }

  /** @param {string} key @param {string} text */
  #note(key, text) {
    this.rows.push({ kind: 'note', key, text });
    this.#above = null;
  }

  #divide() {
    if (this.#divided) return;
    this.#divided = true;
    this.rows.push({ kind: 'divider', key: 'divider', text: 'New' });
    this.#above = null;
  }
}

/** Every conversation of one user. */
export class Model {
  /** @type {Map<string, Conversation>} */
  conversations = new Map();
  /** The log behind every private conversation. */
  inbox = new Log();
  /** Places read in earlier visits: epoch and `seq_id` by conversation. @type {Map<string, [string, number]>} */
  #places = new Map();

  /** @param {string} user @param {any} [places] what `places` gave in an earlier visit */
  constructor(user, places) {
    this.user = user;
    this.learn(places);
  }

  /** @param {string} name */
  room(name) {
    return this.find('room', name) ?? this.#put(new Conversation('room', name, new Log()));
  }

  /** @param {string} name */
  person(name) {
    return this.find('person', name) ?? this.#put(this.#start(new Conversation('person', name, this.inbox)));
  }

  /** @param {'room' | 'person'} kind */
  of(kind) {
    return [...this.conversations.values()].filter((each) => each.kind === kind);
  }

  /** Own messages that may have arrived or not, with where they belong. */
  get unconfirmed() {
    return [...this.conversations.values()].flatMap((conversation) => conversation.pending
      .filter(({ send }) => send.state === 'unconfirmed').map(({ send }) => ({ send, conversation })));
  }

  /** @param {{ room_id?: string, to?: string, sender: string }} event @returns {Conversation | undefined} */
  conversation_of({ room_id, to, sender }) {
    if (room_id !== undefined) return this.find('room', room_id);
    return this.person(sender === this.user ? String(to) : sender);
  }

  /** @param {string} room @param {{ epoch: string, seq_id: number, recovered?: boolean }} joined */
  joined(room, { epoch, seq_id, recovered }) {
    const conversation = this.room(room);
    const entered = conversation.log.enter(epoch, seq_id, recovered === true);
    conversation.obstacle = '';
    if (entered === 'first') this.#start(conversation);
    if (entered === 'anew') conversation.reset();
    return entered;
  }

  /** @param {{ epoch: string, seq_id: number, recovered?: boolean }} inbox */
  welcomed({ epoch, seq_id, recovered }) {
    const entered = this.inbox.enter(epoch, seq_id, recovered !== false);
    if (entered === 'first') this.#recall(epoch);
    for (const person of this.of('person')) {
      if (entered === 'first') this.#start(person);
      if (entered === 'anew') person.reset();
    }
    return entered;
  }

  /** Takes a page of history in, unless the log has started anew meanwhile. @param {Log} log @param {History} page */
  page(log, page) {
    if (page.epoch !== log.epoch) return;
    for (const message of page.messages) {
      const conversation = this.conversation_of(message);
      if (message.type === 'deleted') conversation?.erase(message);
      else conversation?.add(message, this.user);
      log.oldest = Math.min(log.oldest, message.seq_id);
    }
    log.paged(page.more);
  }

  /** Takes in how far this user has read elsewhere, or earlier. @param {any} places */
  learn(places) {
    if (!Array.isArray(places)) return;
    for (const entry of places) {
      if (!Array.isArray(entry) || typeof entry[0] !== 'string' || !Number.isSafeInteger(entry[2])) continue;
      const [key, epoch, seq] = entry;
      this.#places.set(key, [String(epoch), seq]);
      const known = this.conversations.get(key);
      if (known && known.log.epoch === epoch && isAfter({ era: known.log.era, seq, sub: 0 }, known.read)) {
        known.read = { era: known.log.era, seq };
      }
    }
  }

  /** How far everything was read, for `learn`. @returns {[string, string, number][]} */
  get places() {
    for (const { key, read, log } of this.conversations.values()) {
      if (log.epoch !== null && read.era === log.era) this.#places.set(key, [log.epoch, read.seq]);
    }
    return [...this.#places].slice(-200).map(([key, [epoch, seq]]) => [key, epoch, seq]);
  }

  /**
   * Private conversations of earlier visits, whose messages may be far behind those that others sent since.
   * @param {string} epoch
   */
  #recall(epoch) {
    for (const [key, place] of this.#places) {
      if (key.startsWith('person ') && place[0] === epoch) this.person(key.slice('person '.length));
    }
  }

  /** A conversation begins where it was left; a room never seen before, at its head. @param {Conversation} c */
  #start(c) {
    const { epoch, era, head } = c.log;
    const place = this.#places.get(c.key);
    const unseen = c.kind === 'room' ? head : 0;
    c.read = { era, seq: place === undefined ? unseen : place[0] === epoch ? place[1] : 0 };
    return c;
  }

  /** @param {'room' | 'person'} kind @param {string} name */
  find(kind, name) {
    return this.conversations.get(`${kind} ${name}`);
  }

  /** @param {Conversation} conversation */
  #put(conversation) {
    this.conversations.set(conversation.key, conversation);
    return conversation;
  }
}

/** @param {{ era: number, seq: number, sub?: number }} a @param {{ era: number, seq: number, sub?: number }} b */
function isAfter(a, b) {
  return a.era - b.era > 0 || (a.era === b.era && (a.seq > b.seq || (a.seq === b.seq && (a.sub ?? 0) > (b.sub ?? 0))));
}

/**
 * A name, or what else others have written, for use in a sentence: it must not turn the rest of the line around.
 * @param {string} name
 */
export function isolated(name) {
  // Most names cannot, and are easier to search for and to copy without invisible characters around them.
  if (/^[ -~]*$/.test(name)) return name;
  // Without its own controls of direction, which could end the isolate.
  return `\u2068${name.replace(/[\u202a-\u202e\u2066-\u2069\p{Zl}\p{Zp}]/gu, '')}\u2069`;
}

/** @param {string[]} names @returns {string} as one says it */
export function list(names) {
  const others = names.length - NAMES_MAX;
  const shown = names.slice(0, NAMES_MAX).map(isolated);
  if (others > 0) shown.push(`${others} others`);
  return shown.length < 2 ? shown.join('') : `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}`;
}

/** @param {Map<string, Change>} changes */
function changesText(changes) {
  const who = (/** @type {string} */ event) => [...changes].filter(([, each]) => each === event).map(([name]) => name);
  const came = who('join');
  const went = who('leave');
  const parts = [came.length > 0 ? `${list(came)} joined` : '', went.length > 0 ? `${list(went)} left` : ''];
  return parts.filter((part) => part !== '').join(', ');
}
