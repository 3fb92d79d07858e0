/** Parts of what the drawer shows. */

import { toneOf } from "./columns.js";
import { make } from "./dom.js";
import { showText } from "./text.js";
import { distance, duration, inLocal, inUtc } from "./times.js";

/** Returns what a session is doing, and for how long. */
export function activity({ activity: word, since }, now) {
  if (word === undefined) return make("span", { class: "dim doing" }, "activity not stated");
  const age = since === undefined ? "" : ` ${duration(now - since)}`;
  return make(
    "span",
    { class: "doing" },
    make("span", { class: "pill", "data-tone": toneOf(word) }, word),
    make("span", { class: "age" }, age),
  );
}

/** Returns how long ago a time was, and when, here and in UTC. */
export function when(time, now, word) {
  const utc = inUtc(time);
  const local = inLocal(time);
  const isUtc = local.endsWith("+00:00");
  return [
    make("span", { "data-time": time }, distance(time, now, word)),
    !isUtc && make("span", { class: "dim" }, local),
    make("span", { class: "dim" }, utc),
  ].filter(Boolean);
}

/** Shows a text of any length in an element. */
export function showLong(element, text) {
  // It scrolls in its box; what is longer still is cut.
  showText(element, text, 100_000);
  if (text.length > 200) element.classList.add("long");
}
