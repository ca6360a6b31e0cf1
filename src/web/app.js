// @ts-check
/**
 * The page: what the connection says goes into the model, what the reader does goes to the connection, and the view
 * is drawn anew, once for all that happened since the last frame.
 *
 * @typedef {import('./model.js').Conversation} Conversation
 * @typedef {import('./model.js').Log} Log
 * @typedef {import('./roomcast.js').Events} Events
 * @typedef {import('./roomcast.js').Send} Send
 */

import { local, parse, sessions, visit } from './memory.js';
import { isolated, Model } from './model.js';
import { Roomcast } from './roomcast.js';
import { byId, link_words, View } from './view.js';

const FIRST_ROOM = 'lobby';
const NAME_BYTES_MAX = 128;
/** Messages on a page of history; pages of the inbox are shared by all private conversations. */
const ROOM_PAGE = 50;
const INBOX_PAGE = 200;
/** While somebody types the others are told this often. */
const TYPING_MS = 3_000;
/** The members of a large room are asked for this often at most. */
const WHO_MS = 30_000;
/** What moderators do to others, in words. @type {Record<string, string>} */
const MEASURES = { kick: 'removed', ban: 'banned', mute: 'muted', unmute: 'unmuted' };
/** The clock that counts down and lets "is typing" fade. */
const TICK_MS = 500;

/** The server closed because the token had expired. */
const TOKEN_EXPIRED = 4002;

