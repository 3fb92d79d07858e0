"""Plain words for library errors: why a server was not reached, or was lost."""

from __future__ import annotations

import re

# The beginning of libpq's errors, which repeats the address.
_FRONT = re.compile(
    r'^(?:connection failed: )?connection to server (?:at|on socket) "[^"]*"[^:]* failed: '
    r"(?:FATAL: +)?"
)
# The first pattern found in a text counts.
_MEANINGS = [
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (r"Connection refused|Connect call failed", "Connection refused: nothing listens there"),
        (
            r"Name or service not known|No address associated|failed to resolve host"
            r"|name resolution",
            "no address is known for this name",
        ),
        (r'on socket "(?P<socket>[^"]+)" failed: No such file', "no such socket: {socket}"),
        (r"No such file or directory", "no such socket"),
        (
            r"(?:Hostname|IP address) mismatch, (?P<fault>certificate is not valid for '[^']*')",
            "certificate verify failed: {fault}",
        ),
        (r"certificate has expired", "certificate verify failed: it has expired"),
        (
            r"(?i)certificate[ _]verify[ _]failed",
            "certificate verify failed: it is of no CA that is trusted here; name its CA by"
            " tls_ca=FILE",
        ),
        (
            r'root certificate file "(?P<file>[^"]+)" does not exist',
            "tls_ca={file}: no such file",
        ),
        (
            r"WRONG_VERSION_NUMBER|invalid response to SSL negotiation|does not support SSL",
            "it does not speak TLS on this port; {clear} speaks in the clear",
        ),
        (
            r"server requested a cleartext password",
            "the server asks for the password in the clear (cleartext), where others could read"
            " it: let it ask for scram-sha-256 (PgBouncer: auth_type in pgbouncer.ini;"
            " PostgreSQL: pg_hba.conf), or speak TLS (tls=verify)",
        ),
        (
            r"FATAL: +not allowed$",
            "not allowed: add the user to stats_users in pgbouncer.ini, and reload PgBouncer",
        ),
        (
            r"expected authentication request from server",
            "what answers is neither a PostgreSQL nor a PgBouncer",
        ),
        (
            r"closed the connection unexpectedly|Lost connection|Connection reset"
            r"|Server disconnected",
            "it closed the connection without an answer",
        ),
    )
]


def meaning(text: str, *, clear: str = "tls=off") -> str:
    """Explain an error's text; return an unknown text without libpq's repeated address.

    ``clear`` is how a source is configured to do without TLS.
    """
    for pattern, words in _MEANINGS:
        if found := pattern.search(text):
            return words.format(clear=clear, **found.groupdict())
    return _FRONT.sub("", text)
