// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import test from 'node:test';

import {cleanName, cleanText, keyMs, messageId, nameProblem, newKey, textProblem} from
  '../../../client/web/identity.js';
import {sha256} from '../../../client/web/sha256.js';

test('SHA-256 agrees with another implementation, at every length around its blocks', () => {
  for (let length = 0; length < 260; ++length) {
    const bytes = crypto.randomBytes(length);
    assert.equal(Buffer.from(sha256(bytes)).toString('hex'),
      crypto.createHash('sha256').update(bytes).digest('hex'), `${length} bytes`);
  }
});

test('ids are those of the protocol', () => {
  const vectors = JSON.parse(fs.readFileSync(new URL('../../data/protocol_vectors.json', import.meta.url)));
  assert.ok(vectors.messages.length > 3);
  for (const {name, message: {key, ...message}, id} of vectors.messages) {
    assert.equal(messageId(message, key), id, name);
  }
});

test('keys are UUIDv7 with their time, and each is later than the one before', () => {
  const now = 1_795_248_000_123;
  const first = newKey(now);
  assert.match(first, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(keyMs(first), now);
  let last = first;
  for (let i = 0; i < 100; ++i) {
    const key = newKey(now - i); // a clock that is set back
    assert.ok(key > last);
    last = key;
  }
  assert.equal(keyMs(newKey(now, now + 5000)), now + 5001);
});

test('names and texts are cleaned, and judged by their bytes', () => {
  assert.equal(cleanName('  a\u0000b\u0085c\t '), 'a b c');
  assert.equal(cleanName('e\u0301'), '\u00e9');
  assert.equal(cleanName('\ud83d'), '\ufffd');
  assert.notEqual(nameProblem(''), '');
  assert.equal(nameProblem('\u00e9'.repeat(128)), '');
  assert.notEqual(nameProblem('\u00e9'.repeat(129)), '');
  assert.equal(cleanText('\n\n  one\r\ntwo\0 \n'), '  one\ntwo');
  assert.equal(cleanText(' \n\t'), '');
  assert.equal(textProblem('\u6f22'.repeat(21845)), '');
  assert.notEqual(textProblem('\u6f22'.repeat(21846)), '');
});
