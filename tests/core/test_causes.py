"""Libraries' errors about servers that are not reached, in plain words. The texts are real."""

from __future__ import annotations

import pytest

from sessiongate.core.sources.support.causes import meaning

LIBPQ = 'connection to server at "192.0.2.1", port 5432 failed: '
AIOHTTP = "Cannot connect to host db:8989 ssl:True "
ASYNCMY = "Can't connect to MySQL server on 'db' "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LIBPQ + "Connection refused", "Connection refused: nothing listens there"),
        (
            ASYNCMY + "([Errno 111] Connect call failed ('127.0.0.1', 3306))",
            "Connection refused: nothing listens there",
        ),
        (
            "failed to resolve host 'db': [Errno -2] Name or service not known",
            "the host name cannot be resolved",
        ),
        (
            "failed to resolve host 'db': [Errno -3] Temporary failure in name resolution",
            "the host name cannot be resolved",
        ),
        (
            'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory',
            "no such socket: /run/.s.PGSQL.5432",
        ),
        (ASYNCMY + "([Errno 2] No such file or directory)", "no such socket"),
        (
            AIOHTTP + "[SSLCertVerificationError: (1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate"
            " verify failed: self-signed certificate in certificate chain (_ssl.c:1006)')]",
            "certificate verify failed: its CA is not trusted here; name the CA with tls_ca=FILE",
        ),
        (
            AIOHTTP + "[SSLCertVerificationError: (1, '[SSL: CERTIFICATE_VERIFY_FAILED] ... failed:"
            " Hostname mismatch, certificate is not valid for 'db'. (_ssl.c:1006)')]",
            "certificate verify failed: certificate is not valid for 'db'",
        ),
        (
            LIBPQ + 'root certificate file "/none.pem" does not exist',
            "tls_ca=/none.pem: no such file",
        ),
        (
            LIBPQ + "server does not support SSL, but SSL was required",
            "the server does not use TLS on this port; tls=off connects without TLS",
        ),
        (
            LIBPQ + "server closed the connection unexpectedly",
            "the server closed the connection without a response",
        ),
        (LIBPQ + 'FATAL:  database "shop" does not exist', 'database "shop" does not exist'),
        (
            LIBPQ + 'server certificate for "a" does not match host name "b"',
            'server certificate for "a" does not match host name "b"',
        ),
        ("Access denied for user 'u'@'h'", "Access denied for user 'u'@'h'"),
    ],
)
def test_an_error_is_explained(text: str, expected: str) -> None:
    assert meaning(text) == expected


def test_each_source_says_how_to_turn_tls_off() -> None:
    text = AIOHTTP + "[[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)]"
    assert meaning(text, clear="maxscale+http://") == (
        "the server does not use TLS on this port; maxscale+http:// connects without TLS"
    )
