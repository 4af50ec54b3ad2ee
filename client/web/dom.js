// SPDX-License-Identifier: MIT
// Small helpers for the document. Text goes in as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** `properties` of the element; `class` and what has a dash become attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'class' || name.includes('-')) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Writes only where something is different, so that nothing is read out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`, in order: one element for each key, made once by
 * `create`, brought up to date by `update`, moved where it must be. Focus stays where it is.
 */
export function reconcile(parent, items, {create, update}) {
  const held = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = new Set(items.map((item) => item.key));
  for (const [key, child] of held) if (!wanted.has(key)) child.remove();
  let next = parent.firstElementChild;
  for (const item of items) {
    let child = held.get(item.key);
    if (!child) {
      child = create(item);
      child.dataset.key = item.key;
    }
    update(child, item);
    if (child === next) {
      next = next.nextElementSibling;
    } else {
      parent.insertBefore(child, next);
    }
  }
}

/** The round mark of a person or a room. */
export function paintAvatar(avatar, kind, name, {initials, hue}) {
  if (avatar.dataset.of === `${kind} ${name}`) return;
  avatar.dataset.of = `${kind} ${name}`;
  setText(avatar, kind === 'room' ? '#' : initials(name));
  avatar.className = `avatar ${kind} hue-${hue(name)}`;
}
