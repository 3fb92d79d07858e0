/** The columns of the table: their titles, what they are sorted by, and what their cells show. */

import { endingDetail, endingSentence, endingTone, endingWord } from "./endings.js";
import { addressOf } from "./session.js";
import { dayAndTime, duration, inLocal, inUtc } from "./times.js";

const WHO = [
  { name: "id", title: "ID", numeric: true, key: (one) => one.number, text: (one) => one.id },
  plain("user", "User"),
  {
    name: "remote",
    title: "Client",
    key: (one) => one.remote,
    value: (one) => one.remote,
    text: (one) => (one.port === undefined ? undefined : `:${one.port}`),
    hint: (one) => [addressOf(one)],
  },
  plain("application", "Application"),
  plain("service", "Service"),
  plain("database", "Database"),
];
const DOING = [
  {
    name: "activity",
    title: "Activity",
    ages: true,
    key: activityKey,
    tone: (one) => toneOf(one.activity),
    value: (one) => one.activity,
    text: activityAge,
    hint: (one) => [one.native && `${one.native} (the source's word)`, since(one.since)],
  },
  {
    name: "waits",
    title: "Waits for",
    key: (one) => (one.wait || one.blockedBy.length ? (one.since ?? 0) : undefined),
    text: waitsFor,
  },
  {
    name: "transaction",
    title: "Transaction",
    numeric: true,
    ages: true,
    key: (one) => one.transaction,
    text: (one, now) => age(one.transaction, now),
    hint: (one) => [since(one.transaction)],
  },
];
const CONNECTED = {
  name: "connected",
  title: "Connected",
  numeric: true,
  ages: true,
  key: (one) => one.connected,
  text: (one, now) => age(one.connected, now),
  hint: (one) => [since(one.connected)],
};
const ENDING = [
  {
    name: "ended",
    title: "Ended",
    ages: true,
    key: (one) => one.ended,
    value: (one, now) => (one.ended === undefined ? "still connected" : dayAndTime(one.ended, now)),
    text: (one, now) => one.ended && `${duration(one.ended - now)} later`,
    hint: (one) => [one.ended && `${inLocal(one.ended)} (${inUtc(one.ended)})`],
  },
  {
    name: "ending",
    title: "How it ended",
    key: (one) => endingWord(one.ending),
    tone: (one) => endingTone(one.ending),
    value: (one) => endingWord(one.ending),
    text: (one) => one.ending && endingDetail(one.ending),
    hint: (one) => [one.ending && endingSentence(one.ending)],
  },
];
const PLACE = [plain("source", "Source"), plain("state", "State")];
const LIVE = [...WHO, ...DOING, CONNECTED, ...PLACE];
const PAST = [...WHO, CONNECTED, ...ENDING, ...PLACE];

/**
 * Returns the columns, of sessions now or in the past: what they were doing then is not known, but
 * how they ended.
 *
 * `key` returns what a session is sorted by, as the API sorts it, undefined if it has nothing
 * there; `text` what its cell shows, given the time; `hint` more of it, for who points there.
 * `ages` says that the text grows by itself. A column with a `value` shows that before its text,
 * and as a pill of its `tone` if it has one.
 */
export function columnsOf(isPast) {
  return isPast ? PAST : LIVE;
}

/** Returns the column of this name. */
export function columnOf(name) {
  return LIVE.find((one) => one.name === name) ?? PAST.find((one) => one.name === name);
}

const TONES = {
  active: "good",
  waiting: "bad",
  connecting: "new",
  idle: "calm",
  "idle in transaction": "held",
  "idle in transaction (aborted)": "bad",
};

/** Returns the tone in which an activity is shown. */
export function toneOf(activity) {
  return activity === undefined ? undefined : (TONES[activity] ?? "calm");
}

/** Compares two sessions by their keys; those without come last, whatever the direction. */
export function comparison(descending) {
  const sign = descending ? -1 : 1;
  return (one, other) => {
    const [left, right] = [one.key, other.key];
    if (left !== right) {
      if (left === undefined) return 1;
      if (right === undefined) return -1;
      return left < right ? -sign : sign;
    }
    return one.number - other.number || (one.id < other.id ? -1 : 1);
  };
}

function plain(name, title) {
  return { name, title, key: (one) => one[name], text: (one) => one[name] };
}

function age(time, now) {
  return time === undefined ? undefined : duration(now - time);
}

function since(time) {
  return time === undefined ? undefined : `since ${inLocal(time)} (${inUtc(time)})`;
}

// By what it does; of those that do the same, the one that has done so longest comes first.
function activityKey({ activity, since: began }) {
  return activity && `${activity}\n${String(began ?? 0).padStart(15, "0")}`;
}

function activityAge({ activity, since: began, lastActive }, now) {
  if (activity !== undefined) return age(began, now);
  return lastActive === undefined ? undefined : `last active ${duration(now - lastActive)} ago`;
}

function waitsFor({ wait, blockedBy, activity }) {
  if (blockedBy.length) {
    const by = `behind ${blockedBy.slice(0, 20).join(", ")}`;
    return wait === undefined ? by : `${by}: ${wait}`;
  }
  return wait ?? (activity === "waiting" ? "not stated" : undefined);
}
