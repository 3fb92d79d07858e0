/** The columns of the table: their titles, what they are sorted by, and what their cells show. */

import { addressOf } from "./session.js";
import { duration, inLocal, inUtc } from "./times.js";

/**
 * `key` returns what a session is sorted by, as the API sorts it, undefined if it has nothing
 * there; `text` what its cell shows, given the time; `hint` more of it, for who points there.
 * `ages` says that the text grows by itself. A column with a `value` shows that before its text,
 * and as a pill of its `tone` if it has one.
 */
export const COLUMNS = [
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
  {
    name: "connected",
    title: "Connected",
    numeric: true,
    ages: true,
    key: (one) => one.connected,
    text: (one, now) => age(one.connected, now),
    hint: (one) => [since(one.connected)],
  },
  plain("source", "Source"),
  plain("state", "State"),
];

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
