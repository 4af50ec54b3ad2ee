// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {ApiError} from '../../../client/web/api.js';
import {Feed, Seen} from '../../../client/web/feed.js';
import {FakeTime, settle, stored} from './fakes.mjs';

// A server whose log is a list; a token is a number of messages. Sockets and sources connect as
// `world` says.
function fakeWorld() {
  const time = new FakeTime();
  const world = {
    time, log: [], polls: [], connections: [], got: [], gaps: 0, states: [], caughtUp: 0,
    httpWorks: true, socketsWork: true, eventsWork: true,
    async poll(filter, after, limit) {
      world.polls.push(after);
      if (!world.httpWorks) throw new ApiError(0, 'away');
      if (after === 'bad') throw new ApiError(400, 'a token of another cluster');
      const from = after === undefined ? world.log.length : Number(after);
      const messages = world.log.slice(from, from + limit);
      return {messages, after: String(from + messages.length)};
    },
    // A message that is stored, and pushed to whoever is connected.
    say(more) {
      const message = stored(more);
      world.log.push(message);
      for (const each of world.connections) each.push(message, String(world.log.length));
      return message.id;
    },
    breakAll() {
      for (const each of [...world.connections]) each.break();
    },
  };

  class FakeSocket {
    readyState = 0;
    constructor(url) {
      world.url = url;
      setImmediate(() => (world.socketsWork && world.httpWorks ? this.#open() : this.break()));
    }
    #open() {
      world.meanwhile?.();
      this.readyState = 1;
      this.onopen?.();
    }
    send(text) {
      const op = JSON.parse(text);
      if (op.op === 'ping') return world.mute || this.#say({op: 'pong'});
      this.filter = op;
      const from = op.after === undefined ? world.log.length : Number(op.after);
      this.#say({op: 'subscribed', token: String(from)});
      world.log.slice(from).forEach((message, i) => this.push(message, String(from + i + 1)));
      world.connections.push(this);
      return undefined;
    }
    push(message, token) {
      this.#say({op: 'message', token, message});
    }
    #say(what) {
      this.onmessage?.({data: JSON.stringify(what)});
    }
    say = (what) => this.#say(what);
    break() {
      world.connections = world.connections.filter((each) => each !== this);
      this.readyState = 3;
      this.onclose?.();
    }
    close() {
      this.break();
    }
  }

  class FakeSource {
    readyState = 0;
    #listeners = new Map();
    constructor(url) {
      world.sourceUrl = url;
      this.url = new URL(url, 'http://chat.example');
      setImmediate(() => (world.eventsWork && world.httpWorks ? this.#open() : this.break()));
    }
    #open() {
      world.meanwhile?.();
      this.readyState = 1;
      this.onopen?.();
      const from = Number(this.url.searchParams.get('after'));
      world.log.slice(from).forEach((message, i) => this.push(message, String(from + i + 1)));
      world.connections.push(this);
    }
    addEventListener(name, listener) {
      this.#listeners.set(name, listener);
    }
    push(message, token) {
      this.#listeners.get('message')?.({data: JSON.stringify(message), lastEventId: token});
    }
    break() {
      world.connections = world.connections.filter((each) => each !== this);
      this.readyState = 2;
      this.onerror?.();
    }
    close() {
      world.connections = world.connections.filter((each) => each !== this);
      this.readyState = 2;
    }
  }

  world.follow = (token) => {
    const feed = new Feed({
      filter: {participant: 'ann'}, token, api: world,
      env: time.env({WebSocket: FakeSocket, EventSource: FakeSource}),
      on: {
        messages: (messages, at) => {
          world.got.push(...messages.map((message) => message.id));
          world.token = at;
        },
        gap: () => ++world.gaps,
        caughtUp: () => ++world.caughtUp,
        state: (state) => world.states.push(state),
      },
    });
    feed.start();
    return feed;
  };
  world.ids = () => world.log.map((message) => message.id);
  return world;
}

test('from now on, live, by a WebSocket', async () => {
  const world = fakeWorld();
  world.say();
  const feed = world.follow();
  await settle();
  assert.equal(world.url, 'ws://chat.example/ws');
  const id = world.say();
  await settle();
  assert.deepEqual(world.got, [id]);
  assert.equal(world.token, '2');
  assert.deepEqual(world.states, ['connecting', 'socket']);
  assert.equal(world.caughtUp, 1);
  feed.stop();
  assert.equal(world.connections.length, 0);
});

test('breaks miss nothing and repeat nothing, with a token from before too', async () => {
  const world = fakeWorld();
  for (let i = 0; i < 1200; ++i) world.say(); // several pages
  const feed = world.follow('0');
  await settle();
  for (let i = 0; i < 10; ++i) {
    world.say();
    world.breakAll();
    world.say();
    if (i % 3 === 0) world.httpWorks = false;
    await world.time.pass(3_000);
    world.say();
    world.httpWorks = true;
    await world.time.pass(15_000);
  }
  assert.deepEqual(world.got, world.ids());
  feed.stop();
});

test('what is said between the last page and the connection is not missed', async () => {
  for (const way of ['socketsWork', 'eventsWork']) {
    const world = fakeWorld();
    world.socketsWork = world.eventsWork = false;
    world[way] = true;
    world.meanwhile = () => world.say();
    const feed = world.follow();
    await world.time.pass(10_000);
    assert.ok(world.got.length > 0);
    assert.deepEqual(world.got, world.ids());
    feed.stop();
  }
});

test('a message that comes again is not given again', async () => {
  const world = fakeWorld();
  const feed = world.follow();
  await settle();
  world.say();
  world.connections[0].push(world.log[0], '1');
  assert.equal(world.got.length, 1);
  feed.stop();
});

test('where WebSockets fail, event streams do, and a WebSocket is tried again later', async () => {
  const world = fakeWorld();
  world.socketsWork = false;
  const feed = world.follow();
  await world.time.pass(5_000);
  assert.equal(world.states.at(-1), 'events');
  world.say();
  assert.deepEqual(world.got, world.ids());
  world.breakAll();
  world.say();
  await world.time.pass(5_000);
  assert.equal(world.states.at(-1), 'events');
  assert.deepEqual(world.got, world.ids());
  world.socketsWork = true;
  await world.time.pass(60_000);
  world.breakAll();
  await world.time.pass(5_000);
  assert.equal(world.states.at(-1), 'socket');
  world.say();
  assert.deepEqual(world.got, world.ids());
  feed.stop();
});

test('a server that is away is asked less and less, and at once when there is hope', async () => {
  const world = fakeWorld();
  world.httpWorks = false;
  const feed = world.follow();
  await world.time.pass(60_000);
  assert.ok(world.polls.length > 5 && world.polls.length < 20, `${world.polls.length} polls`);
  assert.equal(world.states.at(-1), 'waiting');
  world.httpWorks = true;
  feed.hurry();
  await settle();
  assert.equal(world.states.at(-1), 'socket');
  feed.stop();
});

test('a WebSocket that is dead without a word is noticed', async () => {
  const world = fakeWorld();
  const feed = world.follow();
  await settle();
  world.mute = true;
  world.connections = []; // nothing comes through any more
  world.say();
  await world.time.pass(20_000 + 10_000 + 1_000);
  assert.deepEqual(world.got, world.ids());
  feed.stop();
});

test('a token that is refused, and a gap, are told; then it goes on from now', async () => {
  const world = fakeWorld();
  world.say();
  const feed = world.follow('bad');
  await settle();
  assert.equal(world.gaps, 1);
  const id = world.say();
  assert.deepEqual(world.got, [id]);
  world.connections[0].say({op: 'gap'});
  assert.equal(world.gaps, 2);
  world.connections[0].say({op: 'status', behind: true});
  assert.equal(world.caughtUp, 1);
  world.connections[0].say({op: 'status', behind: false});
  assert.equal(world.caughtUp, 2);
  feed.stop();
});

test('a feed that was stopped says nothing more, and can be started again', async () => {
  const world = fakeWorld();
  const feed = world.follow();
  await settle();
  feed.stop();
  world.say();
  await world.time.pass(60_000);
  assert.deepEqual(world.got, []);
  feed.start();
  await settle();
  assert.deepEqual(world.got, world.ids());
  feed.stop();
});

test('what was seen is remembered up to a bound', () => {
  const seen = new Seen();
  for (let i = 0; i < 10_000; ++i) assert.ok(seen.add(i));
  assert.ok(!seen.add(9_999));
  assert.ok(seen.add(0));
});
