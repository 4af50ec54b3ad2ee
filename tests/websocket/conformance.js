// SPDX-License-Identifier: MIT
// The cases of RFC 6455 and RFC 7692 that a server can be seen to keep or break, against
// chatchain-ws-echo and /ws of a node. Well-formed traffic comes from the client `ws`, malformed
// traffic from a plain socket.
'use strict';
const assert = require('assert');
const {spawn} = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const WebSocket = require('ws');

const binDir = process.argv[2];
const kPatienceMs = 15000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`too late: ${what}`)), kPatienceMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function start(program, args) {
  const child = spawn(path.join(binDir, program), args, {stdio: ['ignore', 'ignore', 'pipe']});
  const listening = new Promise((resolve, reject) => {
    let said = '';
    child.stderr.on('data', (data) => {
      said += data;
      const line = said.match(/listening on (\S+)/);
      if (line) resolve(line[1]);
    });
    child.on('exit', () => reject(new Error(`${program} ended: ${said}`)));
  });
  return within(listening, program).then((address) => ({child, address}));
}

function open(url, options) {
  const socket = new WebSocket(url, options);
  return within(new Promise((resolve, reject) => {
    socket.on('open', () => resolve(socket));
    socket.on('unexpected-response', (_, response) => resolve({refused: response}));
    socket.on('error', reject);
  }), 'open');
}

const message = (socket) => within(new Promise((resolve) => {
  socket.once('message', (data, binary) => resolve({data, binary}));
}), 'message');
const closed = (socket) => within(new Promise((resolve) => {
  socket.once('close', (code, reason) => resolve({code, reason: reason.toString()}));
}), 'close');

async function echoes(socket, data) {
  const answer = message(socket);
  socket.send(data);
  const {data: got, binary} = await answer;
  assert.strictEqual(binary, Buffer.isBuffer(data));
  assert.ok(Buffer.from(data).equals(Buffer.from(got)), `${data.length} bytes come back`);
}

// A plain socket that has been upgraded; frames as they are told.
function raw(address) {
  const [host, port] = address.split(':');
  const socket = net.connect(Number(port), host);
  const key = crypto.randomBytes(16).toString('base64');
  socket.write(`GET / HTTP/1.1\r\nHost: ${address}\r\nConnection: keep-alive, Upgrade\r\n` +
      `Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`);
  return within(new Promise((resolve, reject) => {
    let input = Buffer.alloc(0);
    const onData = (data) => {
      input = Buffer.concat([input, data]);
      const end = input.indexOf('\r\n\r\n');
      if (end < 0) return;
      socket.off('data', onData);
      const head = input.subarray(0, end).toString();
      const accept = crypto.createHash('sha1')
          .update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
      if (!head.startsWith('HTTP/1.1 101') || !head.includes(accept)) return reject(new Error(head));
      resolve({socket, rest: input.subarray(end + 4)});
    };
    socket.on('data', onData);
    socket.on('error', () => {});
  }), 'upgrade');
}

function frame(first, payload, {mask = true, length} = {}) {
  const body = Buffer.from(payload);
  const size = length === undefined ? body.length : length;
  const head = size < 126 ? Buffer.from([first, (mask ? 0x80 : 0) | size])
                          : Buffer.from([first, (mask ? 0x80 : 0) | 126, size >> 8, size & 255]);
  if (!mask) return Buffer.concat([head, body]);
  const key = Buffer.from([1, 2, 3, 4]);
  return Buffer.concat([head, key, Buffer.from(body.map((byte, i) => byte ^ key[i % 4]))]);
}

// All until the end, as [first byte, payload] of each frame.
function framesToEnd({socket, rest}) {
  return within(new Promise((resolve) => {
    let input = rest;
    socket.on('data', (data) => { input = Buffer.concat([input, data]); });
    socket.on('close', () => {
      const frames = [];
      while (input.length >= 2) {
        let size = input[1] & 127;
        let head = 2;
        if (size === 126) {
          size = input.readUInt16BE(2);
          head = 4;
        }
        frames.push([input[0], input.subarray(head, head + size)]);
        input = input.subarray(head + size);
      }
      resolve(frames);
    });
  }), 'end of the connection');
}

// What is sent must end the connection with that close code.
async function breaks(address, code, ...bytes) {
  const connection = await raw(address);
  const end = framesToEnd(connection);
  connection.socket.write(Buffer.concat(bytes));
  const frames = await end;
  const last = frames[frames.length - 1];
  assert.ok(last && (last[0] & 15) === 8, `a close frame, not ${JSON.stringify(frames)}`);
  assert.strictEqual(last[1].readUInt16BE(0), code);
  return frames;
}

