// SPDX-License-Identifier: MIT
// The open conversation: its messages, which keep their place on the screen whatever is added above
// or below, and the field to write in.

import {parseKey} from './conversations.js';
import {byId, element, paintAvatar, reconcile, setText} from './dom.js';
import {dayOf, fullTimeOf, hueOf, initialsOf, partsOf, timeOf} from './format.js';

const kNearPx = 400; // from an end: more is loaded
const kEndPx = 60;   // this far from the end is still at the end

export class ConversationView {
  #chat;
  #scroller = byId('scroller');
  #list = byId('messages');
  #text = byId('text');
  #stick = true;    // new messages are followed
  #placed = 0;      // where we left the scroller; elsewhere it was moved by the reader
  #shown = null;    // the key that is on the screen

  constructor(chat) {
    this.#chat = chat;
    chat.watch(() => !document.hidden && document.hasFocus() && this.#stick);
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), {passive: true});
    byId('older').addEventListener('click', () => chat.error ? chat.again() : chat.loadOlder());
    byId('to-end').addEventListener('click', () => this.#toEnd());
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener('input', () => this.#typed());
    this.#text.addEventListener('keydown', (event) => {
      // Enter also ends the choice of a character in some scripts: that one is not for us.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    byId('conversation').addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && chat.current) location.hash = '#/';
    });
    // A keyboard that comes up on a phone, a window that is turned.
    new ResizeObserver(() => this.#settle()).observe(this.#scroller);
  }

  /** Another conversation, or none, is open now. */
  shown() {
    const key = this.#chat.current;
    this.#shown = key;
    document.body.classList.toggle('open', key !== null);
    for (const id of ['head', 'scroller', 'foot']) byId(id).hidden = key === null;
    byId('nothing-open').hidden = key !== null;
    this.#list.replaceChildren();
    this.#stickAgain();
    if (!key) return;
    const {kind, name} = parseKey(key);
    paintAvatar(byId('title-avatar'), kind, name, {initials: initialsOf, hue: hueOf});
    const title = byId('title');
    title.replaceChildren(element('span', {'class': 'sr'}, kind === 'room' ? 'Room ' : 'With '),
      element('bdi', {}, name));
    this.#text.value = this.#chat.draft;
    this.#explain('');
    this.#grow();
    this.render();
    // On a touch screen the field would bring the keyboard up unasked.
    (matchMedia('(pointer: coarse)').matches ? title : this.#text).focus();
  }

  render() {
    const chat = this.#chat;
    if (chat.current === null || chat.current !== this.#shown) return;
    const {timeline} = chat;
    const rows = chat.rows;
    if (this.#stick && this.#scroller.scrollTop !== this.#placed) this.#stick = this.#atEnd();
    const anchor = this.#anchor();
    // What is added in bulk is not read out.
    this.#scroller.ariaBusy = String(chat.loading || chat.loadingMore !== '');
    const now = new Date();
    reconcile(this.#list, rows, {
      create: (row) => (row.kind === 'day' ? createDay() : this.#createMessage(row)),
      update: (child, row) => {
        if (row.kind === 'day') setText(child.firstElementChild, dayOf(row.date, now));
        else this.#updateMessage(child, row);
      },
    });
    this.#renderTop(rows.length);
    this.#keep(anchor);
    byId('to-end').hidden = this.#stick && !timeline.hasNewer;
    const {level, text} = chat.network;
    byId('banner').hidden = level !== 'down';
    setText(byId('banner'), level === 'down' ? text : '');
    chat.look();
    // A screen that is not full yet.
    if (timeline.loaded && !chat.error) this.#loadAround();
  }

  #renderTop(rows) {
    const {timeline, error, loading, loadingMore} = this.#chat;
    const older = byId('older');
    older.hidden = !error && !(timeline.loaded && timeline.hasOlder);
    older.disabled = loading || loadingMore !== '';
    setText(older, error ? 'Try again' : 'Show earlier messages');
    let note = '';
    if (error) note = `Messages cannot be read now: ${error}`;
    else if (loadingMore === 'older' || (loading && rows === 0)) note = 'Loading…';
    else if (timeline.loaded && rows === 0) note = 'Nothing has been said here yet. Say hello!';
    else if (timeline.loaded && !timeline.hasOlder) note = 'This is where it begins.';
    setText(byId('top-note'), note);
    byId('top-note').classList.toggle('error', error !== '');
    this.#scroller.classList.toggle('is-empty', rows === 0);
  }

  // ---- messages

  #createMessage({message}) {
    const body = element('div', {'class': 'bubble', dir: 'auto'});
    for (const {text, link} of partsOf(message.text)) {
      body.append(link
        ? element('a', {href: link, rel: 'noopener noreferrer nofollow', target: '_blank'}, text)
        : text);
    }
    return element('li', {'class': 'message'},
      element('span', {'class': 'avatar', 'aria-hidden': 'true'}),
      element('div', {'class': 'meta'},
        element('bdi', {'class': 'who'}), element('time', {})),
      body,
      element('div', {'class': 'state'}));
  }

  #updateMessage(child, {message, item, at, mine, first, last}) {
    const [avatar, meta, body, state] = child.children;
    const flags = {mine, first, last, waiting: item && !item.problem, refused: item?.problem};
    child.className = ['message', ...Object.keys(flags).filter((flag) => flags[flag])].join(' ');
    paintAvatar(avatar, 'user', message.sender, {initials: initialsOf, hue: hueOf});
    const [who, time] = meta.children;
    setText(who, mine ? 'You' : message.sender);
    setText(time, timeOf(at));
    time.dateTime = at.toISOString();
    const written = new Date((message.timestamp ?? NaN) * 1000);
    const late = !item && at - written > 60_000 ? `, written ${fullTimeOf(written)}` : '';
    body.title = time.title = fullTimeOf(at) + late;
    this.#updateState(state, item);
  }

