// SPDX-License-Identifier: MIT
// Joins the chat, its views and the browser.

import {Api} from './api.js';
import {Chat} from './chat.js';
import {byId} from './dom.js';
import {keyOf, parseKey} from './conversations.js';
import {Storage} from './storage.js';
import {ConversationView} from './view_conversation.js';
import {BeginDialog, NameForm} from './view_dialogs.js';
import {ListView, NetworkView} from './view_list.js';

// A browser that keeps nothing may throw at the mere name.
function keptStorage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

// Tabs that send what they share take turns, where the browser knows locks; keys make the rest safe.
function withLock(work) {
  return navigator.locks ? navigator.locks.request('chatchain/outbox', work) : work();
}

const storage = new Storage(keptStorage());
const env = {
  WebSocket: window.WebSocket,
  EventSource: window.EventSource,
  origin: location.origin,
  sockets: {failures: 0, restUntil: 0},
  now: () => Date.now(),
  random: () => Math.random(),
  setTimeout: (work, ms) => setTimeout(work, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  withLock,
};

// Changes are shown together, soon after they happened; a hidden tab still has a title to keep.
const dirty = new Set();
let views = {};
function show(topic) {
  if (dirty.size === 0) setTimeout(render, 0);
  dirty.add(topic);
}
function render() {
  const topics = new Set(dirty);
  dirty.clear();
  if (topics.has('me')) {
    showWho();
    for (const topic of ['list', 'timeline']) topics.add(topic);
  }
  if (topics.has('network')) views.network.render();
  if (!chat.me) return;
  if (topics.has('list')) {
    views.list.render();
    const {unread} = chat.conversations;
    document.title = `${unread > 0 ? `(${unread}) ` : ''}ChatChain`;
  }
  if (topics.has('timeline') || topics.has('network')) views.conversation.render();
}

const chat = new Chat({
  api: new Api((...request) => fetch(...request)), storage, env, on: show,
});

// ---- the open conversation is in the address, so that "back" and a reload mean what they should

const addressOf = (key) => {
  const {kind, name} = parseKey(key);
  return `#/${kind}/${encodeURIComponent(name)}`;
};
function keyInAddress() {
  const [, kind, name] = /^#\/(user|room)\/(.+)$/.exec(location.hash) ?? [];
  try {
    return kind ? keyOf(kind, decodeURIComponent(name)) : null;
  } catch {
    return null;
  }
}
function openAddress() {
  if (!chat.me) return;
  const key = keyInAddress();
  const before = chat.current;
  if (key === before) return;
  if (key && parseKey(key)) {
    chat.open(key);
  } else {
    chat.close();
    show('list');
  }
  views.conversation.shown();
  if (!key && before) views.list.focus(before);
}

function showWho() {
  byId('welcome').hidden = chat.me !== '';
  byId('app').hidden = chat.me === '';
  byId('me').textContent = chat.me;
  if (chat.me) {
    openAddress();
    if (!chat.current) views.list.focus();
  } else {
    document.title = 'ChatChain';
    if (location.hash) history.replaceState(null, '', location.pathname);
    views.name.show();
  }
}

views = {
  list: new ListView(chat, addressOf),
  network: new NetworkView(chat),
  conversation: new ConversationView(chat),
  name: new NameForm((name) => chat.enter(name)),
  begin: new BeginDialog(chat, (key) => { location.hash = addressOf(key); }),
};

byId('new').addEventListener('click', () => views.begin.show());
byId('rename').addEventListener('click', () => chat.leave());
byId('forget').addEventListener('click', () => {
  const key = chat.current;
  location.hash = '#/';
  chat.forget(key);
});
window.addEventListener('hashchange', openAddress);
window.addEventListener('storage', (event) => storage.changedElsewhere(event));
window.addEventListener('online', () => chat.hurry());
window.addEventListener('focus', () => chat.look());
window.addEventListener('pagehide', () => chat.save());
document.addEventListener('visibilitychange', () => chat.setVisible(!document.hidden));

chat.start();
if (!chat.me) showWho();
