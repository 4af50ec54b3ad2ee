// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {dayOf, hueOf, initialsOf, partsOf} from '../../../client/web/format.js';
import {describe} from '../../../client/web/network.js';
import {Storage} from '../../../client/web/storage.js';

const node = (more) => ({
  id: '0', address: '127.0.0.1:8081', state: 'ready', lag: 0, latency_ms: {p50: 1.5, p99: 2}, ...more});
const network = (...nodes) => ({
  nodes, total: nodes.length, ready: nodes.filter((each) => each.state === 'ready').length});

test('the line about the network says what is', () => {
  const say = (more) => describe({
    network: network(node(), node()), reachable: true, live: 'socket', unsent: 0, ...more});
  assert.deepEqual([say().level, say().text], ['ok', '2 nodes up · in sync · live']);
  assert.equal(say({live: 'events'}).level, 'ok');
  assert.equal(say({live: 'waiting'}).level, 'warn');
  const some = say({network: network(node({lag: 3}), node({state: 'down', lag: null}))});
  assert.deepEqual([some.level, some.text], ['warn', '1 of 2 nodes up · 3 records behind · live']);
  assert.match(some.detail, /Node 0: up, 3 records behind, 1.5 ms\nNode 0: down/);
  const none = say({network: network(node({state: 'down', id: null})), unsent: 2});
  assert.deepEqual([none.level, none.text],
    ['down', 'The only node is down. 2 messages kept here, to be sent later.']);
  assert.equal(say({network: null, reachable: false, live: 'connecting'}).level, 'unknown');
  assert.equal(say({reachable: false}).level, 'down');
});

test('links are found without what surrounds them, and only those of the web', () => {
  const links = (text) => partsOf(text).filter((part) => part.link).map((part) => part.link);
  const all = (text) => partsOf(text).map((part) => part.text).join('');
  for (const [text, ...found] of [
    ['see https://a.example/b?c=d#e.', 'https://a.example/b?c=d#e'],
    ['(http://a.example/x_(y)), and', 'http://a.example/x_(y)'],
    ['javascript:alert(1) data:text/html,x ftp://a file:///etc'],
    ['<a href="https://a.example/">x</a>', 'https://a.example/'],
    ['https:// http://'], [''],
    ['漢字 https://a.example/漢字 و', 'https://a.example/漢字'],
  ]) {
    assert.deepEqual(links(text), found, text);
    assert.equal(all(text), text);
  }
});

test('days and initials', () => {
  const now = new Date(2026, 10, 21, 0, 30);
  assert.equal(dayOf(new Date(2026, 10, 21, 0, 1), now), 'Today');
  assert.equal(dayOf(new Date(2026, 10, 20, 23, 59), now), 'Yesterday');
  assert.match(dayOf(new Date(2025, 10, 20), now), /2025/);
  assert.equal(initialsOf('ann lee'), 'AL');
  assert.equal(initialsOf('bob'), 'B');
  assert.equal(initialsOf('👩‍👩‍👧 family'), '👩‍👩‍👧');
  assert.equal(initialsOf('王 小明'), '王');
  assert.equal(initialsOf('...'), '?');
  assert.equal(hueOf('ann'), hueOf('ann'));
});

test('a browser that keeps nothing still has a page that works', () => {
  const broken = {
    getItem() { throw new Error('no'); }, setItem() { throw new Error('no'); },
    removeItem() { throw new Error('no'); }, key() { throw new Error('no'); }, length: 1};
  for (const kept of [null, broken]) {
    const storage = new Storage(kept);
    assert.equal(storage.set('a/1', {x: 1}), false);
    assert.deepEqual(storage.get('a/1'), {x: 1});
    assert.deepEqual(storage.names('a/'), ['a/1']);
    storage.remove('a/1');
    assert.equal(storage.get('a/1'), undefined);
  }
});
