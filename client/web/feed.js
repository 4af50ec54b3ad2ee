// SPDX-License-Identifier: MIT
// Follows what one filter lets through: catches up by pages, then lives on a WebSocket, or on an
// EventSource where there is no way for a WebSocket. A token says what was given; with it the feed
// goes on after any break, and after a reload, without a gap. No message is given twice.

import {queryOf} from './api.js';

const kPage = 500;
const kRefused = [400, 414, 422, 431]; // it is the token's fault
const kSeen = 4000;          // ids that are remembered
const kOpenMs = 8_000;       // for a connection to be made
const kPingMs = 20_000;      // a WebSocket that is silent is asked
const kPongMs = 10_000;      // and must answer
const kBackoffMs = [300, 1000, 2000, 4000, 8000];
const kSteadyMs = 10_000;    // a connection that held this long was a good one
const kSocketRestMs = 60_000; // with events: until a WebSocket is tried again

/** A set that forgets its oldest. */
export class Seen {
  #ids = new Set();
  /** False: it was here. */
  add(id) {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > kSeen) this.#ids.delete(this.#ids.values().next().value);
    return true;
  }
}

export class Feed {
  #filter;
  #api;
  #env;
  #on;
  #token;
  #seen = new Seen();
  #stopped = true;
  #run = 0;                // the present loop; older ones end
  #failures = 0;
  #wake = null;            // ends a pause
  #end = null;             // ends a connection

  /**
   * `on`: messages(list, token), gap(), caughtUp(), state('connecting' | 'socket' | 'events' | 'waiting').
   * `env`: WebSocket, EventSource, origin, now(), setTimeout, clearTimeout, random(), and `sockets`,
   * {failures, restUntil}, in which all feeds of a page note whether WebSockets come through.
   */
  constructor({filter, token, api, env, on}) {
    this.#filter = filter;
    this.#token = token;
    this.#api = api;
    this.#env = env;
    this.#on = on;
  }

  start() {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#loop(++this.#run);
  }

  stop() {
    this.#stopped = true;
    ++this.#run;
    this.#end?.();
    this.#wake?.();
  }

  /** Something is better now: no more waiting. */
  hurry() {
    this.#wake?.();
  }

  async #loop(run) {
    const current = () => run === this.#run;
    while (current()) {
      this.#on.state('connecting');
      const begun = this.#env.now();
      let live = false;
      try {
        await this.#catchUp(current);
        if (!current()) return;
        live = await this.#live(current);
      } catch {
        live = false; // the next turn asks again
      }
      if (!current()) return;
      this.#failures = live && this.#env.now() - begun > kSteadyMs ? 0 : this.#failures + 1;
      this.#on.state('waiting');
      const step = Math.min(this.#failures, kBackoffMs.length) - 1;
      await this.#pause((kBackoffMs[step] ?? 100) * (0.5 + this.#env.random()));
    }
  }

  // All that came since, by pages. This is also what vouches for history read later, and what can
  // tell a token that is refused from a server that is away.
  async #catchUp(current) {
    for (;;) {
      let page;
      try {
        page = await this.#api.poll(this.#filter, this.#token, kPage);
      } catch (error) {
        if (!kRefused.includes(error.status) || !this.#token || !current()) throw error;
        // Of another cluster, or too long for this way: begin anew.
        this.#token = undefined;
        this.#on.gap();
        continue;
      }
      if (!current()) return;
      if (page.gap) this.#on.gap();
      this.#give(page.messages, page.after);
      if (page.messages.length < kPage) {
        if (!page.behind) this.#on.caughtUp();
        return;
      }
    }
  }

  #give(messages, token) {
    this.#token = token;
    const news = messages.filter((message) => this.#seen.add(message.id));
    this.#on.messages(news, token);
  }

  // True if it was live for a while.
  async #live(current) {
    const {sockets} = this.#env;
    if (this.#env.WebSocket && this.#env.now() >= sockets.restUntil) {
      if (await this.#bySocket(current).catch(() => false)) {
        sockets.failures = 0;
        return true;
      }
      // One failure may be a server that went away; HTTP works, or we would not be here.
      if (++sockets.failures < 2 || !current()) return false;
      sockets.restUntil = this.#env.now() + kSocketRestMs;
    }
    return this.#env.EventSource ? this.#byEvents(current) : false;
  }

  #bySocket(current) {
    return new Promise((resolve) => {
      // It may throw: that is a failure like others.
      const socket = new this.#env.WebSocket(`${this.#env.origin.replace(/^http/, 'ws')}/ws`);
      let live = false;
      let timer;
      const expect = (ms, then) => {
        this.#env.clearTimeout(timer);
        timer = this.#env.setTimeout(then, ms);
      };
      const done = () => {
        this.#env.clearTimeout(timer);
        socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
        this.#end = null;
        // One that is not open yet would complain.
        if (socket.readyState === 0) {
          socket.onopen = () => socket.close();
        } else {
          socket.close();
        }
        resolve(live);
      };
      const ask = () => {
        socket.send('{"op":"ping"}');
        expect(kPongMs, done);
      };
      this.#end = done;
      expect(kOpenMs, done);
      socket.onopen = () => {
        const after = this.#token && {after: this.#token};
        socket.send(JSON.stringify({op: 'subscribe', ...this.#filter, ...after}));
      };
      socket.onmessage = ({data}) => {
        if (!current()) return;
        const said = JSON.parse(data);
        if (said.op === 'error') return done();
        if (!live && said.op === 'subscribed') {
          live = true;
          this.#on.state('socket');
        }
        expect(kPingMs, ask);
        if (said.op === 'subscribed') this.#give([], said.token);
        if (said.op === 'message') this.#give([said.message], said.token);
        this.#tell(said.op, said);
      };
      socket.onclose = done;
      socket.onerror = done;
    });
  }

  #byEvents(current) {
    return new Promise((resolve) => {
      const after = this.#token && {after: this.#token};
      const source = new this.#env.EventSource(
        `/messages/stream?${queryOf({...this.#filter, ...after})}`);
      let live = false;
      let timer = this.#env.setTimeout(() => done(), kOpenMs);
      const done = () => {
        this.#env.clearTimeout(timer);
        source.onopen = source.onerror = null;
        this.#end = null;
        source.close();
        resolve(live);
      };
      const on = (name, then) => source.addEventListener(name, (event) => {
        if (current()) then(event);
      });
      this.#end = done;
      source.onopen = () => {
        live = true;
        this.#env.clearTimeout(timer);
        this.#on.state('events');
      };
      on('message', (event) => this.#give([JSON.parse(event.data)], event.lastEventId));
      on('gap', () => this.#tell('gap'));
      on('status', (event) => this.#tell('status', JSON.parse(event.data)));
      // A source that comes back by itself, with its last id, may do so for a while.
      source.onerror = () => {
        if (source.readyState === 2) return done();
        this.#on.state('connecting');
        this.#env.clearTimeout(timer);
        timer = this.#env.setTimeout(done, kOpenMs);
      };
    });
  }

  #tell(op, said) {
    if (op === 'gap') this.#on.gap();
    // Now it holds what it lacked: what was read meanwhile may have missed something.
    if (op === 'status' && !said.behind) this.#on.caughtUp();
  }

  #pause(ms) {
    return new Promise((resolve) => {
      const timer = this.#env.setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        this.#env.clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }
}
