// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {ApiError} from '../../../client/web/api.js';
import {messageId} from '../../../client/web/identity.js';
import {Outbox} from '../../../client/web/outbox.js';
import {FakeTime, SharedStorage, settle} from './fakes.mjs';

// A server: what it does with a message is scripted, and it keeps what it stored by key.
function fakeServer() {
  const server = {
    stored: new Map(), tries: [], fail: () => null,
    async send(message, key) {
      server.tries.push(key);
      const error = server.fail(message);
      if (error) throw error;
      if (!server.stored.has(key)) {
        const at = new Date(1_795_248_000_000 + server.stored.size).toISOString();
        server.stored.set(key, {id: messageId(message, key), ...message, accepted_at: at});
      }
      return server.stored.get(key);
    },
  };
  return server;
}

function tab(shared, server, time, more) {
  const seen = [];
  const outbox = new Outbox({
    storage: shared.tab(), api: server, env: time.env(more),
    on: {changed() {}, stored: (message) => seen.push(message.id)},
  });
  return {outbox, seen};
}

const text = (text) => ({sender: 'ann', recipient: 'bob', text, timestamp: 1_795_248_000});
const texts = (server) => [...server.stored.values()].map((message) => message.text);

test('messages go out in order, one at a time, and leave nothing behind', async () => {
  const [shared, server, time] = [new SharedStorage(), fakeServer(), new FakeTime()];
  const {outbox, seen} = tab(shared, server, time);
  const items = ['one', 'two', 'three'].map((each) => outbox.add(text(each)));
  assert.equal(outbox.items('ann').length, 3);
  await settle();
  assert.deepEqual(texts(server), ['one', 'two', 'three']);
  assert.deepEqual(seen, items.map((item) => item.id)); // known before they were sent
  assert.deepEqual(shared.names, []);
});

test('without a server they wait, also through a reload, and go out once, in order', async () => {
  const [shared, server, time] = [new SharedStorage(), fakeServer(), new FakeTime()];
  server.fail = () => new ApiError(503, 'no node could take it');
  const before = tab(shared, server, time);
  before.outbox.add(text('one'));
  before.outbox.add(text('two'));
  await time.pass(20_000);
  assert.ok(server.tries.length > 2 && server.tries.length < 20, `${server.tries.length} tries`);
  assert.equal(before.outbox.items('ann')[0].waiting, 'no node could take it');
  assert.deepEqual(new Set(server.tries), new Set([before.outbox.items('ann')[0].key]));
  before.outbox.stop();

  const after = tab(shared, server, time);
  assert.deepEqual(after.outbox.items('ann').map((item) => item.message.text), ['one', 'two']);
  server.fail = () => null;
  after.outbox.start();
  await settle();
  assert.deepEqual(texts(server), ['one', 'two']);
  assert.deepEqual(shared.names, []);
});

test('an answer that was lost doubles nothing', async () => {
  const [shared, server, time] = [new SharedStorage(), fakeServer(), new FakeTime()];
  const send = server.send;
  let lost = 1;
  server.send = async (message, key) => {
    const answer = await send(message, key);
    if (lost-- > 0) throw new ApiError(0, 'the server did not answer in time');
    return answer;
  };
  const {outbox, seen} = tab(shared, server, time);
  outbox.add(text('once'));
  await time.pass(5_000);
  assert.equal(server.tries.length, 2);
  assert.equal(server.stored.size, 1);
  assert.equal(seen.length, 1);
});

test('a refused message says why, and holds up nobody', async () => {
  const [shared, server, time] = [new SharedStorage(), fakeServer(), new FakeTime()];
  server.fail = (message) => (message.text === 'bad' ? new ApiError(422, 'text: is bad') : null);
  const {outbox} = tab(shared, server, time);
  outbox.add(text('bad'));
  outbox.add(text('good'));
  await settle();
  assert.deepEqual(texts(server), ['good']);
  const [item] = outbox.items('ann');
  assert.equal(item.problem, 'text: is bad');
  assert.equal(outbox.waiting, 0);
  await time.pass(60_000);
  assert.equal(server.tries.length, 2); // it is not tried again by itself
  assert.equal(tab(shared, server, time).outbox.items('ann')[0].problem, 'text: is bad');

  server.fail = () => null;
  outbox.retry(item.key);
  await settle();
  assert.deepEqual(texts(server), ['good', 'bad']);
  assert.equal(server.tries.at(-1), item.key);
  outbox.add(text('gone'));
  assert.equal(outbox.drop(outbox.items('ann').at(-1).key).message.text, 'gone');
  assert.deepEqual(outbox.items('ann'), []);
});

test('two tabs share it: each shows each message, and none is stored twice', async () => {
  const [shared, server, time] = [new SharedStorage(), fakeServer(), new FakeTime()];
  server.fail = () => new ApiError(0, 'away');
  const [a, b] = [tab(shared, server, time), tab(shared, server, time)];
  a.outbox.add(text('from a'));
  b.outbox.add(text('from b'));
  await settle();
  assert.deepEqual(a.outbox.items('ann').map((item) => item.id), b.outbox.items('ann').map((item) => item.id));
  server.fail = () => null;
  a.outbox.hurry();
  b.outbox.hurry();
  await time.pass(10_000);
  assert.equal(server.stored.size, 2);
  for (const {outbox, seen} of [a, b]) {
    assert.deepEqual(outbox.items('ann'), []);
    assert.equal(new Set(seen).size, 2);
  }
  assert.deepEqual(shared.names, []);
});

test('what the feed shows as stored is sent no more', async () => {
  const [shared, server, time] = [new SharedStorage(), fakeServer(), new FakeTime()];
  server.fail = () => new ApiError(0, 'the server did not answer in time');
  const {outbox} = tab(shared, server, time);
  const {id} = outbox.add(text('x'));
  await settle();
  outbox.storedAs(id);
  const tries = server.tries.length;
  await time.pass(60_000);
  assert.equal(server.tries.length, tries);
  assert.deepEqual(shared.names, []);
});

test('it has a bound, and a full storage loses nothing while the page lives', async () => {
  const [shared, server, time] = [new SharedStorage(), fakeServer(), new FakeTime()];
  server.fail = () => new ApiError(0, 'away');
  const {outbox} = tab(shared, server, time);
  assert.equal(outbox.full('x'), '');
  assert.notEqual(outbox.full('x'.repeat(1_000_001)), '');
  shared.full = true;
  for (let i = 0; i < 200; ++i) outbox.add(text(`${i}`));
  assert.notEqual(outbox.full('x'), '');
  server.fail = () => null;
  outbox.hurry();
  await time.pass(60_000);
  assert.equal(server.stored.size, 200);
  assert.equal(outbox.waiting, 0);
});
