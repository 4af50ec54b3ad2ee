// SPDX-License-Identifier: MIT
// The part of one conversation that is on the screen: messages in order, at most so many of them, and
// what is known of the ends. Pure.

import {dayKey} from './format.js';

export const kWindow = 300; // messages; with them the page stays quick, however long one scrolls
const kGroupMs = 5 * 60_000;

/** By place, as far as a message shows it: places are finer than milliseconds. */
export function comparePlaces(a, b) {
  if (a.accepted_at !== b.accepted_at) return a.accepted_at < b.accepted_at ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

export class Timeline {
  messages = [];        // ascending, no id twice
  hasOlder = false;     // something is, or may be, before the first
  hasNewer = false;     // something is known to be after the last and is not held
  loaded = false;       // a page of history has been seen
  walk = null;          // to older ones: {query, cursor}; null: it must begin at the first
  walkOn = null;        // to newer ones; null: it must begin at the last
  #ranks = new Map();   // by id: the order of those accepted in one millisecond
  #bound;

  constructor(bound = kWindow) {
    this.#bound = bound;
  }

  /** The newest page, in place of whatever was held; `query` is what it was asked by. */
  reset(page, query) {
    this.messages = [];
    this.#ranks.clear();
    this.loaded = true;
    this.hasNewer = false;
    this.walkOn = null;
    this.prepend(page, query);
    this.#cutStart();
  }

  /** The next page of the walk to older ones, the newest first. */
  prepend(page, query) {
    this.#insert(page.messages, -1);
    this.hasOlder = page.next !== null;
    this.walk = this.hasOlder ? {query, cursor: page.next} : null;
    const excess = this.messages.length - this.#bound;
    if (excess > 0) {
      this.messages.length -= excess;
      this.hasNewer = true;
      this.walkOn = null;
    }
  }

  /** The next page of the walk to newer ones, the oldest first. */
  append(page, query) {
    this.#insert(page.messages, 1);
    this.hasNewer = page.next !== null;
    this.walkOn = this.hasNewer ? {query, cursor: page.next} : null;
    this.#cutStart();
  }

  /**
   * Messages that came live, or are known from elsewhere, the newest last. Those outside the part
   * that is held wait until that is loaded. True if something has changed.
   */
  merge(messages) {
    const [first] = this.messages;
    const last = this.messages.at(-1);
    const fit = messages.filter((message) => {
      if (this.hasOlder && (!first || message.accepted_at < first.accepted_at)) return false;
      return !this.hasNewer || (last && message.accepted_at < last.accepted_at);
    });
    const changed = this.#insert(fit, 1);
    if (changed) this.#cutStart();
    return changed;
  }

  // `step`: 1, each after those of its millisecond that are held; -1, before them.
  #insert(messages, step) {
    const byId = new Map(this.messages.map((message) => [message.id, message]));
    const ends = new Map(); // by time: the rank at that end
    for (const {id, accepted_at} of this.messages) {
      const rank = this.#ranks.get(id) * step;
      ends.set(accepted_at, Math.max(ends.get(accepted_at) ?? rank, rank));
    }
    let changed = false;
    for (const message of messages) {
      const held = byId.get(message.id);
      // A place may become earlier, never later.
      if (held && held.accepted_at <= message.accepted_at) continue;
      const end = (ends.get(message.accepted_at) ?? 0) + 1;
      ends.set(message.accepted_at, end);
      this.#ranks.set(message.id, end * step);
      byId.set(message.id, message);
      changed = true;
    }
    if (!changed) return false;
    this.messages = [...byId.values()].sort((a, b) => (a.accepted_at === b.accepted_at
      ? this.#ranks.get(a.id) - this.#ranks.get(b.id) : comparePlaces(a, b)));
    if (this.#ranks.size > 4 * this.#bound) {
      for (const id of this.#ranks.keys()) if (!byId.has(id)) this.#ranks.delete(id);
    }
    return true;
  }

  // The walk goes on below what is dropped, so it must begin anew.
  #cutStart() {
    const excess = this.messages.length - this.#bound;
    if (excess <= 0) return;
    this.messages.splice(0, excess);
    this.hasOlder = true;
    this.walk = null;
  }
}

/**
 * What is shown, from the top: {key, kind: 'day', date} and
 * {key, kind: 'message', message, item?, mine, first, last}; `first` and `last` of a group of one
 * sender. `items`: what is in the outbox, at the end.
 */
export function rowsOf(messages, items, me) {
  const held = new Set(messages.map((message) => message.id));
  const all = [
    ...messages.map((message) => ({message, id: message.id, at: new Date(message.accepted_at)})),
    ...items.filter((item) => !held.has(item.id)).map((item) => (
      {message: item.message, id: item.id, item, at: new Date(item.message.timestamp * 1000)})),
  ];
  const rows = [];
  let before = null;
  for (const {message, id, item, at} of all) {
    if (!before || dayKey(before.at) !== dayKey(at)) {
      rows.push({key: `day ${dayKey(at)} ${rows.length === 0 ? '' : id}`, kind: 'day', date: at});
      before = null;
    }
    const together = before && before.sender === message.sender && at - before.at < kGroupMs;
    if (together) before.row.last = false;
    const row = {
      key: id, kind: 'message', message, item, at, mine: message.sender === me,
      first: !together, last: true,
    };
    rows.push(row);
    before = {sender: message.sender, at, row};
  }
  return rows;
}
