// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {Api, ApiError} from '../../../client/web/api.js';
import {Chat} from '../../../client/web/chat.js';
import {FakeTime, settle, SharedStorage, stored} from './fakes.mjs';

const kDown = {
  nodes: [{id: null, address: 'x', state: 'down', lag: null, latency_ms: {p50: null, p99: null}}],
  ready: 0, total: 1};
const kUp = {
  nodes: [{id: '0', address: 'x', state: 'ready', lag: 0, latency_ms: {p50: 1, p99: 1}}],
  ready: 1, total: 1};

// A server whose history may lag behind its feed.
function fakeServer() {
  const server = {
    feed: [], history: [], network: async () => kUp, up: true, asked: [], list: [], sent: [],
    check() {
      if (!server.up) throw new ApiError(503, 'no node could answer');
    },
    api: {
      network: () => server.network(),
      async conversations() {
        server.check();
        return server.list;
      },
      async poll(filter, after, limit) {
        server.check();
        const from = after === undefined ? server.feed.length : Number(after);
        const messages = server.feed.slice(from, from + limit)
          .filter((message) => (filter.room ? message.room === filter.room : true));
        return {messages, after: String(server.feed.length)};
      },
      async history(query) {
        server.asked.push(query);
        await server.gate;
        server.check();
        const all = server.history.filter((message) => (
          query.room ? message.room === query.room : !message.room));
        const newest = [...all].reverse();
        const from = Number(query.cursor ?? 0);
        const next = from + query.limit < newest.length ? String(from + query.limit) : null;
        return {messages: newest.slice(from, from + query.limit), next, stale: false};
      },
      async send(message) {
        server.check();
        server.sent.push(message);
        return stored(message);
      },
    },
  };
  return server;
}

// Neither WebSocket nor EventSource: feeds then poll, with a pause between.
function enter(server, {shared = new SharedStorage(), me = 'ann', time = new FakeTime()} = {}) {
  const topics = [];
  const chat = new Chat({
    api: server.api, storage: shared.tab(), env: time.env(), on: (topic) => topics.push(topic)});
  chat.start();
  if (!chat.me) chat.enter(me);
  return {chat, shared, time, topics, texts: () => chat.timeline.messages.map((message) => message.text)};
}

const fromBob = (text, more) => stored({sender: 'bob', recipient: 'ann', text, ...more});

test('what the feed brought is on the screen, although the node that gives history lags', async () => {
  const server = fakeServer();
  server.history = [fromBob('old')];
  const {chat, time, texts} = enter(server);
  await settle();
  server.feed.push(fromBob('new'));
  await time.pass(5_000);
  assert.equal(chat.conversations.unread, 1);
  chat.open('user:bob');
  await settle();
  assert.deepEqual(texts(), ['old', 'new']);
});

test('an answer for a conversation that was left is dropped', async () => {
  const server = fakeServer();
  server.history = [fromBob('direct'), fromBob('in the room', {room: 'tea', recipient: undefined})];
  const {chat, texts} = enter(server);
  await settle();
  let open;
  server.gate = new Promise((resolve) => { open = resolve; });
  chat.open('user:bob');
  chat.open('room:tea');
  open();
  await settle();
  assert.deepEqual(texts(), ['in the room']);
});

test('without nodes: what was there, an error that says why, and all is well later', async () => {
  const server = fakeServer();
  server.history = [fromBob('hello')];
  const first = enter(server);
  await settle();
  first.chat.open('user:bob');
  await first.time.pass(1_000);

  server.up = false;
  server.network = async () => kDown;
  const {chat, time, texts} = enter(server, {shared: first.shared});
  chat.open('user:bob');
  await settle();
  assert.deepEqual(texts(), ['hello']);
  assert.equal(chat.error, 'no node could answer');
  assert.equal(chat.send('kept'), '');
  await time.pass(5_000);
  assert.deepEqual(chat.rows.filter((row) => row.item).map((row) => row.message.text), ['kept']);
  assert.equal(chat.network.level, 'down');
  server.up = true;
  server.network = async () => kUp;
  await time.pass(10_000);
  assert.equal(chat.error, '');
  assert.deepEqual(server.sent.map((message) => message.text), ['kept']);
});

test('one person sees nothing of another in the same browser', async () => {
  const server = fakeServer();
  const {chat, time} = enter(server);
  await settle();
  server.feed.push(fromBob('for ann'));
  await time.pass(5_000);
  chat.open('user:bob');
  chat.draft = 'half a word';
  chat.leave();
  assert.equal(chat.me, '');
  chat.enter('cleo');
  await settle();
  assert.equal(chat.conversations.sorted().length, 0);
  chat.leave();
  chat.enter('ann');
  chat.open('user:bob');
  assert.equal(chat.draft, 'half a word');
  chat.leave();
});

test('a session token that is refused is dropped; the message goes all the same', async () => {
  const sessions = [];
  const api = new Api(async (path, {headers}) => {
    sessions.push(headers.get('ChatChain-Session'));
    if (headers.get('ChatChain-Session') === 'of another cluster') {
      return new Response('{"detail":"bad token"}', {status: 400});
    }
    const session = sessions.length === 1 ? 'of another cluster' : 'good';
    return new Response('{"id":"x"}', {status: 201, headers: {'ChatChain-Session': session}});
  });
  await api.send({}, 'k1');
  assert.equal((await api.send({}, 'k2')).id, 'x');
  await api.send({}, 'k3');
  assert.deepEqual(sessions, [null, 'of another cluster', null, 'good']);
});

test('errors say what they are', async () => {
  const ask = async (answer, timeoutMs) => {
    try {
      await new Api(answer, timeoutMs).network();
    } catch (error) {
      return [error.status, error.final, error.message];
    }
    return null;
  };
  assert.deepEqual(await ask(async () => new Response('{"detail":"why"}', {status: 422})), [422, true, 'why']);
  assert.deepEqual(await ask(async () => new Response('<html>', {status: 502})),
    [502, false, 'the server answered with status 502']);
  assert.deepEqual(await ask(async () => { throw new TypeError('Failed to fetch'); }),
    [0, false, 'the server cannot be reached']);
  assert.deepEqual(await ask((_, {signal}) => new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  }), 10), [0, false, 'the server did not answer in time']);
});
