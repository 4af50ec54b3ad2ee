// SPDX-License-Identifier: MIT
// Everything that the page knows and does, without a word about how it looks: joins the interface,
// the feeds, the outbox and what is kept. Views ask it, and are told when something changed.

import {Conversations, conversationOf, filterOf, keyOf, parseKey} from './conversations.js';
import {Feed, Seen} from './feed.js';
import {cleanText, textProblem} from './identity.js';
import {describe} from './network.js';
import {Outbox} from './outbox.js';
import {rowsOf, Timeline} from './timeline.js';

const kPage = 50;
const kRooms = 16;            // that are followed live; others are looked at now and then
const kRecent = 500;          // messages that came live and may belong into a page to come
const kWindows = 8;           // conversations whose end is kept for the next visit,
const kWindowMessages = 30;   // so many messages of each
const kWindowChars = 60_000;
const kDrafts = 20;
const kPeople = 5;            // names whose state is kept
const kSaveMs = 400;
const kNetworkMs = {ok: 5_000, trouble: 1_500, hidden: 30_000};
const kRefreshMs = 30_000;
const kStaleMs = 1_500;

export class Chat {
  me = '';
  current = null;           // the key of the open conversation
  conversations = null;
  timeline = new Timeline();
  error = '';               // why history cannot be read now
  loading = false;          // the newest page
  loadingMore = '';         // 'older' | 'newer' | ''
  network = {level: 'unknown', text: 'Connecting…', detail: ''};

  #api;
  #storage;
  #env;
  #on;
  #outbox;
  #feeds = new Map();       // by 'me' or a room's key: {feed, state}
  #byEvents = false;        // no way for WebSockets
  #tokens = {};
  #seen = new Seen();
  #recent = new Map();
  #windows = [];            // keys, the latest last
  #drafts = {};
  #opened = 0;              // counts; an answer for an older one is dropped
  #doubt = false;           // the newest page may lack something
  #visible = true;
  #attentive = () => false; // whether the reader sees the end of the conversation
  #report = null;
  #reachable = false;
  #timers = new Map();

