/** Keeps the state of the view in the address, after its "#", which no server sees. */

import { columnsOf } from "./columns.js";
import { SPANS, readStamp, writeStamp } from "./moments.js";
import { facetsOf } from "./session.js";
import { VIEWS } from "./views.js";

const MOST = 500; // filters
const SPAN = "1h"; // of the strip, if none is named
const BYS = ["service", "user"];

/** The view of a page that is opened without any. */
export function defaultQuery() {
  return {
    view: "all",
    search: "",
    filters: {},
    group: "service",
    sort: { column: "id", descending: false },
    session: undefined,
    at: undefined, // the moment of the past that is shown; none, if it is now
    span: undefined, // of the strip from which it is chosen; none, if that is closed
    by: "service",
  };
}

/** Returns a query without what a page that shows now, or a moment of the past, has none of. */
export function fitting(query) {
  const isPast = query.at !== undefined;
  const usual = defaultQuery();
  const facets = facetsOf(isPast);
  const kept = Object.entries(query.filters).filter(([name]) => Object.hasOwn(facets, name));
  const isColumn = columnsOf(isPast).some((one) => one.name === query.sort.column);
  return {
    ...query,
    view: isPast ? usual.view : query.view,
    filters:
      kept.length === Object.keys(query.filters).length ? query.filters : Object.fromEntries(kept),
    group: query.group && !Object.hasOwn(facets, query.group) ? usual.group : query.group,
    sort: isColumn ? query.sort : usual.sort,
    span: query.span ?? (isPast ? SPAN : undefined),
  };
}

/** Returns the query in an address's hash, and what is wrong with it, as sentences. */
export function readHash(hash) {
  const query = defaultQuery();
  const faults = [];
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  query.at = readStamp(parameters.get("at") ?? "");
  const isPast = query.at !== undefined;
  const facets = facetsOf(isPast);
  const names = [...NAMES, ...Object.keys(facets)];
  const views = isPast ? ["all"] : VIEWS.map((view) => view.name);
  for (const [name, value] of [...parameters].slice(0, MOST)) {
    if (name === "search") query.search = value;
    else if (name === "session") query.session = value;
    else if (Object.hasOwn(facets, name)) add(query.filters, name, value);
    else if (name === "without" && Object.hasOwn(facets, value)) add(query.filters, value);
    else if (name === "without") faults.push(fault(name, value, Object.keys(facets)));
    else if (name === "view") choose("view", value, views);
    else if (name === "group")
      choose("group", value === "none" ? "" : value, ["", ...Object.keys(facets)]);
    else if (name === "sort") sort(value);
    else if (name === "span") choose("span", value, Object.keys(SPANS));
    else if (name === "by") choose("by", value, BYS);
    else if (name === "at" && !isPast)
      faults.push(fault(name, value, ["a time such as 2026-11-27T14:05:00Z"]));
    else if (name !== "at") faults.push(fault("the address", name, names));
  }
  return { query: fitting(query), faults };

  function choose(name, value, allowed) {
    if (allowed.includes(value)) query[name] = value;
    else
      faults.push(
        fault(
          name,
          value,
          allowed.map((one) => one || "none"),
        ),
      );
  }

  function sort(value) {
    const column = value.replace(/^-/, "");
    const columns = columnsOf(isPast).map((one) => one.name);
    if (columns.includes(column)) query.sort = { column, descending: value.startsWith("-") };
    else faults.push(fault("sort", column, columns));
  }
}

/** Returns the hash for a query; "" for the default one. */
export function writeHash(query) {
  const usual = defaultQuery();
  const parameters = new URLSearchParams();
  if (query.view !== usual.view) parameters.append("view", query.view);
  if (query.search) parameters.append("search", query.search);
  for (const [name, values] of Object.entries(query.filters)) {
    for (const value of values) {
      if (value === undefined) parameters.append("without", name);
      else parameters.append(name, value);
    }
  }
  if (query.group !== usual.group) parameters.append("group", query.group || "none");
  const { column, descending } = query.sort;
  if (column !== usual.sort.column || descending) {
    parameters.append("sort", descending ? `-${column}` : column);
  }
  if (query.session !== undefined) parameters.append("session", query.session);
  if (query.at !== undefined) parameters.append("at", writeStamp(query.at));
  const span = query.at === undefined ? undefined : SPAN;
  if (query.span !== span) parameters.append("span", query.span);
  if (query.by !== usual.by) parameters.append("by", query.by);
  const text = parameters.toString();
  return text && `#${text}`;
}

const NAMES = "view search group sort session without at span by".split(" ");

function add(filters, name, value) {
  filters[name] ??= new Set();
  filters[name].add(value);
}

function fault(where, value, allowed) {
  return { where, value, allowed: allowed.join(", ") };
}
