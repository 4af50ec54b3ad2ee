// SPDX-License-Identifier: MIT
// The part of one conversation that is on the screen: messages in order, at most so many of them, and
// what is known of the ends. Pure.

import {dayKey} from './format.js';

export const kWindow = 300; // messages; with them the page stays quick, however long one scrolls
const kGroupMs = 5 * 60_000;

/** By place, as the server orders history. */
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
  #bound;

  constructor(bound = kWindow) {
    this.#bound = bound;
  }

  /** The newest page, in place of whatever was held; `query` is what it was asked by. */
  reset(page, query) {
    this.messages = [];
    this.loaded = true;
    this.hasNewer = false;
    this.#insert(page.messages);
    this.#walkOn(page, query);
    this.#cutStart();
  }

  /** The next page of the walk to older ones. */
  prepend(page, query) {
    this.#insert(page.messages);
    this.#walkOn(page, query);
    const excess = this.messages.length - this.#bound;
    if (excess > 0) {
      this.messages.length -= excess;
      this.hasNewer = true;
    }
  }

  /** A page in ascending order of what follows the last message; `more`: there are further ones. */
  append(messages, more) {
    this.#insert(messages);
    this.hasNewer = more;
    this.#cutStart();
  }

  /**
   * Messages that came live, or are known from elsewhere. Those outside the part that is held wait
   * until that is loaded. True if something has changed.
   */
  merge(messages) {
    const [first] = this.messages;
    const last = this.messages.at(-1);
    const fit = messages.filter((message) => {
      if (this.hasOlder && (!first || comparePlaces(message, first) < 0)) return false;
      return !this.hasNewer || (last && comparePlaces(message, last) <= 0);
    });
    const changed = this.#insert(fit);
    if (changed) this.#cutStart();
    return changed;
  }

  #walkOn(page, query) {
    this.hasOlder = page.next !== null;
    this.walk = this.hasOlder ? {query, cursor: page.next} : null;
  }

  #insert(messages) {
    if (messages.length === 0) return false;
    const byId = new Map(this.messages.map((message) => [message.id, message]));
    let changed = false;
    for (const message of messages) {
      const held = byId.get(message.id);
      // A place may become earlier, never later.
      if (held && held.accepted_at <= message.accepted_at) continue;
      byId.set(message.id, message);
      changed = true;
    }
    if (changed) this.messages = [...byId.values()].sort(comparePlaces);
    return changed;
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
