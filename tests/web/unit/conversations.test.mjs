// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {Conversations, conversationOf, filterOf, kMaxConversations, parseKey} from
  '../../../client/web/conversations.js';
import {stored} from './fakes.mjs';

const fromBob = (more) => stored({sender: 'bob', recipient: 'ann', ...more});

test('a message belongs to the other person, or to the room', () => {
  assert.equal(conversationOf(stored({}), 'ann'), 'user:bob');
  assert.equal(conversationOf(stored({}), 'bob'), 'user:ann');
  assert.equal(conversationOf(stored({room: 'tea', recipient: undefined}), 'bob'), 'room:tea');
  assert.deepEqual(parseKey('room:a:b\nc'), {kind: 'room', name: 'a:b\nc'});
  assert.equal(parseKey('planet:mars'), null);
  assert.deepEqual(filterOf('user:bob', 'ann'), {participant: ['ann', 'bob']});
  assert.deepEqual(filterOf('user:ann', 'ann'), {sender: 'ann', recipient: 'ann'});
});

test('unread: others count, one\'s own answer reads all', () => {
  const all = new Conversations('ann');
  all.note(fromBob());
  all.note(fromBob());
  assert.equal(all.get('user:bob').unread, 2);
  assert.equal(all.unread, 2);
  all.note(stored({}));
  assert.equal(all.unread, 0);
  all.note(fromBob());
  assert.ok(all.markRead('user:bob', all.get('user:bob').last));
  assert.ok(!all.markRead('user:bob', all.get('user:bob').last));
  assert.equal(all.unread, 0);
});

test('what a list tells of is counted once when the feed brings it', () => {
  const all = new Conversations('ann');
  const [one, two] = [fromBob(), fromBob()];
  all.noteLast(two);
  assert.equal(all.get('user:bob').unread, 1);
  all.note(one);
  all.note(two);
  assert.equal(all.get('user:bob').unread, 2);
  all.noteLast(two);
  assert.equal(all.get('user:bob').unread, 2);
});

test('marks of another tab, and a reload', () => {
  const all = new Conversations('ann');
  const message = fromBob();
  all.note(message);
  const again = new Conversations('ann', JSON.parse(JSON.stringify(all.saved())), {});
  assert.equal(again.unread, 1);
  again.takeRead({'user:bob': {id: message.id, accepted_at: message.accepted_at}, 'user:eve': null});
  assert.equal(again.unread, 0);
  again.note(message); // the feed repeats it: it has been read
  assert.equal(again.unread, 0);
});

test('what was taken from the list stays away until something new is said', () => {
  const all = new Conversations('ann');
  const message = fromBob();
  all.note(message);
  all.leave('user:bob');
  all.noteLast(message);
  const again = new Conversations('ann', JSON.parse(JSON.stringify(all.saved())));
  again.noteLast(message);
  assert.equal(again.sorted().length, 0);
  again.note(fromBob());
  assert.equal(again.sorted().length, 1);
  again.leave('user:bob');
  again.open('user:bob');
  assert.equal(again.sorted().length, 1);
});

test('two tabs: what one opens or leaves, the other does too', () => {
  const [a, b] = [new Conversations('ann'), new Conversations('ann')];
  for (const all of [a, b]) all.note(fromBob({accepted_at: '2026-11-21T12:00:00.000Z'}));
  a.open('room:tea');
  b.takeSaved(a.saved(), null);
  assert.ok(b.get('room:tea'));
  b.leave('user:bob');
  b.leave('room:tea');
  a.takeSaved(b.saved(), 'room:tea');
  assert.ok(!a.get('user:bob') && a.get('room:tea'));
});

test('the list has a bound, and a preview too', () => {
  const all = new Conversations('ann');
  for (let i = 0; i < kMaxConversations + 50; ++i) all.note(fromBob({sender: `bob${i}`}));
  all.note(fromBob({text: '😀'.repeat(5000)}));
  assert.equal(all.sorted().length, kMaxConversations);
  assert.equal(all.sorted()[0].name, 'bob');
  assert.ok(all.sorted()[0].last.text.length <= 320);
  assert.ok(!all.get('user:bob0'));
});
