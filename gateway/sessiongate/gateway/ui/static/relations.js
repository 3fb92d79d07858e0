/** Finds out who waits for whom, and through which proxies a session goes. */

const FAR = 20; // tiers that a chain is followed over, and sessions that wait in a row

/**
 * Returns the sessions that a session's connection goes through, from the client's to the one
 * farthest from it. If a tier has several, the first one is taken.
 */
export function chainOf(store, session) {
  const chain = [session];
  const seen = new Set([session.id]);
  const follow = (from, name, add) => {
    let at = from;
    while (chain.length < FAR) {
      at = at[name].map((id) => store.shown.get(id)).find((one) => one && !seen.has(one.id));
      if (!at) return;
      seen.add(at.id);
      add(at);
    }
  };
  follow(session, "downstream", (one) => chain.unshift(one));
  follow(session, "upstream", (one) => chain.push(one));
  return chain;
}

/**
 * Returns who is behind a session: what it does not say itself is taken from the sessions that it
 * came in by, and the address is the one farthest down.
 */
export function originOf(store, session) {
  const chain = chainOf(store, session);
  const before = chain.slice(0, chain.indexOf(session) + 1).reverse();
  const known = (name) => before.find((one) => one[name] !== undefined)?.[name];
  return {
    user: known("user"),
    application: known("application"),
    database: known("database"),
    client: chain.find((one) => one.remote !== undefined)?.remote,
    chain,
  };
}

/** Returns the ids of the sessions that a session waits for in the end, which wait for none. */
export function rootsOf(store, session) {
  const roots = new Set();
  const seen = new Set([session.id]);
  const look = (ids, depth) => {
    for (const id of ids) {
      if (seen.has(id)) continue;
      seen.add(id);
      const next = store.shown.get(id)?.blockedBy ?? [];
      if (next.length && depth < FAR) look(next, depth + 1);
      else roots.add(id);
    }
  };
  look(session.blockedBy, 0);
  return roots;
}
