/** Counts of the sessions connected at each moment of a span, by service or user. */

import { readGaps } from "./gaps.js";
import { readStamp, writeStamp } from "./moments.js";
import { askable, parametersOf } from "./scope.js";

const MOMENTS = 121; // so that the times between them are round
const GROUPS = 8; // besides the others

/** Returns what is asked of history, as a text: by what to group which sessions. */
export function scopeOf({ by, filters }) {
  const parameters = parametersOf(askable(filters, true));
  parameters.set("by", by);
  return String(parameters);
}

/**
 * Returns `{times, groups, totals, gaps}`: of each group its `name`, `kind` ("value", "none" or
 * "other") and its counts at these times, the largest group first.
 */
export async function readCrowd(api, query, from, to, signal) {
  const { by } = query;
  const parameters = new URLSearchParams(scopeOf(query));
  parameters.set("from", writeStamp(from));
  parameters.set("to", writeStamp(to));
  parameters.set("moments", MOMENTS);
  parameters.set("page[size]", GROUPS);
  const { data, meta } = await api.get(`v1/history/counts?${parameters}`, signal);
  const times = meta.times.map(readStamp);
  const groups = data.map(({ id, attributes }) => {
    const name = attributes[by] ?? undefined;
    const kind = name !== undefined ? "value" : id === "*other" ? "other" : "none";
    return { name, kind, counts: attributes.counts };
  });
  const totals = times.map((_, place) =>
    groups.reduce((sum, { counts }) => sum + counts[place], 0),
  );
  return { times, groups, totals, gaps: readGaps(meta) };
}

/** Returns the place of the time that is nearest to another. */
export function nearest(times, time) {
  let best = 0;
  times.forEach((one, place) => {
    if (Math.abs(one - time) < Math.abs(times[best] - time)) best = place;
  });
  return best;
}
