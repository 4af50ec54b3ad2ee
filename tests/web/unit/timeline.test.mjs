// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {rowsOf, Timeline} from '../../../client/web/timeline.js';
import {stored} from './fakes.mjs';

const ids = (timeline) => timeline.messages.map((message) => message.id);
const some = (n) => Array.from({length: n}, () => stored({}));
const page = (messages, next) => ({messages: [...messages].reverse(), next});

test('pages, live messages and repeats make one order without repeats', () => {
  const all = some(30);
  const timeline = new Timeline();
  timeline.reset(page(all.slice(20), 'c1'), {});
  assert.ok(timeline.hasOlder);
  timeline.prepend(page(all.slice(10, 22), 'c2'), {});
  timeline.merge([all[29], all[25]]);
  assert.equal(timeline.merge([all[29]]), false);
  timeline.prepend(page(all.slice(0, 10), null), {});
  assert.deepEqual(ids(timeline), all.map((message) => message.id));
  assert.ok(!timeline.hasOlder && !timeline.hasNewer);
});

test('those of one millisecond stay in the order of the server', () => {
  const at = '2026-11-21T12:00:00.000Z';
  const all = ['k', 'c', 'x', 'a', 'm', 'b', 'z', 'e'].map((id) => stored({id, accepted_at: at}));
  const timeline = new Timeline(7);
  timeline.reset(page(all.slice(4, 6), 'c1'), {});
  timeline.prepend(page(all.slice(2, 6), 'c2'), {});
  timeline.merge([all[6]]);
  timeline.prepend(page(all.slice(0, 3), null), {});
  assert.deepEqual(ids(timeline), all.slice(0, 7).map((message) => message.id));
  timeline.prepend(page([stored({id: 'o', accepted_at: '2026-11-21T11:00:00.000Z'})], null), {});
  timeline.append({messages: all.slice(5), next: null}, {});
  assert.deepEqual(ids(timeline), all.slice(1).map((message) => message.id));
});

test('the window has a bound at both ends, and says what it dropped', () => {
  const all = some(40);
  const timeline = new Timeline(10);
  timeline.reset(page(all.slice(30), 'c1'), {query: 1});
  timeline.prepend(page(all.slice(25, 30), 'c2'), {query: 1});
  assert.deepEqual(ids(timeline), all.slice(25, 35).map((message) => message.id));
  assert.ok(timeline.hasNewer);
  // What comes live is after the hole.
  assert.equal(timeline.merge(some(1)), false);
  timeline.append({messages: all.slice(35, 40), next: null}, {});
  assert.deepEqual(ids(timeline), all.slice(30, 40).map((message) => message.id));
  assert.ok(!timeline.hasNewer && timeline.hasOlder);
  assert.equal(timeline.walk, null); // it must begin below what is held
  timeline.merge(some(1));
  assert.equal(timeline.messages.length, 10);
});

test('a late message is shown in its place if that is held, and not before', () => {
  const all = some(10);
  const timeline = new Timeline();
  timeline.reset(page(all.slice(5), 'c'), {});
  assert.equal(timeline.merge([all[2]]), false);
  timeline.prepend(page([all[0], all[1], all[3], all[4]], null), {});
  assert.equal(timeline.merge([all[2]]), true);
  assert.deepEqual(ids(timeline), all.map((message) => message.id));
});

test('a place becomes earlier, never later', () => {
  const [a, b] = some(2);
  const timeline = new Timeline();
  timeline.reset(page([a, b], null), {});
  timeline.merge([{...a, accepted_at: '2099-01-01T00:00:00.000Z'}]);
  assert.deepEqual(ids(timeline), [a.id, b.id]);
  timeline.merge([{...b, accepted_at: '2000-01-01T00:00:00.000Z'}]);
  assert.deepEqual(ids(timeline), [b.id, a.id]);
});

test('rows: days, groups of one sender, and the outbox at the end, each once', () => {
  const at = (minutes) => new Date(2026, 10, 21, 12, minutes).toISOString();
  const messages = [
    stored({sender: 'ann', accepted_at: new Date(2026, 10, 20, 9).toISOString()}),
    stored({sender: 'ann', accepted_at: at(0)}), stored({sender: 'ann', accepted_at: at(1)}),
    stored({sender: 'bob', accepted_at: at(2)}), stored({sender: 'bob', accepted_at: at(40)}),
  ];
  const item = (id) => ({id, message: {sender: 'ann', text: 'x', timestamp: new Date(2026, 10, 21, 12, 41) / 1000}});
  const rows = rowsOf(messages, [item(messages[4].id), item('new')], 'ann');
  assert.deepEqual(rows.map((row) => row.kind === 'day' ? 'day'
    : `${row.message.sender}${row.first ? ' first' : ''}${row.last ? ' last' : ''}${row.item ? ' unsent' : ''}`), [
    'day', 'ann first last', 'day', 'ann first', 'ann last', 'bob first last', 'bob first last',
    'ann first last unsent']);
  assert.equal(new Set(rows.map((row) => row.key)).size, rows.length);
});
