// SPDX-License-Identifier: MIT
// Where a name is picked, and where a conversation is begun.

import {keyOf} from './conversations.js';
import {byId, element} from './dom.js';
import {cleanName, nameProblem} from './identity.js';

export class NameForm {
  #input = byId('name');

  constructor(enter) {
    byId('name-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const name = cleanName(this.#input.value);
      const problem = nameProblem(name);
      byId('name-error').textContent = problem;
      if (problem) this.#input.focus();
      else enter(name);
    });
  }

  show() {
    byId('name-error').textContent = '';
    this.#input.value = '';
    this.#input.focus();
  }
}

export class BeginDialog {
  #chat;
  #open;
  #dialog = byId('begin');
  #input = byId('with');
  #known = {people: [], rooms: []};

  constructor(chat, open) {
    this.#chat = chat;
    this.#open = open;
    byId('begin-cancel').addEventListener('click', () => this.#dialog.close());
    for (const radio of this.#radios()) {
      radio.addEventListener('change', () => this.#showKind());
    }
    byId('begin-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#begin(cleanName(this.#input.value));
    });
  }

  async show() {
    this.#input.value = '';
    this.#showKind();
    this.#dialog.showModal();
    this.#input.focus();
    try {
      this.#known = await this.#chat.suggestions();
    } catch {
      this.#known = {people: [], rooms: []}; // it goes without
    }
    this.#showKind();
  }

  #radios() {
    return this.#dialog.querySelectorAll('input[name=kind]');
  }
  get #kind() {
    return [...this.#radios()].find((radio) => radio.checked).value;
  }

  #showKind() {
    const room = this.#kind === 'room';
    byId('with-label').textContent = room ? 'Name of the room' : 'Their name';
    byId('with-error').textContent = '';
    const names = room ? this.#known.rooms : this.#known.people;
    byId('suggested').hidden = names.length === 0;
    byId('suggested-title').textContent = room ? 'Rooms with something new' : 'Recently heard from';
    byId('suggestions').replaceChildren(...names.map((name) => element('li', {},
      element('button', {type: 'button', dir: 'auto', onclick: () => this.#begin(name)}, name))));
  }

  #begin(name) {
    const problem = nameProblem(name);
    byId('with-error').textContent = problem;
    if (problem) {
      this.#input.focus();
      return;
    }
    this.#dialog.close();
    this.#open(keyOf(this.#kind, name));
  }
}
