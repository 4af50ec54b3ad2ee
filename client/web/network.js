// SPDX-License-Identifier: MIT
// What the quiet line says of the network, in words for people. Pure.

import {plural} from './format.js';

/**
 * `network`: what /network answered, or null; `reachable`: whether it did; `live`: 'socket', 'events',
 * 'connecting' or 'waiting'; `unsent`: messages that wait.
 * -> {level: 'ok' | 'warn' | 'down' | 'unknown', text, detail}; `detail`: one line a node.
 */
export function describe({network, reachable, live, unsent}) {
  const kept = unsent > 0
    ? ` ${plural(unsent, 'message')} kept here, to be sent later.`
    : ' What you write is kept here and sent later.';
  if (!reachable) {
    if (network === null && live === 'connecting') {
      return {level: 'unknown', text: 'Connecting…', detail: ''};
    }
    return {level: 'down', text: `The server cannot be reached.${kept}`, detail: ''};
  }
  const {nodes, ready, total} = network;
  const detail = nodes.map(describeNode).join('\n');
  if (ready === 0) {
    const all = total === 1 ? 'The only node is down.' : `All ${total} nodes are down.`;
    return {level: 'down', text: all + kept, detail};
  }
  const up = ready === total ? plural(total, 'node') + ' up' : `${ready} of ${total} nodes up`;
  const lag = Math.max(0, ...nodes.map((node) => (node.state === 'ready' ? node.lag ?? 0 : 0)));
  const sync = lag > 0 ? `${plural(lag, 'record')} behind` : total > 1 ? 'in sync' : '';
  const flow = {socket: 'live', events: 'live, by events'}[live] ?? 'reconnecting…';
  const level = ready < total || !['socket', 'events'].includes(live) ? 'warn' : 'ok';
  return {level, text: [up, sync, flow].filter((part) => part !== '').join(' · '), detail};
}

function describeNode(node) {
  const name = node.id ?? node.address;
  const state = {
    ready: 'up', catching_up: 'catching up', read_only: 'read only', draining: 'stopping',
  }[node.state] ?? 'down';
  const parts = [state];
  if (state === 'up' && node.lag !== null) {
    parts.push(node.lag > 0 ? `${plural(node.lag, 'record')} behind` : 'in sync');
  }
  if (state === 'up' && node.latency_ms.p50 !== null) parts.push(`${node.latency_ms.p50} ms`);
  return `Node ${name}: ${parts.join(', ')}`;
}
