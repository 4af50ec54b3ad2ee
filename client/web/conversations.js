// SPDX-License-Identifier: MIT
// All conversations of one person: the last message of each, and how much of it is unread. Pure.

import {comparePlaces} from './timeline.js';

export const kMaxConversations = 200;
const kPreviewChars = 160;

/** A conversation's key: "user:bob" or "room:tea". */
export const keyOf = (kind, name) => `${kind}:${name}`;
export function parseKey(key) {
  const [, kind, name] = /^(user|room):(.+)$/su.exec(key) ?? [];
  return kind ? {kind, name} : null;
}

/** The key of the conversation that a message belongs to, for one of those who see it. */
export function conversationOf(message, me) {
  if (message.room) return keyOf('room', message.room);
  return keyOf('user', message.sender === me ? message.recipient : message.sender);
}

/** The filters of GET /messages for one conversation. */
export function filterOf(key, me) {
  const {kind, name} = parseKey(key);
  if (kind === 'room') return {room: name};
  return name === me ? {sender: me, recipient: me} : {participant: [me, name]};
}

const placeOf = ({accepted_at, id}) => ({accepted_at, id});

export class Conversations {
  #me;
  #all = new Map(); // by key: {key, kind, name, last, unread, joined?, guessed?}
  #read;            // by key: the place up to which it was read
  #left;            // by key: the time of the last message when it was taken from the list

  constructor(me, saved = {}, read = {}) {
    this.#me = me;
    this.#read = read;
    this.#left = saved.left ?? {};
    for (const {key, last, unread = 0, joined, guessed} of saved.list ?? []) {
      if (parseKey(key)) Object.assign(this.#at(key), {last, unread, joined, guessed});
    }
  }

  get read() {
    return this.#read;
  }
  get(key) {
    return this.#all.get(key);
  }
  /** The latest first; those without messages before all. */
  sorted() {
    return [...this.#all.values()].sort((a, b) => {
      if (!a.last || !b.last) return a.last ? 1 : b.last ? -1 : a.name < b.name ? -1 : 1;
      return comparePlaces(b.last, a.last);
    });
  }
  get unread() {
    return [...this.#all.values()].reduce((sum, each) => sum + each.unread, 0);
  }
  /** The rooms, those that something happened in last first. */
  rooms() {
    return this.sorted().filter((each) => each.kind === 'room').map((each) => each.name);
  }

  /** Begins one, or leaves it as it is. `joined`: somebody here wants it, whatever it holds. */
  open(key) {
    delete this.#left[key];
    this.#at(key).joined = true;
    this.#bound(key);
  }

  /** Takes it from the list, until something new is said in it. */
  leave(key) {
    this.#left[key] = this.#all.get(key)?.last?.accepted_at ?? '';
    this.#all.delete(key);
    const names = Object.keys(this.#left);
    for (const gone of names.slice(0, Math.max(0, names.length - kMaxConversations))) {
      delete this.#left[gone];
    }
  }

  /** What another tab has opened and left; `current` stays. */
  takeSaved(saved, current) {
    for (const [key, at] of Object.entries(saved?.left ?? {})) {
      const last = this.#all.get(key)?.last?.accepted_at ?? '';
      if (key !== current && this.#all.has(key) && last <= at) this.leave(key);
    }
    for (const {key, joined} of saved?.list ?? []) {
      if (joined && parseKey(key) && !this.#all.has(key) && !(key in this.#left)) this.open(key);
    }
  }

  /** A message that was not seen before. */
  note(message) {
    const key = conversationOf(message, this.#me);
    if (this.#isLeft(key, message)) return;
    const conversation = this.#at(key);
    const isLast = !conversation.last || conversation.last.accepted_at <= message.accepted_at;
    if (isLast) conversation.last = preview(message);
    if (message.sender === this.#me) {
      // Who writes has read.
      if (isLast) this.markRead(key, message);
    } else if (!this.#isRead(key, message)) {
      // A list may have told of it already.
      if (conversation.guessed !== message.id) ++conversation.unread;
      else delete conversation.guessed;
    }
    this.#bound(key);
  }

  /** What GET /conversations says, or the newest message of a room. */
  noteLast(last) {
    const key = conversationOf(last, this.#me);
    if (this.#isLeft(key, last)) return;
    const conversation = this.#at(key);
    const held = conversation.last;
    if (held && (held.id === last.id || held.accepted_at > last.accepted_at)) return;
    conversation.last = preview(last);
    if (last.sender !== this.#me && !this.#isRead(key, last)) {
      // One at least; the feed will count them, if it follows this conversation.
      ++conversation.unread;
      conversation.guessed = last.id;
    }
    this.#bound(key);
  }

  /** All up to this message has been read. True if that is news. */
  markRead(key, message) {
    const conversation = this.#all.get(key);
    if (!conversation || !message) return false;
    const news = !this.#isRead(key, message);
    if (news) this.#read[key] = placeOf(message);
    if (conversation.last && this.#isRead(key, conversation.last)) {
      const had = conversation.unread > 0;
      conversation.unread = 0;
      delete conversation.guessed;
      return news || had;
    }
    return news;
  }

  /** Marks of another tab. */
  takeRead(read) {
    for (const [key, place] of Object.entries(read ?? {})) {
      if (place?.id && place.accepted_at) this.markRead(key, place);
    }
  }

  saved() {
    return {
      list: this.sorted().map(({key, last, unread, joined, guessed}) => (
        {key, last, unread, joined, guessed})),
      left: this.#left,
    };
  }

  #isLeft(key, message) {
    if (!(key in this.#left)) return false;
    if (message.accepted_at <= this.#left[key]) return true;
    delete this.#left[key];
    return false;
  }

  // Those of one millisecond count as read together.
  #isRead(key, message) {
    const place = this.#read[key];
    return place !== undefined && message.accepted_at <= place.accepted_at;
  }

  #at(key) {
    let conversation = this.#all.get(key);
    if (!conversation) {
      conversation = {key, ...parseKey(key), last: undefined, unread: 0};
      this.#all.set(key, conversation);
    }
    return conversation;
  }

  // Those that nothing has happened in for the longest time go; the server still has them.
  #bound(keep) {
    for (const {key} of this.sorted().slice(kMaxConversations)) {
      if (key === keep) continue;
      this.#all.delete(key);
      delete this.#read[key];
    }
  }
}

function preview(message) {
  const {id, sender, recipient, room, accepted_at} = message;
  const text = [...message.text.slice(0, 2 * kPreviewChars)].slice(0, kPreviewChars).join('');
  return {id, sender, ...(room ? {room} : {recipient}), text, accepted_at};
}
