// SPDX-License-Identifier: MIT
// Times and names as people read them. Pure; the reader's own language and time zone.

const time = new Intl.DateTimeFormat(undefined, {hour: 'numeric', minute: '2-digit'});
const weekday = new Intl.DateTimeFormat(undefined, {weekday: 'long'});
const day = new Intl.DateTimeFormat(undefined, {weekday: 'long', day: 'numeric', month: 'long'});
const dayOfYear = new Intl.DateTimeFormat(undefined, {day: 'numeric', month: 'long', year: 'numeric'});
const shortDay = new Intl.DateTimeFormat(undefined, {day: 'numeric', month: 'short'});
const segmenter = new Intl.Segmenter();
const full = new Intl.DateTimeFormat(undefined, {dateStyle: 'full', timeStyle: 'medium'});

// Days between, by the calendar here; a day that has 23 or 25 hours is one too.
function daysBetween(a, b) {
  const start = (at) => Date.UTC(at.getFullYear(), at.getMonth(), at.getDate());
  return Math.round((start(b) - start(a)) / 86_400_000);
}

export const timeOf = (date) => time.format(date);
export const fullTimeOf = (date) => full.format(date);

/** What days compare by: the same text for two times exactly if they are on one day here. */
export const dayKey = (date) => `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;

export function dayOf(date, now) {
  const ago = daysBetween(date, now);
  if (ago === 0) return 'Today';
  if (ago === 1) return 'Yesterday';
  if (ago > 1 && ago < 7) return weekday.format(date);
  return date.getFullYear() === now.getFullYear() ? day.format(date) : dayOfYear.format(date);
}

/** For a narrow list. */
export function shortTimeOf(date, now) {
  const ago = daysBetween(date, now);
  if (ago === 0) return time.format(date);
  return ago === 1 ? 'Yesterday' : shortDay.format(date);
}

/** One or two letters for a name, whole characters whatever they are made of. */
export function initialsOf(name) {
  const words = name.slice(0, 200).split(/[\s._-]+/u).filter((word) => word !== '');
  const first = (word) => segmenter.segment(word)[Symbol.iterator]().next().value.segment;
  const letters = words.slice(0, 2).map((word) => first(word).toLocaleUpperCase());
  // Two characters of a wide script do not fit.
  return (/^[\u0000-\u024f]*$/.test(letters.join('')) ? letters.join('') : letters[0]) || '?';
}

/** The same one of 12 colours for a name, always. */
export function hueOf(name) {
  let hash = 7;
  for (const char of name) hash = (Math.imul(hash, 31) + char.codePointAt(0)) >>> 0;
  return hash % 12;
}

const count = (text, pattern) => (text.match(pattern) ?? []).length;

/** A text as parts: plain ones, and links to http and https. */
export function partsOf(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"'`]+/giu)) {
    // What closes the sentence is not of the address, nor a bracket that was opened before it.
    let link = match[0].replace(/[.,;:!?…]+$/u, '');
    while (/[)\]}]$/.test(link) && count(link, /[)\]}]/g) > count(link, /[([{]/g)) {
      link = link.slice(0, -1).replace(/[.,;:!?…]+$/u, '');
    }
    if (!URL.canParse?.(link)) continue;
    if (match.index > end) parts.push({text: text.slice(end, match.index)});
    parts.push({text: link, link});
    end = match.index + link.length;
  }
  if (end < text.length) parts.push({text: text.slice(end)});
  return parts;
}

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
