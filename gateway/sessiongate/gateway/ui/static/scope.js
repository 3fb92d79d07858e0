/** Decides which sessions are followed: all, or those that filters leave if there are too many. */

import { FIELDS, facetsOf } from "./session.js";

/** The most sessions that the page follows. */
export const MOST = 50_000;

/** Returns the path of the stream of the sessions that match these filters, an object of sets. */
export function streamPath(filters) {
  const parameters = parametersOf(filters);
  parameters.set("fields[sessions]", FIELDS.join(","));
  return `v1/events/sessions?${parameters}`;
}

/** Returns how many sessions match these filters. */
export async function countOf(api, filters, signal) {
  const parameters = parametersOf(filters);
  parameters.set("page[size]", "1");
  parameters.set("fields[sessions]", "");
  const { meta } = await api.get(`v1/sessions?${parameters}`, signal);
  return meta.total;
}

/** Returns the largest counts of a facet's values as `{value, count}`, and how many there are. */
export async function countsBy(api, facet, filters, size, signal) {
  const parameters = parametersOf(filters);
  parameters.set("by", facet);
  parameters.set("page[size]", size);
  const { data, meta } = await api.get(`v1/counts?${parameters}`, signal);
  const counts = data.map(({ attributes }) => ({
    value: attributes[facet] ?? undefined,
    count: attributes.count,
  }));
  return { counts, total: meta.total };
}

/** Whether all sessions that match these filters also match those. */
export function isWithin(filters, wider) {
  return Object.entries(wider).every(([facet, allowed]) => {
    const values = filters[facet];
    return values && [...values].every((value) => allowed.has(value));
  });
}

/**
 * Returns those of the filters that the API has, too, of sessions now or in the past: it has none
 * for values that are missing.
 */
export function askable(filters, isPast = false) {
  const facets = facetsOf(isPast);
  return Object.fromEntries(
    Object.entries(filters).filter(
      ([name, values]) => Object.hasOwn(facets, name) && !values.has(undefined),
    ),
  );
}

/** Returns the parameters that ask for the sessions that match these filters. */
export function parametersOf(filters) {
  const parameters = new URLSearchParams();
  for (const [facet, values] of Object.entries(filters)) {
    const texts = [...values].map((value) => JSON.stringify(value));
    const expression = texts.length === 1 ? texts[0] : `or(${texts.join(",")})`;
    if (facet === "service")
      parameters.append("filter", `/relationships/services/data/0/id=${expression}`);
    else
      parameters.append(
        `filter[attributes.${facet === "activity" ? "activity.state" : facet}]`,
        expression,
      );
  }
  return parameters;
}