  /** `on(topic)`: 'me', 'list', 'timeline', 'network'. `env`: see Feed and Outbox. */
  constructor({api, storage, env, on}) {
    this.#api = api;
    this.#storage = storage;
    this.#env = env;
    this.#on = on;
    this.#outbox = new Outbox({
      storage, api, env,
      on: {
        stored: (message) => this.#take([message]),
        changed: () => {
          this.#describeNetwork();
          on('timeline');
        },
      },
    });
    storage.listen((name, value) => {
      if (this.me === '') return;
      if (name === `read/${this.me}`) this.conversations.takeRead(value);
      if (name === `state/${this.me}`) {
        this.conversations.takeSaved(value, this.current);
        this.#follow();
      }
      on('list');
    });
  }

  /** Goes on as whoever was here last, if anybody was. */
  start() {
    this.#outbox.start();
    this.#watchNetwork();
    const [me] = this.#people();
    if (me && this.#storage.get('here')) this.enter(me);
  }

  enter(me) {
    this.me = me;
    const people = [me, ...this.#people().filter((each) => each !== me)];
    for (const gone of people.splice(kPeople)) this.#forget(gone);
    this.#storage.set('people', people);
    this.#storage.set('here', true);
    const state = this.#storage.get(`state/${me}`) ?? {};
    this.#tokens = state.tokens ?? {};
    this.#windows = state.windows ?? [];
    this.#drafts = this.#storage.get(`drafts/${me}`) ?? {};
    this.conversations = new Conversations(me, state, this.#storage.get(`read/${me}`));
    this.#follow();
    this.#refreshList();
    this.#on('me');
  }

  /** Somebody else is here now; what waits to be sent is sent all the same. */
  leave() {
    this.save();
    this.close();
    for (const {feed} of this.#feeds.values()) feed.stop();
    this.#feeds.clear();
    for (const name of ['refresh', 'save']) this.#cancel(name);
    this.#recent.clear();
    this.#seen = new Seen();
    this.#storage.remove('here');
    this.me = '';
    this.conversations = null;
    this.#on('me');
  }

  // ---- conversations

  open(key) {
    if (key === this.current || !parseKey(key)) return;
    this.save();
    this.close();
    this.current = key;
    this.conversations.open(key);
    this.#windows = [...this.#windows.filter((each) => each !== key), key];
    for (const gone of this.#windows.splice(0, Math.max(0, this.#windows.length - kWindows))) {
      this.#storage.remove(`window/${this.me}/${gone}`);
    }
    this.timeline = new Timeline();
    // As it was at the last visit, until a page comes.
    this.timeline.hasOlder = true;
    const kept = this.#storage.get(`window/${this.me}/${key}`);
    if (Array.isArray(kept)) this.timeline.append({messages: kept, next: null}, null);
    this.#follow();
    this.#saveSoon();
    this.reload();
    this.#on('list');
  }

  close() {
    this.current = null;
    ++this.#opened;
    this.loading = false;
    this.loadingMore = '';
    this.error = '';
    this.#cancel('stale');
  }

  /** Takes a conversation out of the list, until something happens in it. */
  forget(key) {
    if (key === this.current) this.close();
    this.conversations.leave(key);
    delete this.#tokens[key];
    this.#follow();
    this.#saveSoon();
    this.#on('list');
  }

  get rows() {
    const items = this.#outbox.items(this.me).filter(
      (item) => conversationOf(item.message, this.me) === this.current);
    return rowsOf(this.timeline.messages, items, this.me);
  }

  /** Whom and what others talk about now: {people, rooms}, to begin something new with. */
  async suggestions() {
    const {messages} = await this.#api.history({order: 'desc', limit: 200});
    const people = new Set();
    const rooms = new Set();
    for (const {sender, recipient, room} of messages) {
      for (const name of [sender, recipient]) if (name && name !== this.me) people.add(name);
      if (room) rooms.add(room);
    }
    return {people: [...people].slice(0, 8), rooms: [...rooms].slice(0, 8)};
  }

  // ---- history

  /** What could not be read, once more. */
  again() {
    if (!this.timeline.loaded) return this.reload();
    this.error = '';
    return this.loadOlder() ?? this.reload();
  }

  /** The newest page, from the server, unless one is reading far above it. */
  async reload() {
    if (!this.current || (this.timeline.loaded && this.timeline.hasNewer)) return;
    const run = ++this.#opened;
    this.loading = true;
    this.loadingMore = '';
    this.#on('timeline');
    const query = {...filterOf(this.current, this.me), order: 'desc', limit: kPage};
    // Until the feed has caught up, a node that lags may answer without anybody noticing.
    this.#doubt = this.#feeds.get('me')?.caughtUp !== true;
    try {
      const page = await this.#api.history(query);
      if (run !== this.#opened) return;
      this.error = '';
      const [newest] = page.messages;
      const last = page.messages.at(-1);
      const held = this.timeline.messages.at(-1);
      const meets = page.next === null || (held && last && last.accepted_at <= held.accepted_at);
      if (this.timeline.loaded && meets) {
        this.timeline.merge(page.messages.reverse());
      } else {
        this.timeline.reset(page, query);
      }
      this.#mergeRecent();
      if (newest) this.conversations.noteLast(newest);
      if (page.stale) this.#later('stale', kStaleMs, () => this.reload());
    } catch (error) {
      if (run !== this.#opened) return;
      this.error = error.message;
    }
    this.loading = false;
    this.look();
    this.#saveSoon();
    this.#on('timeline');
    this.#on('list');
  }

  loadOlder() {
    const {messages, walk, hasOlder} = this.timeline;
    if (!hasOlder || !this.timeline.loaded) return undefined;
    // Of those accepted in one millisecond some may be held; they are told by their ids.
    const until = messages[0] && new Date(Date.parse(messages[0].accepted_at) + 1).toISOString();
    const query = walk?.query ??
        {...filterOf(this.current, this.me), order: 'desc', limit: kPage, until};
    const cursor = walk && {cursor: walk.cursor};
    return this.#loadMore('older', {...query, ...cursor}, (page) => {
      this.timeline.prepend(page, query);
    });
  }

  loadNewer() {
    const last = this.timeline.messages.at(-1);
    const {hasNewer, walkOn} = this.timeline;
    if (!hasNewer || !last) return undefined;
    const query = walkOn?.query ?? {
      ...filterOf(this.current, this.me), order: 'asc', limit: kPage, since: last.accepted_at,
    };
    const cursor = walkOn && {cursor: walkOn.cursor};
    return this.#loadMore('newer', {...query, ...cursor}, (page) => {
      this.timeline.append(page, query);
    });
  }

  async #loadMore(which, query, take) {
    if (this.loadingMore || this.loading) return;
    const run = this.#opened;
    this.loadingMore = which;
    this.#on('timeline');
    try {
      const page = await this.#api.history(query);
      if (run !== this.#opened) return;
      this.error = '';
      take(page);
      this.#mergeRecent();
    } catch (error) {
      if (run !== this.#opened) return;
      this.error = error.message;
      // A cursor that is refused: the walk begins anew.
      if (error.final) this.timeline.walk = this.timeline.walkOn = null;
    }
    this.loadingMore = '';
    this.#on('timeline');
  }

  // What came live while its place was not loaded, or a lagging node answered.
  #mergeRecent() {
    const ours = [...this.#recent.values()].filter(
      (message) => conversationOf(message, this.me) === this.current);
    this.timeline.merge(ours);
  }

  // ---- writing

  /** Why not, as a sentence; empty: it is on its way. */
  send(text) {
    const clean = cleanText(text);
    if (clean === '') return 'There is nothing to send.';
    const problem = textProblem(clean) || this.#outbox.full(clean);
    if (problem) return problem;
    const {kind, name} = parseKey(this.current);
    this.#outbox.add({
      sender: this.me,
      ...(kind === 'room' ? {room: name} : {recipient: name}),
      text: clean,
      timestamp: Math.floor(this.#env.now() / 1000),
    });
    if (this.timeline.hasNewer) this.toEnd();
    return '';
  }

  retry(key) {
    this.#outbox.retry(key);
  }
  /** Gives an unsent message up; its text. */
  discard(key) {
    return this.#outbox.drop(key)?.message.text ?? '';
  }

  /** Shows the newest messages, wherever one has scrolled to. */
  toEnd() {
    if (!this.timeline.hasNewer) return undefined;
    this.timeline.loaded = false;
    return this.reload();
  }

  get draft() {
    return this.#drafts[this.current] ?? '';
  }
  set draft(text) {
    delete this.#drafts[this.current];
    if (text !== '') this.#drafts[this.current] = text.slice(0, 20_000);
    const names = Object.keys(this.#drafts);
    for (const gone of names.slice(0, Math.max(0, names.length - kDrafts))) {
      delete this.#drafts[gone];
    }
    this.#saveSoon();
  }

  // ---- reading

  /** `attentive()`: whether the reader sees the end of the open conversation. */
  watch(attentive) {
    this.#attentive = attentive;
  }

  /** The reader may have seen something new. */
  look() {
    const last = this.timeline.messages.at(-1);
    if (!this.current || !last || this.timeline.hasNewer || !this.#attentive()) return;
    if (!this.conversations.markRead(this.current, last)) return;
    // The marks of other tabs stay; the later one of each counts.
    this.conversations.takeRead(this.#storage.get(`read/${this.me}`));
    this.#storage.set(`read/${this.me}`, this.conversations.read);
    this.#saveSoon();
    this.#on('list');
  }

  setVisible(visible) {
    this.#visible = visible;
    this.look();
    if (!visible) this.save();
    if (this.me) this.#follow();
    this.#later('network', visible ? 0 : kNetworkMs.hidden, () => this.#watchNetwork());
  }

  /** The browser says that there is a network again. */
  hurry() {
    this.#outbox.hurry();
    for (const {feed} of this.#feeds.values()) feed.hurry();
    this.#later('network', 0, () => this.#watchNetwork());
  }

  // ---- the feeds

  // One for what concerns this person, and one for each room: the filters of a feed all hold at
  // once, so none could let both through. A browser has few connections for event streams, for
  // all its tabs together: with those only the open room is followed, and only by a visible tab.
  #follow() {
    const byEvents = this.#byEvents;
    const wanted = new Map();
    if (this.#visible || !byEvents) {
      wanted.set('me', {participant: this.me});
      const rooms = this.conversations.rooms().map((name) => keyOf('room', name))
        .sort((a, b) => (b === this.current) - (a === this.current))
        .filter((key, i) => (byEvents ? key === this.current : i < kRooms));
      for (const key of rooms) wanted.set(key, {room: parseKey(key).name});
    }
    for (const [key, {feed}] of this.#feeds) {
      if (wanted.has(key)) continue;
      feed.stop();
      if (key !== 'me') this.#feeds.delete(key);
    }
    for (const [key, filter] of wanted) {
      if (!this.#feeds.has(key)) this.#feeds.set(key, this.#makeFeed(key, filter));
      this.#feeds.get(key).feed.start();
    }
  }

  #makeFeed(key, filter) {
    const entry = {state: 'connecting', caughtUp: false};
    const here = () => this.#feeds.get(key) === entry;
    entry.feed = new Feed({
      filter, token: this.#tokens[key], api: this.#api, env: this.#env,
      on: {
        messages: (messages, token) => {
          if (!here()) return;
          this.#tokens[key] = token;
          this.#take(messages);
          this.#saveSoon();
        },
        gap: () => {
          if (!here()) return;
          this.timeline.loaded = false;
          this.reload();
          this.#refreshList();
        },
        caughtUp: () => {
          if (!here()) return;
          entry.caughtUp = true;
          if (this.#doubt && this.current) this.reload();
        },
        state: (state) => {
          if (!here()) return;
          entry.state = state;
          if (key !== 'me') return;
          if (['socket', 'events'].includes(state) && this.#byEvents !== (state === 'events')) {
            this.#byEvents = state === 'events';
            this.#follow();
          }
          this.#describeNetwork();
        },
      },
    });
    return entry;
  }

  // Messages that the server has, however they came to be known.
  #take(messages) {
    if (messages.length === 0) return;
    for (const message of messages) {
      this.#outbox.storedAs(message.id);
      const concerns = this.me && ([message.sender, message.recipient].includes(this.me) ||
          this.conversations.get(conversationOf(message, this.me)));
      if (!concerns) continue; // by somebody who was here before
      this.#recent.delete(message.id);
      this.#recent.set(message.id, message);
      if (this.#recent.size > kRecent) this.#recent.delete(this.#recent.keys().next().value);
      if (!this.#seen.add(message.id)) continue;
      const known = this.conversations.get(conversationOf(message, this.me));
      this.conversations.note(message);
      if (!known && message.room) this.#follow();
    }
    if (this.current) this.#mergeRecent();
    this.look();
    this.#saveSoon();
    this.#on('timeline');
    this.#on('list');
  }

  async #refreshList() {
    this.#later('refresh', kRefreshMs, () => this.#refreshList());
    const me = this.me;
    try {
      const listed = await this.#api.conversations(me);
      if (me !== this.me) return;
      const rooms = new Set();
      for (const {room, last} of listed) {
        this.conversations.noteLast(last);
        if (room) rooms.add(room);
      }
      this.#follow();
      this.#on('list');
      // Rooms that one only reads are in no list.
      const others = this.conversations.rooms().filter((name) => !rooms.has(name)).slice(0, kRooms);
      for (const room of others) {
        const {messages} = await this.#api.history({room, order: 'desc', limit: 1});
        if (me !== this.me) return;
        if (messages[0]) this.conversations.noteLast(messages[0]);
      }
      this.look();
      this.#on('list');
    } catch {
      // The line at the bottom says what is wrong; the next turn asks again.
    }
  }

  // ---- the network

  async #watchNetwork() {
    this.#cancel('network');
    const wasWell = this.#reachable && this.#report.ready > 0;
    try {
      this.#report = await this.#api.network();
      this.#reachable = true;
    } catch {
      this.#reachable = false;
    }
    const isWell = this.#reachable && this.#report.ready > 0;
    if (isWell && !wasWell) {
      this.#outbox.hurry();
      for (const {feed} of this.#feeds.values()) feed.hurry();
      if (this.error) this.again();
      if (this.me) this.#refreshList();
    }
    this.#describeNetwork();
    const pace = !this.#visible ? 'hidden' : this.network.level === 'ok' ? 'ok' : 'trouble';
    this.#later('network', kNetworkMs[pace], () => this.#watchNetwork());
  }

  #describeNetwork() {
    this.network = describe({
      network: this.#report,
      reachable: this.#reachable,
      live: this.#feeds.get('me')?.state ?? 'connecting',
      unsent: this.#outbox?.waiting ?? 0,
    });
    this.#on('network');
  }

  // ---- what is kept

  save() {
    this.#cancel('save');
    if (!this.me) return;
    // Unread counts and tokens belong together: what a token covers has been counted.
    const followed = new Set(['me', ...this.conversations.rooms().map((name) => keyOf('room', name))]);
    const tokens = Object.entries(this.#tokens).filter(([key]) => followed.has(key));
    this.#storage.set(`state/${this.me}`, {
      ...this.conversations.saved(), tokens: Object.fromEntries(tokens), windows: this.#windows,
    });
    this.#storage.set(`drafts/${this.me}`, this.#drafts);
    if (this.current && this.timeline.loaded && !this.timeline.hasNewer) {
      const end = this.timeline.messages.slice(-kWindowMessages);
      while (end.length > 0 && JSON.stringify(end).length > kWindowChars) end.shift();
      this.#storage.set(`window/${this.me}/${this.current}`, end);
    }
  }

  #saveSoon() {
    if (!this.#timers.has('save')) this.#later('save', kSaveMs, () => this.save());
  }

  // Those who were here, the last one first.
  #people() {
    const people = this.#storage.get('people');
    return Array.isArray(people) ? people : [];
  }

  #forget(me) {
    for (const prefix of [`state/${me}`, `read/${me}`, `drafts/${me}`]) this.#storage.remove(prefix);
    for (const name of this.#storage.names(`window/${me}/`)) this.#storage.remove(name);
  }

  #later(name, ms, work) {
    this.#cancel(name);
    this.#timers.set(name, this.#env.setTimeout(() => {
      this.#timers.delete(name);
      work();
    }, ms));
  }
  #cancel(name) {
    this.#env.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
