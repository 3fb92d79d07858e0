/** Keeps the state of the view in the address, after its "#", which no server sees. */

import { COLUMNS } from "./columns.js";
import { FACETS } from "./session.js";
import { VIEWS } from "./views.js";

const MOST = 500; // filters

/** The view of a page that is opened without any. */
export function defaultQuery() {
  return {
    view: "all",
    search: "",
    filters: {},
    group: "service",
    sort: { column: "id", descending: false },
    session: undefined,
  };
}

/** Returns the query that an address's hash stands for, and what is wrong with it, as sentences. */
export function readHash(hash) {
  const query = defaultQuery();
  const faults = [];
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  for (const [name, value] of [...parameters].slice(0, MOST)) {
    if (name === "search") query.search = value;
    else if (name === "session") query.session = value;
    else if (Object.hasOwn(FACETS, name)) add(query.filters, name, value);
    else if (name === "without" && Object.hasOwn(FACETS, value)) add(query.filters, value);
    else if (name === "without") faults.push(fault(name, value, Object.keys(FACETS)));
    else if (name === "view")
      choose(
        "view",
        value,
        VIEWS.map((view) => view.name),
      );
    else if (name === "group")
      choose("group", value === "none" ? "" : value, ["", ...Object.keys(FACETS)]);
    else if (name === "sort") sort(value);
    else faults.push(fault("the address", name, NAMES));
  }
  return { query, faults };

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
    const columns = COLUMNS.map((one) => one.name);
    if (columns.includes(column)) query.sort = { column, descending: value.startsWith("-") };
    else faults.push(fault("sort", column, columns));
  }
}

/** Returns the hash that stands for a query; "" for the default one. */
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
  const text = parameters.toString();
  return text && `#${text}`;
}

const NAMES = ["view", "search", "group", "sort", "session", "without", ...Object.keys(FACETS)];

function add(filters, name, value) {
  filters[name] ??= new Set();
  filters[name].add(value);
}

function fault(where, value, allowed) {
  return { where, value, allowed: allowed.join(", ") };
}