const cases = {
  async 'messages of every length form come back'({url}) {
    const socket = await open(url, {perMessageDeflate: false});
    for (const size of [0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20]) {
      await echoes(socket, 'x'.repeat(size));
      await echoes(socket, crypto.randomBytes(size));
    }
    socket.close();
  },
  async 'permessage-deflate is taken up, and its messages come back'({url}) {
    for (const options of [true, {clientMaxWindowBits: 10}, {serverNoContextTakeover: true}]) {
      const socket = await open(url, {perMessageDeflate: options});
      assert.match(socket.extensions, /permessage-deflate/);
      for (const size of [0, 1, 100, 5000, 70000, 1 << 20]) {
        await echoes(socket, 'compress me '.repeat(size / 12 + 1));
        await echoes(socket, crypto.randomBytes(size));
      }
      socket.close();
    }
  },
  async 'a fragmented message, with a ping in between'({url}) {
    const socket = await open(url, {perMessageDeflate: false});
    const pong = within(new Promise((resolve) => socket.once('pong', resolve)), 'pong');
    const answer = message(socket);
    socket.send('one ', {fin: false});
    socket.send('two ', {fin: false});
    socket.ping('in between');
    socket.send('three', {fin: true});
    assert.strictEqual((await pong).toString(), 'in between');
    assert.strictEqual((await answer).data.toString(), 'one two three');
    socket.close();
  },
  async 'many at once come back in order'({url}) {
    const socket = await open(url);
    const got = [];
    const all = within(new Promise((resolve) => {
      socket.on('message', (data) => got.push(data.toString()) === 500 && resolve());
    }), '500 messages');
    for (let i = 0; i < 500; ++i) socket.send(`${i}`);
    await all;
    assert.deepStrictEqual(got, Array.from({length: 500}, (_, i) => `${i}`));
    socket.close();
  },
  async 'close codes that may be sent are answered'({url}) {
    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999]) {
      const socket = await open(url);
      const end = closed(socket);
      socket.close(code, 'why');
      assert.strictEqual((await end).code, code);
    }
  },
  async 'an empty close is answered'({url}) {
    const socket = await open(url);
    const end = closed(socket);
    socket.close();
    assert.ok([1000, 1005].includes((await end).code));
  },
  async 'close codes that must not be sent break the connection'({address}) {
    for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999]) {
      await breaks(address, 1002, frame(0x88, [code >> 8, code & 255]));
    }
  },
  async 'a close of one byte, or with a reason that is no UTF-8, breaks it'({address}) {
    await breaks(address, 1002, frame(0x88, [3]));
    await breaks(address, 1007, frame(0x88, [3, 232, 0xc3, 0x28])).catch(
        () => breaks(address, 1002, frame(0x88, [3, 232, 0xc3, 0x28])));
  },
  async 'frames that are not masked break it'({address}) {
    await breaks(address, 1002, frame(0x81, 'hello', {mask: false}));
  },
  async 'reserved bits and opcodes break it'({address}) {
    for (const first of [0xc1, 0xa1, 0x91, 0x83, 0x84, 0x87, 0x8b, 0x8f]) {
      await breaks(address, 1002, frame(first, 'x'));
    }
  },
  async 'control frames are whole and short'({address}) {
    await breaks(address, 1002, frame(0x09, 'a ping in two parts'));
    await breaks(address, 1002, frame(0x89, 'x'.repeat(126)));
  },
  async 'continuations follow beginnings'({address}) {
    await breaks(address, 1002, frame(0x80, 'nothing began'));
    await breaks(address, 1002, frame(0x01, 'a'), frame(0x81, 'b'));
  },
  async 'a text that is no UTF-8 breaks it, also across frames'({address}) {
    await breaks(address, 1007, frame(0x81, [0xff]));
    await breaks(address, 1007, frame(0x81, [0xed, 0xa0, 0x80]));  // a surrogate
    await breaks(address, 1007, frame(0x81, [0xc0, 0xaf]));        // overlong
    await breaks(address, 1007, frame(0x81, [0xe2, 0x82]));        // cut off
    await breaks(address, 1007, frame(0x01, [0xce, 0xba]), frame(0x80, [0xff]));
  },
  async 'a character may be cut by frames'({address}) {
    const connection = await raw(address);
    const end = framesToEnd(connection);
    const text = Buffer.from('κόσμε 😀');
    const parts = [...text].map((byte, i) => frame(
        (i === 0 ? 1 : 0) | (i === text.length - 1 ? 0x80 : 0), [byte]));
    connection.socket.write(Buffer.concat([...parts, frame(0x88, [3, 232])]));
    const frames = await end;
    assert.deepStrictEqual(frames[0][1], text);
    assert.strictEqual(frames[frames.length - 1][1].readUInt16BE(0), 1000);
  },
  async 'bytes that come one by one make frames'({address}) {
    const connection = await raw(address);
    const end = framesToEnd(connection);
    connection.socket.setNoDelay(true);
    for (const byte of Buffer.concat([frame(0x81, 'slow'), frame(0x88, [3, 232])])) {
      connection.socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.strictEqual((await end)[0][1].toString(), 'slow');
  },
  async 'an unsolicited pong is nothing'({url}) {
    const socket = await open(url);
    socket.pong('hello?');
    await echoes(socket, 'still here');
    socket.close();
  },
};

