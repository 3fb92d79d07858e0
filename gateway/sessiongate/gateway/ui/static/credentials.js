/** Holds what the user logs in with: in memory only, until it is forgotten or the page is left. */

export class Credentials {
  /** The value of Authorization; undefined if nobody has logged in. */
  authorization;
  /** The name of the user; undefined with a token. */
  user;

  /** Logs in with a name and a password. */
  usePassword(user, password) {
    const bytes = new TextEncoder().encode(`${user}:${password}`);
    this.authorization = `Basic ${btoa(String.fromCharCode(...bytes))}`;
    this.user = user;
  }

  /** Logs in with a token. */
  useToken(token) {
    this.authorization = `Bearer ${token}`;
    this.user = undefined;
  }

  forget() {
    this.authorization = undefined;
    this.user = undefined;
  }
}

/** Returns the schemes, in lower case, that a value of WWW-Authenticate offers. */
export function schemesOf(header) {
  const schemes = [];
  for (const [, scheme] of (header ?? "").matchAll(/(?:^|,\s*)([A-Za-z]+)(?=\s|$|,)/g)) {
    schemes.push(scheme.toLowerCase());
  }
  return schemes;
}
