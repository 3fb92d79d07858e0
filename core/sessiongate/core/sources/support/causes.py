"""Explanations of library errors: why a server was not reached, or the connection lost."""

from __future__ import annotations

import re

# The beginning of libpq's errors, which repeats the address.
_PREFIX = re.compile(
    r'^(?:connection failed: )?connection to server (?:at|on socket) "[^"]*"[^:]* failed: '
    r"(?:FATAL: +)?"
)
# The first pattern that occurs in a text counts.
_MEANINGS = [
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (r"Connection refused|Connect call failed", "Connection refused: nothing listens there"),
        (
            r"Name or service not known|No address associated|failed to resolve host"
            r"|name resolution",
            "the host name cannot be resolved",
        ),
        (r'on socket "(?P<socket>[^"]+)" failed: No such file', "no such socket: {socket}"),
        (r"No such file or directory", "no such socket"),
        (
            r"(?:Hostname|IP address) mismatch, (?P<fault>certificate is not valid for '[^']*')",
            "certificate verify failed: {fault}",
        ),
        (r"certificate has expired", "certificate verify failed: the certificate has expired"),
        (
            r"(?i)certificate[ _]verify[ _]failed",
            "certificate verify failed: its CA is not trusted here; name the CA with tls_ca=FILE",
        ),
        (
            r'root certificate file "(?P<file>[^"]+)" does not exist',
            "tls_ca={file}: no such file",
        ),
        (
            r"WRONG_VERSION_NUMBER|invalid response to SSL negotiation|does not support SSL",
            "the server does not use TLS on this port; {clear} connects without TLS",
        ),
        (
            r"server requested a cleartext password",
            "the server requests the password in cleartext, which others could read: configure"
            " scram-sha-256 there (PgBouncer: auth_type in pgbouncer.ini; PostgreSQL:"
            " pg_hba.conf), or use TLS (tls=verify)",
        ),
        (
            r"FATAL: +not allowed$",
            "not allowed: add the user to stats_users in pgbouncer.ini, and reload PgBouncer",
        ),
        (
            r"expected authentication request from server",
            "the server is neither PostgreSQL nor PgBouncer",
        ),
        (
            r"closed the connection unexpectedly|Lost connection|Connection reset"
            r"|Server disconnected",
            "the server closed the connection without a response",
        ),
    )
]


def meaning(text: str, *, clear: str = "tls=off") -> str:
    """Explain an error's text; return an unknown text without libpq's repeated address.

    ``clear`` is the configuration that turns TLS off.
    """
    for pattern, words in _MEANINGS:
        if found := pattern.search(text):
            return words.format(clear=clear, **found.groupdict())
    return _PREFIX.sub("", text)