  #updateState(state, item) {
    let said = '';
    if (item) said = item.problem ? `Not sent: ${item.problem}` : item.waiting ? 'Waiting to be sent' : 'Sending…';
    state.title = item?.waiting && !item.problem ? item.waiting : '';
    if (state.dataset.said === said) return;
    state.dataset.said = said;
    state.replaceChildren();
    if (said === '') return;
    state.append(element('span', {}, said));
    if (!item.problem) return;
    const button = (text, onclick) => element('button', {type: 'button', 'class': 'quiet', onclick}, text);
    state.append(
      button('Try again', () => this.#chat.retry(item.key)),
      button('Edit', () => {
        this.#text.value = [this.#chat.discard(item.key), this.#text.value].filter(Boolean).join('\n');
        this.#typed();
        this.#text.focus();
      }),
      button('Delete', () => {
        this.#chat.discard(item.key);
        this.#text.focus();
      }));
  }

  // ---- scrolling

  #atEnd() {
    const {scrollTop, scrollHeight, clientHeight} = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < kEndPx;
  }

  // The first message that can be seen, and where. Not a day: more of it may come above.
  #anchor() {
    if (this.#stick) return null;
    const top = this.#scroller.getBoundingClientRect().top;
    const child = [...this.#list.querySelectorAll('.message')].find(
      (each) => each.getBoundingClientRect().bottom > top);
    return child && {child, y: child.getBoundingClientRect().top};
  }

  #keep(anchor) {
    if (this.#stick && !this.#chat.timeline.hasNewer) {
      this.#settle();
    } else if (anchor?.child.isConnected) {
      this.#scroller.scrollTop += anchor.child.getBoundingClientRect().top - anchor.y;
    }
  }

  #settle() {
    if (!this.#stick || !this.#shown) return;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#placed = this.#scroller.scrollTop;
  }

  // From here on new messages are followed.
  #stickAgain() {
    this.#stick = true;
    this.#placed = this.#scroller.scrollTop;
  }

  #scrolled() {
    if (!this.#shown) return;
    this.#stick = this.#atEnd() && !this.#chat.timeline.hasNewer;
    byId('to-end').hidden = this.#stick;
    if (this.#stick) this.#chat.look();
    this.#loadAround();
  }

  #loadAround() {
    const {scrollTop, scrollHeight, clientHeight} = this.#scroller;
    if (this.#chat.error || this.#chat.loadingMore || this.#chat.loading) return;
    if (scrollTop < kNearPx && this.#chat.timeline.hasOlder) {
      this.#chat.loadOlder();
    } else if (scrollHeight - scrollTop - clientHeight < kNearPx) {
      this.#chat.loadNewer();
    }
  }

  async #toEnd() {
    this.#stickAgain();
    await this.#chat.toEnd();
    this.render();
    this.#text.focus();
  }

  // ---- writing

  #typed() {
    this.#chat.draft = this.#text.value;
    this.#explain('');
    this.#grow();
  }

  #send() {
    if (this.#text.value.trim() === '') return;
    const problem = this.#chat.send(this.#text.value);
    this.#explain(problem);
    if (problem) return;
    this.#text.value = '';
    this.#typed();
    this.#stickAgain();
    this.render();
  }

  #explain(problem) {
    byId('problem').hidden = problem === '';
    setText(byId('problem'), problem);
  }

  #grow() {
    this.#text.style.height = 'auto';
    this.#text.style.height = `${this.#text.scrollHeight + 2}px`;
  }
}

function createDay() {
  return element('li', {'class': 'day'}, element('span', {}));
}
