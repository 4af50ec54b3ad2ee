// SPDX-License-Identifier: MIT
// What was written and is not known to be stored. Each message lies under its own key in the storage,
// which all tabs share, and is sent in the order of the keys, one at a time, under its key: however
// often, by however many tabs, it is one message. It leaves when the server has it, or when its
// writer gives it up.

import {isKey, keyMs, messageId, newKey} from './identity.js';

const kPrefix = 'outbox/';
const kMaxMessages = 200;
const kMaxChars = 1_000_000; // of all texts together
const kBackoffMs = [500, 1000, 2000, 4000, 8000];

/**
 * An item: {key, id, message, problem?, waiting?}. `problem`: it was refused, and why; `waiting`: why
 * it has to wait.
 */
export class Outbox {
  #storage;
  #api;
  #env;
  #on;
  #items = new Map(); // by key; #order() sorts
  #sending = false;
  #failures = 0;
  #timer = null;
  #stopped = false;

  /**
   * `on`: changed(), stored(message). `env`: setTimeout, clearTimeout, now(), random(), and
   * withLock(work), which keeps tabs from sending the same at once where it can.
   */
  constructor({storage, api, env, on}) {
    this.#storage = storage;
    this.#api = api;
    this.#env = env;
    this.#on = on;
    for (const name of storage.names(kPrefix)) {
      const value = storage.get(name);
      if (value?.stored) {
        storage.remove(name); // by a page that ended just then
      } else {
        this.#take(name, value);
      }
    }
    storage.listen((name, value) => this.#changedElsewhere(name, value));
  }

  /** Sends what is there from before. */
  start() {
    this.#send();
  }

  /** All of one sender, in order. */
  items(sender) {
    return this.#order().filter((item) => item.message.sender === sender);
  }

  get waiting() {
    return this.#order().filter((item) => !item.problem).length;
  }

  /** What another message would not fit for; empty where it does. */
  full(text) {
    const chars = this.#order().reduce((sum, item) => sum + item.message.text.length, text.length);
    if (this.#items.size < kMaxMessages && chars <= kMaxChars) return '';
    return 'Too many messages wait to be sent. Please wait until some have been.';
  }

  /** Takes a message, and sends it as soon as it can. REQUIRES: full() has no objection. */
  add(message) {
    const last = this.#order().at(-1);
    const key = newKey(this.#env.now(), last ? keyMs(last.key) : 0);
    const item = {key, id: messageId(message, key), message};
    this.#items.set(key, item);
    item.unkept = !this.#storage.set(kPrefix + key, {message});
    this.#on.changed();
    this.#send();
    return item;
  }

  retry(key) {
    const item = this.#items.get(key);
    if (!item) return;
    delete item.problem;
    this.#storage.set(kPrefix + key, {message: item.message});
    this.#on.changed();
    this.hurry();
  }

  /** Gives it up; the item, as it was. */
  drop(key) {
    const item = this.#items.get(key);
    this.#remove(key);
    this.#on.changed();
    return item;
  }

  /** The message with this id is stored, as somebody else has seen. */
  storedAs(id) {
    for (const item of this.#items.values()) {
      if (item.id !== id) continue;
      this.#remove(item.key);
      this.#on.changed();
    }
  }

  /** Something is better now: try at once. */
  hurry() {
    this.#failures = 0;
    this.#send();
  }

  stop() {
    this.#stopped = true;
    this.#env.clearTimeout(this.#timer);
  }

  #order() {
    return [...this.#items.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #take(name, value) {
    const message = value?.message;
    const key = name.slice(kPrefix.length);
    if (typeof message?.text !== 'string' || typeof message.sender !== 'string') return;
    if (!isKey(key)) return;
    const {problem} = value;
    this.#items.set(key, {key, id: messageId(message, key), message, ...(problem && {problem})});
  }

  #remove(key) {
    this.#items.delete(key);
    this.#storage.remove(kPrefix + key);
  }

  // Another tab has added, sent, been refused or given up.
  #changedElsewhere(name, value) {
    if (!name.startsWith(kPrefix)) return;
    const key = name.slice(kPrefix.length);
    if (value?.stored) {
      this.#items.delete(key);
      this.#on.stored(value.stored);
    } else if (value === undefined) {
      this.#items.delete(key);
    } else {
      this.#take(name, value);
      this.#send();
    }
    this.#on.changed();
  }

  async #send() {
    if (this.#sending || this.#stopped) return;
    this.#sending = true;
    this.#env.clearTimeout(this.#timer);
    try {
      await this.#env.withLock(async () => {
        for (;;) {
          const item = this.#order().find((each) => !each.problem);
          if (!item || this.#stopped || !(await this.#sendOne(item))) return;
        }
      });
    } finally {
      this.#sending = false;
    }
    if (this.waiting === 0 || this.#stopped) return;
    const step = Math.max(0, Math.min(this.#failures, kBackoffMs.length) - 1);
    const delay = this.#failures === 0 ? 0 : kBackoffMs[step] * (0.5 + this.#env.random());
    this.#env.clearTimeout(this.#timer);
    this.#timer = this.#env.setTimeout(() => this.#send(), delay);
  }

  // False: it is not the time for others either.
  async #sendOne(item) {
    try {
      const stored = await this.#api.send(item.message, item.key);
      this.#failures = 0;
      // First what it has become, for the other tabs; then nothing.
      if (this.#items.has(item.key)) {
        this.#storage.set(kPrefix + item.key, {message: item.message, stored});
      }
      this.#remove(item.key);
      this.#on.stored(stored);
      this.#on.changed();
      return true;
    } catch (error) {
      if (!this.#items.has(item.key)) return true; // given up, or stored meanwhile
      if (error.final) {
        item.problem = error.message;
        this.#storage.set(kPrefix + item.key, {message: item.message, problem: item.problem});
        this.#on.changed();
        return true;
      }
      ++this.#failures;
      for (const each of this.#items.values()) each.waiting = error.message;
      this.#on.changed();
      return false;
    }
  }
}
