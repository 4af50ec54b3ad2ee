// SPDX-License-Identifier: MIT
// What a message is: its rules, its key and its id. The id follows from the content and the key
// (docs/protocol.md), so the page knows it before anybody has answered: an echo, the answer to it,
// the same message from the feed and the same one sent by another tab are one by comparing ids.

import {sha256} from './sha256.js';

export const kNameMaxBytes = 256;
export const kTextMaxBytes = 65536;

const encoder = new TextEncoder();
const kControl = /[\u0000-\u001f\u007f-\u009f]/g;

// Lone surrogates, which are in no UTF-8, become U+FFFD.
const wellFormed = (text) => new TextDecoder().decode(encoder.encode(text));

/** A name as it is kept: without control characters and outer spaces, in one normal form. */
export function cleanName(text) {
  return wellFormed(text.replace(kControl, ' ')).normalize('NFC').trim();
}

/** A text as it is sent; empty where there is nothing to send. */
export function cleanText(text) {
  return wellFormed(text.replaceAll('\0', '').replace(/\r\n?/g, '\n')).replace(/^\n+|\s+$/g, '');
}

/** Why not, as a sentence; empty where it is fine. */
export function nameProblem(name) {
  if (name === '') return 'Please enter a name.';
  if (encoder.encode(name).length > kNameMaxBytes) return 'This name is too long.';
  return '';
}

export function textProblem(text) {
  const bytes = encoder.encode(text).length;
  if (bytes <= kTextMaxBytes) return '';
  return `This message is too long: ${bytes} bytes, and ${kTextMaxBytes} at most.`;
}

let lastKeyMs = 0;

/**
 * A UUIDv7 (RFC 9562). Each is later than the one before, whatever the clock does: keys, and the ids
 * that begin with their time, sort as the messages were written.
 */
export function newKey(nowMs, afterMs = 0) {
  lastKeyMs = Math.max(nowMs, lastKeyMs + 1, afterMs + 1);
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 0; i < 6; ++i) bytes[i] = Math.floor(lastKeyMs / 2 ** (8 * (5 - i))) % 256;
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

const kUuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
export const isKey = (text) => kUuid7.test(text);

/** The time in a key of newKey(). */
export const keyMs = (key) => parseInt(key.replace('-', '').slice(0, 12), 16);

const kVersion = 'chatchain.message.v1';

function sized(bytes) {
  const out = new Uint8Array(4 + bytes.length);
  new DataView(out.buffer).setUint32(0, bytes.length);
  out.set(bytes, 4);
  return out;
}

function bigEndian64(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, BigInt(number));
  return bytes;
}

function base32(bytes) {
  const digits = '0123456789abcdefghjkmnpqrstvwxyz';
  let text = '';
  for (let bit = 0; bit < 8 * bytes.length; bit += 5) {
    const pair = (bytes[bit >> 3] << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    text += digits[(pair >> (11 - (bit & 7))) & 31];
  }
  return text;
}

/** The id that every node gives to this message. */
export function messageId({sender, recipient = '', room = '', text, timestamp}, key) {
  const has = timestamp !== undefined;
  const parts = [
    ...[kVersion, sender, recipient, room, text].map((part) => sized(encoder.encode(part))),
    sized(has ? bigEndian64(timestamp) : new Uint8Array(0)),
    sized(encoder.encode(key)),
  ];
  const canonical = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    canonical.set(part, at);
    at += part.length;
  }
  const ms = isKey(key) ? keyMs(key) : has ? timestamp * 1000 : 0;
  const id = new Uint8Array(22);
  id.set(bigEndian64(Math.min(Math.max(ms, 0), 2 ** 48 - 1)).subarray(2));
  id.set(sha256(canonical).subarray(0, 16), 6);
  return base32(id);
}
