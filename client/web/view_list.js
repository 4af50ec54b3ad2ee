// SPDX-License-Identifier: MIT
// The list of conversations, and the line about the network below it.

import {byId, element, paintAvatar, reconcile, setText} from './dom.js';
import {hueOf, initialsOf, plural, shortTimeOf} from './format.js';

export class ListView {
  #chat;
  #addressOf;
  #list = byId('list');

  constructor(chat, addressOf) {
    this.#chat = chat;
    this.#addressOf = addressOf;
    this.#list.addEventListener('keydown', (event) => this.#move(event));
  }

  render() {
    const all = this.#chat.conversations.sorted();
    byId('list-empty').hidden = all.length > 0;
    this.#list.hidden = all.length === 0;
    reconcile(this.#list, all, {
      create: () => element('li', {}, element('a', {},
        element('span', {'class': 'avatar', 'aria-hidden': 'true'}),
        element('span', {'class': 'with', dir: 'auto'}),
        element('time', {}),
        element('span', {'class': 'preview', dir: 'auto'}),
        element('span', {'class': 'unread'}))),
      update: (item, conversation) => this.#update(item.firstElementChild, conversation),
    });
    // One stop of the tabulator; the arrow keys move inside.
    const links = this.#links();
    const stop = links.find((link) => link === document.activeElement) ??
        links.find((link) => link.hasAttribute('aria-current')) ?? links[0];
    for (const link of links) link.tabIndex = link === stop ? 0 : -1;
  }

  /** To where one can go on: that conversation, or the first, or to begin one. */
  focus(key) {
    this.render();
    const item = [...this.#list.children].find((child) => child.dataset.key === key);
    (item?.firstElementChild ?? this.#links()[0] ?? byId('new')).focus();
  }

  #links() {
    return [...this.#list.querySelectorAll('a')];
  }

  #update(link, {key, kind, name, last, unread, guessed}) {
    const [avatar, title, time, preview, badge] = link.children;
    link.href = this.#addressOf(key);
    const current = key === this.#chat.current;
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    link.classList.toggle('has-unread', unread > 0);
    paintAvatar(avatar, kind, name, {initials: initialsOf, hue: hueOf});
    const self = kind === 'user' && name === this.#chat.me;
    setText(title, self ? `${name} (you)` : name);
    const at = last && new Date(last.accepted_at);
    setText(time, at ? shortTimeOf(at, new Date()) : '');
    if (at) time.dateTime = last.accepted_at;
    const by = !last ? '' : last.sender === this.#chat.me ? 'You: '
      : kind === 'room' ? `${last.sender}: ` : '';
    setText(preview, last ? by + last.text.replace(/\s+/g, ' ') : 'Nothing said yet');
    const count = guessed ? '' : unread > 99 ? '99+' : String(unread);
    badge.hidden = unread === 0;
    badge.classList.toggle('dot', unread > 0 && count === '');
    if (badge.dataset.count !== `${unread} ${count}`) {
      badge.dataset.count = `${unread} ${count}`;
      const said = count === '' ? 'unread' : `${plural(unread, 'message')} unread`;
      badge.replaceChildren(element('span', {'aria-hidden': 'true'}, count),
        element('span', {'class': 'sr'}, said));
    }
  }

  #move(event) {
    const links = this.#links();
    const at = links.indexOf(document.activeElement);
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1}[event.key];
    if (at < 0 || to === undefined || !links[to]) return;
    event.preventDefault();
    for (const link of links) link.tabIndex = -1;
    links[to].tabIndex = 0;
    links[to].focus();
  }
}

export class NetworkView {
  #chat;
  #level = '';

  constructor(chat) {
    this.#chat = chat;
  }

  render() {
    const {level, text, detail} = this.#chat.network;
    byId('network').className = `network ${level}`;
    setText(byId('network-text'), text);
    const lines = detail === '' ? [] : detail.split('\n').map((line) => ({key: line}));
    reconcile(byId('network-nodes'), lines, {
      create: (line) => element('li', {}, line.key),
      update: () => {},
    });
    // It is read out when it turns, not at each number.
    if (level !== this.#level && (level === 'down' || this.#level === 'down')) {
      setText(byId('network-status'), text);
    }
    this.#level = level;
  }
}