class Page {
  /** @type {Roomcast | undefined} */
  #chat;
  /** The connection of a name that is not settled yet. @type {Roomcast | undefined} */
  #trial;
  /** The connection whose refusal opened the dialog. @type {Roomcast | undefined} */
  #refusing;
  #model = new Model('');
  /** @type {Conversation | undefined} */
  #current;
  /** What was typed and not sent, by conversation; it outlives rooms and names. @type {Map<string, string>} */
  #drafts = new Map();
  /** Where the text in the field belongs. */
  #draft_key = '';
  #typing_told_at = 0;
  #asked_who_at = 0;
  #drawn = true;
  /** @type {HTMLElement | null} */
  #drawer_opener = null;
  #view = new View({
    open: (key) => this.#open(this.#model.conversations.get(key)),
    write_to: (name) => name !== this.#model.user && this.#open(this.#model.person(name)),
    older: () => this.#load_older(),
    scrolled: () => this.#scrolled(),
    retry: (send) => this.#chat?.retry(send),
    discard: (send) => this.#discard(send),
  });
  #field = /** @type {HTMLTextAreaElement} */ (byId('text'));
  #dialog = /** @type {HTMLDialogElement} */ (byId('name-dialog'));
  #name = /** @type {HTMLInputElement} */ (byId('name'));
  #token = /** @type {HTMLInputElement} */ (byId('token'));

  start() {
    this.#listen();
    const user = local.text('user');
    if (user) this.#adopt(this.#sign_in(user));
    else this.#ask_name('');
    this.#draw();
  }

  // ---- who one is -------------------------------------------------------------------------------------------------

  /** Connects under that name; it becomes this page's connection when it is adopted. @param {string} user */
  #sign_in(user) {
    const token = visit.text('token') || undefined;
    const chat = new Roomcast({ url: '/ws', user, session: sessions.of(user), token });
    chat.on('state', () => this.#link_changed(chat));
    chat.on('welcome', (event) => this.#welcome(chat, event));
    this.#drop_trial();
    this.#trial = chat;
    return chat;
  }

  #drop_trial() {
    const trial = this.#trial;
    this.#trial = undefined;
    trial?.close();
  }

  /** @param {Roomcast} chat */
  #adopt(chat) {
    this.#trial = undefined;
    this.#chat?.close();
    this.#chat = chat;
    const user = String(chat.user);
    const { hash } = location;
    this.#model = new Model(user, local.json(`read.${user}`));
    this.#current = undefined;
    this.#typing_told_at = 0;
    this.#subscribe(chat);
    for (const room of local.names('rooms') ?? [FIRST_ROOM]) this.#join(room);
    for (const send of chat.outbox) this.#pend(send);
    this.#open(this.#earlier(local.text('current')) ?? this.#model.of('room')[0]);
    this.#visit(hash);
  }

  /** A conversation that was open in an earlier visit. @param {string} key */
  #earlier(key) {
    const name = key.startsWith('person ') ? key.slice('person '.length) : '';
    return name === '' || name === this.#model.user ? this.#model.conversations.get(key) : this.#model.person(name);
  }

  /** @param {Roomcast} chat */
  #link_changed(chat) {
    const { state, error, code } = chat.link;
    if (chat === this.#trial) {
      byId('name-progress').textContent = link_words(chat.link).long;
      if (state === 'closed') this.#refused(chat);
    } else if (chat === this.#chat && state === 'closed' && (error || code === TOKEN_EXPIRED)) {
      this.#refused(chat);
    }
    this.#draw();
  }

  /** The server does not take the name. @param {Roomcast} chat */
  #refused(chat) {
    const { error, reason, code } = chat.link;
    if (chat === this.#trial) this.#trial = undefined;
    this.#refusing = chat;
    const taken = error?.code === 'name_taken';
    if (taken) sessions.forget(String(chat.user));
    if (error?.code === 'unauthorized' || code === TOKEN_EXPIRED) {
      visit.set('token', '');
      byId('token-row').hidden = false;
    }
    this.#ask_name(taken ? `“${isolated(String(chat.user))}” is taken. Choose another name.`
      : (error?.message ?? reason ?? ''));
  }

  /** @param {string} error */
  #ask_name(error) {
    byId('name-error').textContent = error;
    byId('name-progress').textContent = '';
    byId('name-cancel').hidden = this.#chat?.link.state !== 'open';
    if (error === '') this.#name.removeAttribute('aria-invalid');
    else this.#name.setAttribute('aria-invalid', 'true');
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#name.focus();
    this.#name.select();
  }

  #name_given() {
    const token = this.#token.value.trim();
    const name = token ? subject(token) : this.#name.value.trim();
    const problem = token && !name ? 'That is no token.' : name_problem(name);
    if (problem) return this.#ask_name(problem);
    this.#token.value = '';
    if (token) visit.set('token', token);
    if (name === this.#chat?.user && this.#chat.link.state === 'open') return this.#dialog.close();
    byId('name-error').textContent = '';
    this.#name.removeAttribute('aria-invalid');
    this.#sign_in(name);
  }

  // ---- what the server says ---------------------------------------------------------------------------------------

  /** @param {Roomcast} chat */
  #subscribe(chat) {
    chat.on('joined', (event) => this.#joined(event));
    chat.on('message', (event) => this.#message(event));
    chat.on('deleted', (event) => this.#deleted(event));
    chat.on('left', (event) => this.#left(event));
    chat.on('gap', (event) => this.#gap(event));
    chat.on('signal', (event) => this.#signal(event));
    chat.on('system', (event) => this.#system(event));
    chat.on('presence', (event) => this.#presence(event));
    chat.on('send', (send) => this.#sent(send));
    chat.on('error', (error) => this.#error(error));
  }

  /** @param {Roomcast} chat @param {any} event */
  #welcome(chat, event) {
    const adopted = chat === this.#trial;
    if (adopted) this.#adopt(chat);
    local.set('user', event.user);
    // Somebody who changes the name goes on typing it while the old connection comes and goes.
    if (this.#dialog.open && (adopted || chat === this.#refusing)) {
      this.#dialog.close();
      this.#field.focus();
    }
    this.#model.welcomed(event.inbox);
    if (!this.#model.inbox.loaded) this.#load_log(this.#model.inbox, undefined);
    this.#draw();
  }

  /** @param {Events['joined']} event */
  #joined(event) {
    this.#model.joined(event.room_id, event);
    const room = this.#model.room(event.room_id);
    room.member_count = event.members;
    this.#ask_who(room);
    if (!room.log.loaded) this.#load(room);
    this.#draw();
  }

  /** @param {Events['message']} event */
  #message(event) {
    const conversation = this.#model.conversation_of(event);
    if (!conversation?.arrive(event, this.#model.user)) return;
    const current = conversation === this.#current;
    if (current && !this.#reading) conversation.divider ??= { ...conversation.read };
    if (!current || this.#view.following) conversation.trim();
    if (current && this.#view.following) this.#complete();
    if (event.sender !== this.#model.user) this.#speak(event, conversation);
    this.#draw();
  }

  /** @param {Events['message']} message @param {Conversation} conversation */
  #speak({ sender, content }, conversation) {
    if (conversation === this.#current) this.#view.announce(`${isolated(sender)}: ${spoken(content)}`);
    else if (conversation.kind === 'person') this.#view.announce(`Private message from ${isolated(sender)}`);
  }

  /** @param {Events['deleted']} event */
  #deleted(event) {
    this.#model.conversation_of(event)?.erase(event);
    this.#draw();
  }

  /** @param {Events['left']} event */
  #left({ room_id, event, reason }) {
    if (event === undefined) return;
    const what = event === 'ban' ? 'banned from' : 'removed from';
    this.#view.toast(`You were ${what} ${isolated(room_id)}${because(reason)}`);
    this.#forget(room_id);
  }

  /** @param {Events['gap']} event */
  #gap({ room_id, from_seq_id, to_seq_id }) {
    const room = room_id === undefined ? undefined : this.#model.find('room', room_id);
    for (const each of room ? [room] : this.#model.of('person')) each.gap(from_seq_id, to_seq_id);
    this.#draw();
  }

  /** @param {Events['signal']} event */
  #signal({ room_id, sender, content }) {
    const kind = room_id === undefined ? 'person' : 'room';
    if (sender === this.#model.user || typeof content?.typing !== 'boolean') return;
    this.#model.find(kind, room_id ?? sender)?.type(sender, content.typing, Date.now());
    this.#draw();
  }

  /** @param {Events['system']} event */
  #system({ event, room_id, sender, timestamp, by, reason }) {
    const done = MEASURES[event];
    if (done) {
      const text = `${isolated(sender)} was ${done} by ${isolated(String(by))}${because(reason)}`;
      this.#model.find('room', room_id)?.notice(text);
      return this.#draw();
    }
    if (sender === this.#model.user || (event !== 'join' && event !== 'leave')) return;
    this.#model.find('room', room_id)?.change(sender, event, timestamp);
    this.#draw();
  }

  /** @param {Events['presence']} event */
  #presence({ room_id, count, members }) {
    const room = this.#model.find('room', room_id);
    if (!room) return;
    room.member_count = count;
    if (members) room.members = new Set(members);
    else if (room === this.#current && Date.now() - this.#asked_who_at > WHO_MS) this.#ask_who(room);
    this.#draw();
  }

  /** @param {Send} send */
  #sent(send) {
    if (send.state === 'acknowledged') this.#conversation_with(send)?.settle(send, this.#model.user);
    else if (send.state !== 'failed') this.#pend(send);
    this.#draw();
  }

  /** @param {Events['error']} error */
  #error({ code, message, request, room_id, retryable }) {
    if (request === 'join' && room_id !== undefined && retryable) {
      this.#delayed(room_id, code === 'room_full' ? 'The room is full; trying again.' : `${message}; trying again.`);
    } else if (request === 'join' && room_id !== undefined) {
      this.#view.toast(`Cannot join ${isolated(room_id)}: ${message}`);
      this.#forget(room_id);
    } else if (request !== 'signal') {
      this.#view.toast(`${message} (${code})`);
    }
  }

  /** A room that may be entered later. @param {string} name @param {string} why */
  #delayed(name, why) {
    const room = this.#model.find('room', name);
    if (!room) return;
    room.obstacle = why;
    if (room !== this.#current || room.log.epoch !== null) this.#view.toast(`${isolated(name)}: ${why}`);
    this.#draw();
  }

  // ---- what is asked of it ----------------------------------------------------------------------------------------

  /** @param {Conversation} room */
  #ask_who(room) {
    this.#asked_who_at = Date.now();
    // The answer arrives as an event too; without one the next `joined` asks again.
    this.#chat?.who(room.name).catch(() => {});
  }

  /** @param {Conversation} conversation @param {number} [before] */
  #load({ kind, name, log }, before) {
    this.#load_log(log, kind === 'room' ? name : undefined, before);
  }

  #load_older() {
    const current = this.#current;
    // A log that was not entered yet is loaded when it is.
    if (!current || current.log.epoch === null) return;
    this.#load(current, current.log.loaded ? current.log.oldest : undefined);
  }

  /**
   * Loads the newest page, or the one before.
   * @param {Log} log @param {string | undefined} room @param {number} [before]
   */
  async #load_log(log, room, before) {
    const chat = this.#chat;
    if (!chat || log.loading || (before !== undefined && !log.more)) return;
    log.loading = true;
    this.#draw();
    try {
      const page = await chat.history({ room, before, limit: room === undefined ? INBOX_PAGE : ROOM_PAGE });
      if (chat === this.#chat) this.#model.page(log, page);
    } catch {
      // The next `joined` or `welcome` asks again, and so does the button.
    } finally {
      log.loading = false;
    }
    const current = this.#current;
    if (current?.log === log && current.unread(this.#model.user) > 0) current.divider ??= { ...current.read };
    this.#draw();
  }

  /** @param {string} name */
  #join(name) {
    const room = this.#model.room(name);
    local.add_name('rooms', name);
    // Its refusal arrives as an event.
    this.#chat?.join(name).catch(() => {});
    return room;
  }

  /** @param {string} name */
  #forget(name) {
    const room = this.#model.find('room', name);
    if (!room) return;
    this.#chat?.leave(name);
    this.#model.conversations.delete(room.key);
    local.remove_name('rooms', name);
    if (room === this.#current) {
      // No other one takes its place: the reader may be typing, and would write to the wrong people.
      this.#stop_typing();
      this.#current = undefined;
    }
    this.#draw();
  }

  #leave() {
    const current = this.#current;
    if (current?.kind !== 'room') return;
    this.#forget(current.name);
    this.#open(this.#model.of('room')[0] ?? this.#model.of('person')[0]);
  }

  /** @param {{ room?: string, to?: string, content: any }} message */
  #send(message) {
    const send = this.#chat?.send(message);
    if (!send) return;
    this.#pend(send).divider = null;
    this.#draw();
  }

  /** Shows a message on its way, maybe from an earlier visit and a room that was open there. @param {Send} send */
  #pend(send) {
    const { room, to, created_at } = send;
    const conversation = room === undefined ? this.#model.person(String(to))
      : (this.#model.find('room', room) ?? this.#join(room));
    conversation.pend(send, created_at);
    return conversation;
  }

  /** @param {Send} send */
  #discard(send) {
    this.#conversation_with(send)?.discard(send);
    this.#chat?.discard(send);
    this.#field.focus();
    this.#draw();
  }

  /** What the reader says to all messages that were not confirmed. @param {(send: Send) => void} answer */
  #settle_unconfirmed(answer) {
    for (const { send } of this.#model.unconfirmed) answer(send);
    // The buttons go with their question.
    this.#field.focus();
  }

  /** @param {Send} send @returns {Conversation | undefined} */
  #conversation_with({ room, to }) {
    return room === undefined ? this.#model.find('person', String(to)) : this.#model.find('room', room);
  }

  // ---- the reader -------------------------------------------------------------------------------------------------

  get #reading() {
    return !document.hidden && this.#view.following;
  }

  /** @param {Conversation | undefined} conversation */
  #open(conversation) {
    if (this.#current && this.#current !== conversation) {
      this.#stop_typing();
      this.#current.divider = null;
    }
    if (conversation && conversation !== this.#current) {
      this.#take_draft(conversation.key);
      if (conversation.unread(this.#model.user) > 0) conversation.divider = { ...conversation.read };
      if (conversation.log.loaded) conversation.mark_read();
      local.set('current', conversation.key);
      const hash = conversation.kind === 'room' ? `#/${encodeURIComponent(conversation.name)}` : '';
      history.replaceState(null, '', `${location.pathname}${location.search}${hash}`);
    }
    this.#current = conversation;
    this.#complete();
    this.#drawer('none');
    this.#fit_field();
    this.#focus_field();
    this.#draw();
  }

  /** The field shows what was typed there. @param {string} key */
  #take_draft(key) {
    if (key === this.#draft_key) return;
    if (this.#field.value === '') this.#drafts.delete(this.#draft_key);
    else this.#drafts.set(this.#draft_key, this.#field.value);
    this.#draft_key = key;
    this.#field.value = this.#drafts.get(key) ?? '';
  }

  /** `#/room` in the address opens that room. @param {string} hash */
  #visit(hash) {
    if (!hash.startsWith('#/')) return;
    try {
      const name = decodeURIComponent(hash.slice(2));
      if (name_problem(name) === '') this.#open(this.#join(name));
    } catch {
      // Not an address that this page has made.
    }
  }

  #scrolled() {
    if (this.#view.following) this.#complete();
    this.#draw();
  }

  /** Loads what came while the reader was elsewhere and was not kept. */
  #complete() {
    const current = this.#current;
    if (!current?.incomplete || current.log.loading) return;
    current.renew();
    this.#load(current);
  }

  /** On a phone this would raise the keyboard. */
  #focus_field() {
    if (matchMedia('(pointer: fine)').matches && !this.#dialog.open) this.#field.focus();
  }

  // Buttons that go when they have done their work must not take the focus with them.

  #jump() {
    this.#view.to_bottom();
    this.#complete();
    this.#focus_field();
    this.#draw();
  }

  #try_now() {
    this.#chat?.connect();
    this.#focus_field();
  }

  /** @param {number} step */
  #walk(step) {
    const all = [...this.#model.of('room'), ...this.#model.of('person')];
    const at = this.#current ? all.indexOf(this.#current) : 0;
    this.#open(all[(at + step + all.length) % all.length]);
  }

  #submit() {
    const content = this.#field.value.trim();
    const current = this.#current;
    if (content === '' || !current) return;
    this.#stop_typing();
    this.#field.value = '';
    this.#fit_field();
    this.#view.to_bottom();
    this.#complete();
    this.#send(current.kind === 'room' ? { room: current.name, content } : { to: current.name, content });
  }

  #typed() {
    this.#fit_field();
    if (this.#field.value.trim() === '') return this.#stop_typing();
    if (Date.now() - this.#typing_told_at < TYPING_MS) return;
    this.#typing_told_at = Date.now();
    this.#tell_typing(true);
  }

  #stop_typing() {
    if (this.#typing_told_at === 0) return;
    this.#typing_told_at = 0;
    this.#tell_typing(false);
  }

  /** @param {boolean} typing */
  #tell_typing(typing) {
    const current = this.#current;
    if (!current) return;
    const target = current.kind === 'room' ? { room: current.name } : { to: current.name };
    this.#chat?.signal({ ...target, content: { typing } });
  }

  /** The field grows with its text; the style sheet says how far. */
  #fit_field() {
    this.#field.style.height = 'auto';
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }

  /** Its lines break elsewhere when its width is another one. */
  #refit_field() {
    const { clientWidth } = this.#field;
    if (clientWidth === this.#fitted_width) return;
    this.#fitted_width = clientWidth;
    this.#fit_field();
  }
  #fitted_width = 0;

  // ---- the page ---------------------------------------------------------------------------------------------------

  #draw() {
    if (!this.#drawn) return;
    this.#drawn = false;
    const run = () => {
      this.#drawn = true;
      this.#render();
    };
    // A hidden page gets no frames, but its title counts.
    if (document.hidden) setTimeout(run, TICK_MS);
    else requestAnimationFrame(run);
  }

  #render() {
    const model = this.#model;
    const current = this.#current;
    const link = this.#chat?.link ?? this.#trial?.link ?? { state: 'connecting' };
    const typing = current?.typing(Date.now()).names ?? [];
    if (current?.log.loaded && this.#reading) current.mark_read();
    this.#view.render({ user: model.user, rooms: model.of('room'), people: model.of('person'), current, link, typing,
      unconfirmed: model.unconfirmed.map(({ conversation }) => conversation.name) });
    if (model.user) local.set_json(`read.${model.user}`, model.places);
    if (link.state === 'waiting' || typing.length > 0) setTimeout(() => this.#draw(), TICK_MS);
  }

  /** @param {'none' | 'sidebar' | 'members'} which */
  #drawer(which) {
    byId('app').dataset.drawer = which;
    byId('main').inert = which !== 'none';
    for (const each of ['sidebar', 'members']) {
      byId(`open-${each}`).setAttribute('aria-expanded', String(each === which));
    }
    if (which === 'none') {
      this.#drawer_opener?.focus();
      this.#drawer_opener = null;
    } else {
      this.#drawer_opener = /** @type {HTMLElement | null} */ (document.activeElement);
      byId(which).querySelector('button')?.focus({ preventScroll: true });
    }
  }

  #listen() {
    on('composer', 'submit', () => this.#submit());
    on('text', 'input', () => this.#typed());
    byId('text').addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    on('join', 'submit', () => this.#join_form());
    on('leave', 'click', () => this.#leave());
    on('jump', 'click', () => this.#jump());
    on('try-now', 'click', () => this.#try_now());
    on('send-again', 'click', () => this.#settle_unconfirmed((send) => this.#chat?.retry(send)));
    on('discard', 'click', () => this.#settle_unconfirmed((send) => this.#discard(send)));
    on('open-sidebar', 'click', () => this.#drawer('sidebar'));
    on('open-members', 'click', () => this.#drawer('members'));
    on('shade', 'click', () => this.#drawer('none'));
    on('change-name', 'click', () => this.#change_name());
    on('name-form', 'submit', () => this.#name_given());
    on('name-cancel', 'click', () => this.#dialog.close());
    on('name-dialog', 'close', () => this.#dialog_closed());
    // In the next frame: its height changes, and must not be news in this one.
    new ResizeObserver(() => requestAnimationFrame(() => this.#refit_field())).observe(this.#field);
    for (const width of ['720px', '1040px']) {
      matchMedia(`(max-width: ${width})`).addEventListener('change', () => this.#drawer('none'));
    }
    document.addEventListener('keydown', (event) => this.#key(event));
    document.addEventListener('visibilitychange', () => this.#draw());
    window.addEventListener('hashchange', () => this.#visit(location.hash));
    window.addEventListener('storage', ({ key, newValue }) => {
      if (key === `roomcast.read.${this.#model.user}`) this.#model.learn(parse(newValue));
      this.#draw();
    });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (this.#dialog.open) return;
    if (event.key === 'Escape') {
      if (byId('app').dataset.drawer !== 'none') this.#drawer('none');
      else this.#field.focus();
    } else if (event.altKey && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
      event.preventDefault();
      this.#walk(event.key === 'ArrowUp' ? -1 : 1);
    }
  }

  #join_form() {
    const field = /** @type {HTMLInputElement} */ (byId('join-name'));
    const name = field.value.trim().replace(/^#/, '');
    const problem = name_problem(name);
    if (problem) return this.#view.toast(problem);
    field.value = '';
    this.#open(this.#join(name));
  }

  #change_name() {
    this.#drawer('none');
    this.#refusing = undefined;
    this.#name.value = this.#model.user;
    this.#ask_name('');
  }

  /** Nobody goes on without a name. */
  #dialog_closed() {
    this.#drop_trial();
    if (!this.#chat || this.#chat.link.error || this.#chat.link.code === TOKEN_EXPIRED) this.#ask_name('');
  }
}

/** @param {string} name @returns {string} what is wrong with it, if anything */
function name_problem(name) {
  if (name === '') return 'Please give a name.';
  if (/\p{Cc}/u.test(name)) return 'A name has no control characters.';
  return new TextEncoder().encode(name).length > NAME_BYTES_MAX ? 'That name is too long.' : '';
}

/** The user that a token names; it is for the server to say whether that is true. @param {string} token */
function subject(token) {
  const claims = token.split('.')[1] ?? '';
  try {
    const bytes = Uint8Array.from(atob(claims.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
    const user = JSON.parse(new TextDecoder().decode(bytes)).sub;
    return typeof user === 'string' ? user : '';
  } catch {
    return '';
  }
}

/** Ends a sentence. @param {string | undefined} reason */
function because(reason) {
  return reason ? `: ${isolated(reason)}` : '.';
}

/** @param {any} content */
function spoken(content) {
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

/** @param {string} id @param {string} type @param {(event: Event) => void} run */
function on(id, type, run) {
  byId(id).addEventListener(type, (event) => {
    if (type === 'submit') event.preventDefault();
    run(event);
  });
}

new Page().start();
