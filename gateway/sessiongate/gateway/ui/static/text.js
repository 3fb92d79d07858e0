/** Shows what databases and clients send as text: bounded, with nothing in it that is invisible. */

// Controls, bidi marks and overrides, zero-width and other invisible characters, tags, and halves
// of surrogate pairs.
const HIDDEN = new RegExp(
  [
    "[\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5]",
    "[\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u2800\\u3164]",
    "[\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb\\u{e0000}-\\u{e0fff}]",
    "\\p{Surrogate}",
  ].join("|"),
  "gu",
);
const CELL = 200; // characters of a text in a cell, a chip or a title
const NAMES = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Returns a text with invisible characters written as escapes, cut to a number of characters. */
export function visible(value, most = CELL) {
  return cut(String(value), most).replace(HIDDEN, escape);
}

/** Makes a text the content of an element, with escapes of what is invisible marked as such. */
export function showText(element, value, most = CELL) {
  const text = cut(String(value), most);
  if (text.search(HIDDEN) < 0) {
    element.textContent = text;
    return element;
  }
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(HIDDEN)) {
    parts.push(text.slice(end, found.index));
    const mark = document.createElement("span");
    mark.className = "escape";
    mark.dataset.escape = "";
    mark.textContent = escape(found[0]);
    parts.push(mark);
    end = found.index + found[0].length;
  }
  element.replaceChildren(...parts, text.slice(end));
  return element;
}

function cut(text, most) {
  if (text.length <= most) return text;
  const last = text.charCodeAt(most - 1);
  const isHalf = last >= 0xd800 && last < 0xdc00;
  return `${text.slice(0, isHalf ? most - 1 : most)}…`;
}

function escape(character) {
  const code = character.codePointAt(0);
  if (NAMES[character]) return NAMES[character];
  if (code > 0xffff) return `\\u{${code.toString(16)}}`;
  return `\\u${code.toString(16).padStart(4, "0")}`;
}
