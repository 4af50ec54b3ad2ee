// SPDX-License-Identifier: MIT
// Real nodes behind a real proxy, and a relay before it that can be cut, on free ports; gone at the
// end. Nothing sleeps: everything waits for what it needs, with a deadline.
'use strict';
const {spawn} = require('child_process');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');

const kPatienceMs = 30_000;
const kPollMs = 40;

/** The first true value of `condition()`; what it throws is a "not yet". */
async function until(condition, what, patienceMs = kPatienceMs) {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    let last;
    try {
      const value = await condition();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`not within ${patienceMs} ms: ${what}${last ? `; last: ${last.message}` : ''}`);
    }
    await new Promise((resolve) => setTimeout(resolve, kPollMs));
  }
}

class Program {
  lines = [];

  constructor(binary, args, cwd) {
    this.name = path.basename(binary);
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith('CHATCHAIN_')));
    this.child = spawn(binary, args, {cwd, env, stdio: ['ignore', 'ignore', 'pipe']});
    this.ended = new Promise((resolve) => this.child.on('close', resolve));
    this.listening = new Promise((resolve, reject) => {
      let text = '';
      this.child.stderr.on('data', (data) => {
        text += data;
        const lines = text.split('\n');
        text = lines.pop();
        this.lines.push(...lines);
        this.lines.splice(0, this.lines.length - 60);
        for (const line of lines) {
          const [, address] = /listening on (\S+)/.exec(line) ?? [];
          if (address) resolve(address);
        }
      });
      this.child.on('error', reject);
      this.ended.then(() => reject(new Error(`${this.name} ended: ${this.lines.join('\n')}`)));
    });
    this.listening.catch(() => {});
  }

  async end(signal) {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    const late = setTimeout(() => this.child.kill('SIGKILL'), 15_000);
    await this.ended;
    clearTimeout(late);
    return this.child.exitCode;
  }
}

/** Passes on what comes, until it is cut or closed. */
class Relay {
  #sockets = new Set();

  async start(target) {
    const [host, port] = target.split(':');
    this.server = net.createServer((near) => {
      const far = net.connect(Number(port), host);
      for (const [from, to] of [[near, far], [far, near]]) {
        this.#sockets.add(from);
        from.on('close', () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.on('error', () => {});
        from.pipe(to);
      }
    });
    await this.open();
    return this.address;
  }

  /** Listens; on the same port each time. */
  async open() {
    await new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(Number(this.address?.split(':')[1] ?? 0), '127.0.0.1', resolve);
    });
    this.address = `127.0.0.1:${this.server.address().port}`;
  }

  /** Ends all connections; new ones are welcome. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nobody comes through any more. */
  async close() {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.cut();
    await closed;
  }
}

async function freePorts(count) {
  const servers = await Promise.all(Array.from({length: count}, () => new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => resolve(server));
  })));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

class World {
  nodes = [];
  relay = new Relay();
  #addresses = [];

  constructor(binDir) {
    this.binDir = binDir;
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'chatchain-page-'));
  }

  async start(count) {
    // Somebody else may have taken a port between the look and the start.
    for (let tries = 3; ; --tries) {
      this.#addresses = (await freePorts(count)).map((port) => `127.0.0.1:${port}`);
      try {
        await Promise.all(this.#addresses.map((_, i) => this.startNode(i)));
        break;
      } catch (error) {
        await Promise.all(this.nodes.map((node) => node.end('SIGKILL')));
        if (tries === 1) throw error;
      }
    }
    this.proxy = new Program(path.join(this.binDir, 'chatchain-client'),
      ['--nodes', this.#addresses.join(','), '--listen', '127.0.0.1:0'], this.directory);
    this.address = await this.relay.start(await this.proxy.listening);
    this.origin = `http://${this.address}`;
    await this.untilReady(count);
  }

  async startNode(i) {
    const peers = this.#addresses.filter((_, each) => each !== i).join(',');
    this.nodes[i] = new Program(path.join(this.binDir, 'chatchain-node'),
      ['--node-id', String(i), '--peers', peers, '--listen', this.#addresses[i], '--data-dir',
        path.join(this.directory, `node-${i}`)], this.directory);
    await this.nodes[i].listening;
  }

  async kill(i) {
    await this.nodes[i].end('SIGKILL');
  }

  untilReady(count) {
    return until(async () => (await this.get('/network')).ready === count, `${count} nodes are ready`);
  }

  async get(target) {
    const response = await fetch(this.origin + target, {signal: AbortSignal.timeout(10_000)});
    if (!response.ok) throw new Error(`${target}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  async post(target, body) {
    const response = await fetch(this.origin + target, {
      method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body),
      signal: AbortSignal.timeout(20_000)});
    if (!response.ok) throw new Error(`${target}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  say(sender, to, text) {
    return this.post('/messages', {sender, ...to, text});
  }

  log() {
    return [this.proxy, ...this.nodes].filter(Boolean)
      .map((program) => `${program.name}:\n  ${program.lines.slice(-10).join('\n  ')}`).join('\n');
  }

  async stop() {
    await this.relay.close().catch(() => {});
    await Promise.all([this.proxy, ...this.nodes].filter(Boolean).map((each) => each.end('SIGTERM')));
    fs.rmSync(this.directory, {recursive: true, force: true});
  }
}

module.exports = {until, World};
