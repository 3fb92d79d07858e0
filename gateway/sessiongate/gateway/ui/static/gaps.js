/** Puts into words what is not known of a time in the past, and why. */

import { counted, make, value } from "./dom.js";
import { readStamp } from "./moments.js";
import { inLocal, timeOfDay } from "./times.js";

const NAMED = 3; // sources in a sentence
const SAID = 3; // sentences
const DAY = 86_400_000;
// The words for a gap, after the sources if they are named.
const WORDS = {
  unreachable: { text: "could not be read", isNamed: true },
  core_down: { text: "Sessiongate did not run" },
  partial: { text: "could be read only in part", isNamed: true },
  before_history: { text: "had not been read yet", until: "had not been read", isNamed: true },
  retention: { text: "sessions that have ended are not kept (--history)" },
  below_minimum: { text: "sessions that lasted less than a minimum are not kept (--history-min)" },
};

/** Returns the gaps that a document names as `{source, from, to, reason}`, times in milliseconds. */
export function readGaps({ gaps = [] } = {}) {
  return gaps.map(({ source, from, to, reason }) => ({
    source: String(source),
    from: readStamp(from) ?? -Infinity,
    to: readStamp(to) ?? Infinity,
    reason: String(reason),
  }));
}

/** Returns the gaps that a moment is in. */
export function gapsAt(gaps, time) {
  return gaps.filter(({ from, to }) => from <= time && time <= to);
}

/**
 * Returns the stretches from `from` to `to` in which not everything is known, in order and apart.
 * What is always missing, sessions that were too short, makes none.
 */
export function stretchesOf(gaps, from, to) {
  const stretches = [];
  const inside = gaps
    .filter((gap) => gap.reason !== "below_minimum" && gap.from < to && gap.to > from)
    .sort((one, other) => one.from - other.from);
  for (const gap of inside) {
    const last = stretches.at(-1);
    if (last && gap.from <= last.to) last.to = Math.max(last.to, gap.to);
    else stretches.push({ from: gap.from, to: gap.to });
  }
  return stretches.map((one) => ({ from: Math.max(from, one.from), to: Math.min(to, one.to) }));
}

/**
 * Returns elements that say what is not known, the longest time first; `isTimed` says that each
 * names its time.
 */
export function sentencesOf(gaps, isTimed) {
  const groups = new Map();
  for (const gap of gaps) {
    const [from, to] = isTimed ? [gap.from, gap.to].map((time) => Math.round(time / 1000)) : [];
    const key = `${gap.reason} ${from} ${to}`; // to the second
    if (groups.has(key)) groups.get(key).sources.add(gap.source);
    else groups.set(key, { ...gap, sources: new Set([gap.source]) });
  }
  const sorted = [...groups.values()].sort((one, other) => lengthOf(other) - lengthOf(one));
  const said = sorted.slice(0, SAID).map((group) => sentence(group, isTimed));
  const more = sorted.length - said.length;
  if (more > 0) said.push(make("span", {}, `and ${counted(more, "more gap")}`));
  return said;
}

function lengthOf({ from, to }) {
  return Math.min(to, Number.MAX_VALUE) - Math.max(from, -Number.MAX_VALUE);
}

function sentence({ sources, from, to, reason }, isTimed) {
  const { text, until, isNamed } = WORDS[reason] ?? { text: reason, isNamed: true };
  const parts = [];
  if (isNamed) {
    const named = [...sources].slice(0, NAMED);
    named.forEach((source, place) => parts.push(place ? ", " : "", value(source)));
    const more = sources.size - named.length;
    if (more > 0) parts.push(` and ${counted(more, "more source")}`);
    parts.push(" ");
  }
  // The time before a source's first reading has no beginning, wherever the question began.
  const said = until ?? text;
  const time = during(until === undefined ? from : -Infinity, to);
  return make("span", {}, ...parts, ...(isTimed ? [said, " ", time] : [text]));
}

function during(from, to) {
  const isLong = from === -Infinity ? Date.now() - to >= DAY / 2 : to - from >= DAY / 2;
  const write = (time) => (isLong ? inLocal(time).slice(0, -10) : timeOfDay(time));
  if (from === -Infinity) return to === Infinity ? "at any time" : `before ${write(to)}`;
  return to === Infinity ? `since ${write(from)}` : `from ${write(from)} to ${write(to)}`;
}
