// SPDX-License-Identifier: MIT
// A world for the page's modules: time that a test moves, a storage that tabs share, a server.

import {Storage} from '../../../client/web/storage.js';

/** Lets everything run that waits for nothing but promises. */
export async function settle() {
  for (let i = 0; i < 20; ++i) await new Promise((resolve) => setImmediate(resolve));
}

export class FakeTime {
  now = 1_795_248_000_000;
  #timers = new Map();
  #next = 1;

  setTimeout = (work, ms) => {
    this.#timers.set(this.#next, {work, at: this.now + ms});
    return this.#next++;
  };
  clearTimeout = (timer) => this.#timers.delete(timer);

  /** Moves time on, and runs what is due, in order. */
  async pass(ms) {
    const end = this.now + ms;
    await settle();
    for (;;) {
      const [timer, due] = [...this.#timers].filter(([, each]) => each.at <= end)
        .sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
      if (!due) break;
      this.#timers.delete(timer);
      this.now = Math.max(this.now, due.at);
      due.work();
      await settle();
    }
    this.now = end;
  }

  env(more = {}) {
    return {
      now: () => this.now, random: () => 0.5, setTimeout: this.setTimeout,
      clearTimeout: this.clearTimeout, withLock: (work) => work(), origin: 'http://chat.example',
      sockets: {failures: 0, restUntil: 0}, ...more,
    };
  }
}

/** What localStorage is to the tabs of one browser. */
export class SharedStorage {
  #values = new Map();
  #tabs = [];
  full = false;

  /** The storage of one tab. */
  tab() {
    const tab = {};
    const kept = {
      getItem: (name) => this.#values.get(name) ?? null,
      setItem: (name, value) => {
        if (this.full) throw new Error('QuotaExceededError');
        this.#values.set(name, value);
        this.#tell(tab, name, value);
      },
      removeItem: (name) => {
        if (this.#values.delete(name)) this.#tell(tab, name, null);
      },
      key: (i) => [...this.#values.keys()][i],
    };
    Object.defineProperty(kept, 'length', {get: () => this.#values.size});
    tab.storage = new Storage(kept);
    this.#tabs.push(tab);
    return tab.storage;
  }

  get names() {
    return [...this.#values.keys()].sort();
  }

  #tell(from, key, newValue) {
    for (const tab of this.#tabs) {
      if (tab !== from) tab.storage.changedElsewhere({key, newValue});
    }
  }
}

let stamps = 0;
/** A stored message, accepted after all others. */
export function stored(message) {
  ++stamps;
  return {
    id: `id-${String(stamps).padStart(6, '0')}`, sender: 'ann', recipient: 'bob', text: `text ${stamps}`,
    accepted_at: new Date(1_795_248_000_000 + stamps * 1000).toISOString(), ...message,
  };
}
