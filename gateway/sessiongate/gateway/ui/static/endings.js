/** Puts into words how a session ended. */

import { parseTime, timeOfDay } from "./times.js";

const REASONS = {
  closed: { text: "closed", tone: "calm", hint: "its source no longer listed it" },
  source_restarted: {
    text: "source restarted",
    tone: "held",
    hint: "the server that it was connected to restarted",
  },
  replaced: {
    text: "source replaced",
    tone: "held",
    hint: "its source was then read from another place",
  },
  not_seen: { text: "not seen", tone: "held", hint: "it ended while its source was not read" },
  terminated: { text: "terminated", tone: "bad", hint: "somebody ended it" },
};

/** Returns how a session ended, by its attributes; undefined if it has not. */
export function readEnding({ ended, end_reason: reason, end_from: from, ended_by: by }) {
  if (ended === undefined) return undefined;
  return { reason: textOf(reason), from: parseTime(from), to: parseTime(ended), by: textOf(by) };
}

/** Returns the word for how a session ended; undefined if that is not known. */
export function endingWord(ending) {
  return REASONS[ending?.reason]?.text ?? ending?.reason;
}

/** Returns the tone in which that is shown. */
export function endingTone(ending) {
  return REASONS[ending?.reason]?.tone ?? "calm";
}

/** Returns what else is known about it. */
export function endingDetail({ from, to, by }) {
  if (by !== undefined) return `by ${by}`;
  return from === undefined ? undefined : `between ${timeOfDay(from)} and ${timeOfDay(to)}`;
}

/** Returns all of it, for the end of a sentence: "closed: its source no longer listed it". */
export function endingSentence(ending) {
  const parts = [REASONS[ending.reason]?.hint, endingDetail(ending)].filter(Boolean);
  const word = endingWord(ending) ?? "it is not known how";
  return parts.length ? `${word}: ${parts.join(", ")}` : word;
}

function textOf(value) {
  return value === undefined ? undefined : String(value);
}