const nodeCases = {
  async 'a foreign page may not connect, others may'({address}) {
    const url = `ws://${address}/ws`;
    assert.strictEqual((await open(url, {origin: 'https://evil.example'})).refused.statusCode, 403);
    for (const origin of [undefined, `http://${address}`, 'https://chat.example']) {
      const socket = await open(url, {origin});
      assert.ok(!socket.refused, String(origin));
      socket.close();
    }
  },
  async 'a message over the limit is refused with 1009'({address}) {
    const socket = await open(`ws://${address}/ws`);
    const end = closed(socket);
    socket.on('error', () => {});
    socket.send('x'.repeat((1 << 20) + 1));
    assert.strictEqual((await end).code, 1009);
  },
  async 'a binary message is refused with 1003'({address}) {
    const socket = await open(`ws://${address}/ws`);
    const end = closed(socket);
    socket.send(Buffer.from([1]));
    assert.strictEqual((await end).code, 1003);
  },
  async 'what is sent is answered and comes to who follows'({address}) {
    const socket = await open(`ws://${address}/ws`, {perMessageDeflate: true});
    const said = [];
    const both = within(new Promise((resolve) => socket.on('message', (data) => {
      said.push(JSON.parse(data));
      if (said.some((each) => each.op === 'sent') && said.some((each) => each.op === 'message')) {
        resolve();
      }
    })), 'sent and message');
    socket.send(JSON.stringify({op: 'subscribe', room: 'tea'}));
    const deadline = Date.now() + kPatienceMs;
    while (!said.some((each) => each.op === 'subscribed')) {
      assert.ok(Date.now() < deadline, 'too late: subscribed');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const text = 'מה שלומך 😀';
    socket.send(JSON.stringify(
        {op: 'send', ref: 7, key: 'k-1', message: {sender: 'zoë', room: 'tea', text}}));
    await both;
    const sent = said.find((each) => each.op === 'sent');
    assert.strictEqual(sent.ref, 7);
    assert.strictEqual(sent.status, 201);
    assert.strictEqual(sent.message.text, text);
    assert.deepStrictEqual(said.find((each) => each.op === 'message').message, sent.message);
    const end = closed(socket);
    socket.close(1000);
    assert.strictEqual((await end).code, 1000);
  },
  async 'what is no operation is refused, and the connection lives'({address}) {
    const socket = await open(`ws://${address}/ws`);
    for (const [text, status, ref] of [
      ['nonsense', 400], ['[]', 400], ['{"op":"fly","ref":"r"}', 422, 'r'], ['{}', 422],
      ['{"op":"ping","x":1}', 400], ['{"op":"subscribe","after":"nonsense"}', 400],
      ['{"op":"subscribe","order":"desc"}', 400], ['{"op":"subscribe","sender":""}', 422],
      ['{"op":"send","ref":1}', 422, 1], ['{"op":"send","ref":2,"message":{"sender":"a"}}', 422, 2],
    ]) {
      const answer = message(socket);
      socket.send(text);
      const error = JSON.parse((await answer).data);
      assert.strictEqual(error.op, 'error', text);
      assert.strictEqual(error.problem.status, status, text);
      assert.strictEqual(error.ref, ref, text);
    }
    const pong = message(socket);
    socket.send('{"op":"ping","ref":"here"}');
    assert.deepStrictEqual(JSON.parse((await pong).data), {op: 'pong', ref: 'here'});
    socket.close();
  },
};

async function run(group, where) {
  let failed = 0;
  for (const [name, test] of Object.entries(group)) {
    try {
      await test(where);
      console.log(`ok    ${name}`);
    } catch (error) {
      ++failed;
      console.log(`FAIL  ${name}\n      ${error.stack}`);
    }
  }
  return failed;
}

(async () => {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'chatchain-ws-'));
  const children = [];
  let failed = 0;
  try {
    const echo = await start('chatchain-ws-echo', ['127.0.0.1:0']);
    children.push(echo.child);
    failed += await run(cases, {address: echo.address, url: `ws://${echo.address}/`});
    const config = path.join(scratch, 'config.toml');
    fs.writeFileSync(config, '[node]\ncors_origins = ["https://chat.example"]\n');
    const node = await start('chatchain-node', [
      '--config', config, '--node-id', '0', '--peers', '', '--listen', '127.0.0.1:0',
      '--data-dir', path.join(scratch, 'data'),
    ]);
    children.push(node.child);
    failed += await run(nodeCases, {address: node.address});
  } catch (error) {
    ++failed;
    console.log(error.stack);
  }
  for (const child of children) child.kill('SIGKILL');
  fs.rmSync(scratch, {recursive: true, force: true});
  process.exit(failed === 0 ? 0 : 1);
})();
