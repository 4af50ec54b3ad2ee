// SPDX-License-Identifier: MIT
// Small values that survive a reload, as JSON under names that begin alike. Where the browser keeps
// nothing (it was told so, or it is full) they live as long as the page.

const kPrefix = 'chatchain/';

export class Storage {
  #kept;
  #held = new Map(); // what could not be kept
  #listeners = [];

  /** @param kept  as localStorage, or null */
  constructor(kept) {
    this.#kept = kept;
  }

  get(name) {
    if (this.#held.has(name)) return this.#held.get(name);
    try {
      const text = this.#kept?.getItem(kPrefix + name);
      return text ? JSON.parse(text) : undefined;
    } catch {
      return undefined; // what somebody else wrote under our name
    }
  }

  /** False: kept by this page only. */
  set(name, value) {
    try {
      if (this.#kept === null) throw new Error('nothing is kept');
      this.#kept.setItem(kPrefix + name, JSON.stringify(value));
      this.#held.delete(name);
      return true;
    } catch {
      this.#held.set(name, value);
      return false;
    }
  }

  remove(name) {
    this.#held.delete(name);
    try {
      this.#kept?.removeItem(kPrefix + name);
    } catch {
      // Then it is not there either.
    }
  }

  /** The names that begin with `prefix`, sorted. */
  names(prefix) {
    const names = new Set([...this.#held.keys()].filter((name) => name.startsWith(prefix)));
    try {
      for (let i = 0; i < (this.#kept?.length ?? 0); ++i) {
        const name = this.#kept.key(i);
        if (name.startsWith(kPrefix + prefix)) names.add(name.slice(kPrefix.length));
      }
    } catch {
      // Only what is held.
    }
    return [...names].sort();
  }

  /** `listener(name, value)` for what other tabs write; undefined: it was removed. */
  listen(listener) {
    this.#listeners.push(listener);
  }

  /** What a `storage` event of the window says. */
  changedElsewhere({key, newValue}) {
    if (!key?.startsWith(kPrefix)) return;
    const name = key.slice(kPrefix.length);
    this.#held.delete(name);
    let value;
    try {
      value = newValue === null ? undefined : JSON.parse(newValue);
    } catch {
      value = undefined;
    }
    for (const listener of this.#listeners) listener(name, value);
  }
}
