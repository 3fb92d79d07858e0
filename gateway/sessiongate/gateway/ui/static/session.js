/** A session as the page holds it: flat and small. When it changes, another takes its place. */

import { readEnding } from "./endings.js";
import { parseTime } from "./times.js";

/** Fields that the stream is asked for: those that the table, the chips and the relations need. */
export const FIELDS = [
  ..."state connected user remote port database activity idle application source".split(" "),
  ..."native_id services upstream downstream".split(" "),
];

/** Fields that history is asked for. */
export const PAST_FIELDS = [
  ...FIELDS.filter((name) => name !== "activity" && name !== "idle"),
  ..."ended end_reason end_from end_to ended_by".split(" "),
];

/** Attributes to filter and group sessions by, in the words of the API, and for people. */
export const FACETS = {
  service: "Service",
  user: "User",
  application: "Application",
  database: "Database",
  remote: "Client",
  source: "Source",
  activity: "Activity",
  state: "State",
};

/** Returns these, of sessions now or in the past: what they were doing then is not kept. */
export function facetsOf(isPast) {
  const { activity, ...kept } = FACETS;
  return isPast ? kept : FACETS;
}

/** Returns a session made of its resource object, which arrived at this time. */
export function readSession({ id, attributes = {}, relationships = {} }, now) {
  const { activity = {}, idle } = attributes;
  return {
    id,
    number: Number(id),
    user: textOf(attributes.user),
    remote: textOf(attributes.remote),
    port: attributes.port,
    application: textOf(attributes.application),
    service: textOf(relationships.services?.data?.[0]?.id),
    database: textOf(attributes.database),
    activity: textOf(activity.state),
    native: textOf(activity.native),
    since: parseTime(activity.since),
    wait: textOf(activity.wait),
    transaction: parseTime(activity.transaction_started),
    blockedBy: idsOf(activity.blocked_by),
    lastActive: typeof idle === "number" ? Math.round(now - idle * 1000) : undefined,
    connected: parseTime(attributes.connected),
    ended: parseTime(attributes.ended),
    ending: readEnding(attributes),
    source: textOf(attributes.source),
    nativeId: textOf(attributes.native_id),
    state: textOf(attributes.state),
    upstream: idsOf(relationships.upstream?.data?.map((one) => one.id)),
    downstream: idsOf(relationships.downstream?.data?.map((one) => one.id)),
    // Kept by the listing.
    key: undefined,
    failed: 0,
    views: 0,
    isListed: false,
    goneAt: undefined,
    index: 0,
    ordinal: 0,
    searched: undefined,
  };
}

/** Whether two states of a session show the same, but for the time it was last active. */
export function isSame(one, other) {
  return SHOWN.every((name) => {
    const [left, right] = [one[name], other[name]];
    return Array.isArray(left) ? String(left) === String(right) : left === right;
  });
}

const SHOWN = [
  ..."user remote port application service database activity native since wait".split(" "),
  ..."transaction blockedBy connected ended source nativeId state upstream downstream".split(" "),
];

/** Returns the text, in lower case, that a session is searched by. */
export function searchedText(session) {
  session.searched ??= [
    ...[session.id, session.nativeId, session.user, session.application, session.service],
    ...[session.database, session.activity, session.native, session.wait, session.source],
    ...[session.state, addressOf(session)],
  ]
    .filter((text) => text !== undefined)
    .join("\n")
    .toLowerCase();
  return session.searched;
}

/** Returns a client's address with its port, as far as they are known. */
export function addressOf({ remote, port }) {
  if (remote === undefined || port === undefined) return remote;
  return remote.includes(":") ? `[${remote}]:${port}` : `${remote}:${port}`;
}

const NONE = Object.freeze([]);

function idsOf(ids) {
  return ids?.length ? ids : NONE;
}

function textOf(value) {
  return value === undefined || value === null ? undefined : String(value);
}
