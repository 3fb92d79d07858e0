/** The views that one click chooses: which sessions each shows, and in which order. */

const LONG = 60_000; // milliseconds after which a transaction counts as long

/** Each view's place is its bit in `session.views`. */
export const VIEWS = [
  { name: "all", title: "All", test: () => true },
  {
    name: "active",
    title: "Active",
    sort: { column: "activity", descending: false },
    test: (session) => session.activity === "active",
  },
  {
    name: "waiting",
    title: "Waiting",
    sort: { column: "activity", descending: false },
    test: (session) => session.activity === "waiting",
  },
  {
    name: "blocked",
    title: "Blocked",
    sort: { column: "waits", descending: false },
    test: (session) => session.blockedBy.length > 0,
  },
  {
    name: "idle-in-transaction",
    title: "Idle in transaction",
    sort: { column: "transaction", descending: false },
    test: (session) => session.activity?.startsWith("idle in transaction") ?? false,
  },
  { name: "idle", title: "Idle", test: (session) => session.activity === "idle" },
  {
    name: "long-transactions",
    title: "Long transactions",
    hint: "open for at least a minute",
    sort: { column: "transaction", descending: false },
    test: (session, now) => now - session.transaction >= LONG,
  },
];
