/** A session's document as lines of text. */

import { endingSentence, readEnding } from "./endings.js";
import { duration, inLocal, parseTime } from "./times.js";

const TIMES = new Set([
  ...["connected", "activity.since", "activity.transaction_started"],
  ...["ended", "end_from", "end_to"],
]);

/**
 * Returns the innermost attributes of a resource object, and its relationships, as
 * `{name, text, time}`: names are paths, such as "connections.0.server", and texts are as the API
 * has them.
 */
export function attributesOf({ attributes = {}, relationships = {} }) {
  const found = [];
  const add = (name, value) => {
    if (typeof value === "object" && value !== null) {
      for (const [member, one] of Object.entries(value)) add(`${name}.${member}`, one);
    } else
      found.push({
        name,
        text: String(value),
        time: TIMES.has(name) ? parseTime(value) : undefined,
      });
  };
  for (const [name, value] of Object.entries(attributes)) add(name, value);
  for (const [name, { data }] of Object.entries(relationships)) {
    [data ?? []].flat().forEach(({ id }, place) => add(`relationships.${name}.${place}`, id));
  }
  return found;
}

/** Returns a session's statements as `{text, about}`, the newest first. */
export function statementsOf({ attributes = {} }) {
  const statements = (attributes.queries ?? []).map(
    ({ statement, received, completed, truncated }) => {
      const [from, to] = [parseTime(received), parseTime(completed)];
      const about = [received && `received ${received}`];
      if (from !== undefined)
        about.push(to === undefined ? "not completed" : `took ${duration(to - from)}`);
      if (truncated) about.push("cut");
      return { text: String(statement ?? ""), about: about.filter(Boolean).join(", ") };
    },
  );
  return statements.reverse();
}

/** Returns a sentence on when and how a session ended; "" if it has not. */
export function endOf({ attributes = {} }) {
  const ended = parseTime(attributes.ended);
  if (ended === undefined) return "";
  return `This session ended at ${inLocal(ended)}: ${endingSentence(readEnding(attributes))}.`;
}

/** Returns a shell's command that reads a URL with such credentials, without their secret. */
export function curlOf(url, { authorization, user }) {
  const words = ["curl", "-g"];
  if (user !== undefined) words.push("--user", quote(user));
  else if (authorization) words.push("-H", '"Authorization: Bearer $TOKEN"');
  return [...words, quote(url.href)].join(" ");
}

function quote(word) {
  // A shell shows control characters to nobody: they have no place in a line to copy.
  return `'${word.replace(/[\u0000-\u001f\u007f]/g, "").replaceAll("'", "'\\''")}'`;
}
