"""TLS for servers and clients, from files; at least TLS 1.2."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sessiongate.runtime.watched_file import FileError, WatchedFile, read_file, trouble

if TYPE_CHECKING:  # else imported when used: settings name files and need no gRPC
    import grpc


@dataclass(frozen=True, slots=True)
class ServerTls:
    """A server's files, in PEM; each is read again when it changes."""

    cert: Path  # the server's certificate, and those between it and the CA
    key: Path  # its key, not encrypted
    client_ca: Path | None = None  # if given, clients need a certificate from one of its CAs

    @property
    def files(self) -> tuple[Path, ...]:
        """All the files."""
        return tuple(path for path in (self.cert, self.key, self.client_ca) if path)

    def check(self) -> None:
        """Raise `FileError` if a file cannot be used, or the key does not match the certificate."""
        _check_certificates(self.cert)
        _check_pair(self.cert, self.key)
        if self.client_ca is not None:
            _check_certificates(self.client_ca)

    def troubles(self) -> dict[str, str]:
        """Return why files cannot be used, by the settings that name them; empty if they can."""
        found = _pair_troubles(self.cert, self.key, "tls_cert", "tls_key")
        if self.client_ca is not None:
            found["tls_client_ca"] = trouble(_check_certificates, self.client_ca)
        return found


@dataclass(frozen=True, slots=True)
class ClientTls:
    """A client's files, in PEM."""

    ca: Path  # CAs, one of which must have issued the server's certificate
    cert: Path | None = None  # sent to a server that requests one; with its key
    key: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All the files."""
        return tuple(path for path in (self.ca, self.cert, self.key) if path)

    def troubles(self) -> dict[str, str]:
        """Return why files cannot be used, by the settings that name them; empty if they can."""
        found = {"core_ca": trouble(_check_certificates, self.ca)}
        if self.cert is not None and self.key is not None:
            found |= _pair_troubles(self.cert, self.key, "core_cert", "core_key")
        return found


def grpc_server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Return credentials that use the current files for each connection. Raises `FileError`."""
    import grpc

    configuration = WatchedFile(tls.files, lambda: _grpc_configuration(tls))
    used = configuration.value

    def changed() -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration for new connections; None if it has not changed."""
        nonlocal used
        before, used = used, configuration.value
        return None if used is before else used

    required = tls.client_ca is not None
    # Its types lack None, which its documentation allows.
    return grpc.dynamic_ssl_server_credentials(used, changed, required)  # type: ignore[arg-type]


def server_context(
    tls: ServerTls, on_refused: Callable[[str], None] | None = None
) -> WatchedFile[ssl.SSLContext]:
    """Return the context for new asyncio connections. Raises `FileError`.

    ``on_refused`` receives the cause of a failed handshake, without any text of the client.
    """

    def read() -> ssl.SSLContext:
        tls.check()
        # Make a new context each time: a context never forgets a CA.
        context = _ServerContext(ssl.PROTOCOL_TLS_SERVER)
        context.on_refused = on_refused
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load_pair(context, tls.cert, tls.key)
        if tls.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=_certificates(tls.client_ca))
        return context

    return WatchedFile(tls.files, read)


class _ServerContext(ssl.SSLContext):
    """A context whose connections send refused clients the TLS alert."""

    on_refused: Callable[[str], None] | None = None

    def wrap_bio(self, incoming: Any, outgoing: Any, *args: Any, **more: Any) -> ssl.SSLObject:
        wrapped = super().wrap_bio(incoming, outgoing, *args, **more)
        assert isinstance(wrapped, _ServerObject)  # noqa: S101 - it is the class below
        wrapped.outgoing, wrapped.on_refused = outgoing, self.on_refused
        return wrapped


class _ServerObject(ssl.SSLObject):
    """One end of a connection, which sends its alert when a handshake fails.

    Event loops discard OpenSSL's output then, but send it if more is to be read first. The
    client then closes the connection, or the handshake times out.
    """

    outgoing: ssl.MemoryBIO
    on_refused: Callable[[str], None] | None = None
    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self.on_refused is not None:
                self.on_refused(_refusal(error))
            if not self.outgoing.pending:
                raise
            self._failure = error
            raise ssl.SSLWantReadError from None


_ServerContext.sslobject_class = _ServerObject

# Why handshakes fail, by OpenSSL's reasons.
_REFUSALS = {
    "UNSUPPORTED_PROTOCOL": "the client supports no TLS 1.2 or later",
    "NO_SHARED_CIPHER": "the client and the server have no cipher in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client sent no certificate",
    "HTTP_REQUEST": "the client sent HTTP without TLS",
    "WRONG_VERSION_NUMBER": "the client does not use TLS",
}


def _refusal(error: ssl.SSLError) -> str:
    """Return the cause of a failed handshake, without any text of the client."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is not accepted: {error.verify_message}"
    reason = error.reason or "unknown reason"
    known = _REFUSALS.get(reason)
    if known is None and "_ALERT_" in reason:
        known = f"the client rejected it: {reason.partition('_ALERT_')[2]}".lower().replace(
            "_", " "
        )
    return known or reason.lower().replace("_", " ")


def grpc_channel_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    """Return credentials from the current files. Raises `FileError`."""
    import grpc

    _check_certificates(tls.ca)
    if tls.cert is None or tls.key is None:
        return grpc.ssl_channel_credentials(read_file(tls.ca))
    _check_certificates(tls.cert)
    _check_pair(tls.cert, tls.key)
    return grpc.ssl_channel_credentials(read_file(tls.ca), read_file(tls.key), read_file(tls.cert))


def _grpc_configuration(tls: ServerTls) -> grpc.ServerCertificateConfiguration:
    import grpc

    tls.check()
    return grpc.ssl_server_certificate_configuration(
        [(read_file(tls.key), read_file(tls.cert))],
        None if tls.client_ca is None else read_file(tls.client_ca),
    )


def _pair_troubles(cert: Path, key: Path, cert_name: str, key_name: str) -> dict[str, str]:
    wrong = trouble(_check_certificates, cert)
    return {
        cert_name: wrong,
        key_name: trouble(_private_key, key) if wrong else trouble(_check_pair, cert, key),
    }


def _check_pair(cert: Path, key: Path) -> None:
    _load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)


def _load_pair(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    contents = _private_key(key), read_file(cert)
    try:
        with _in_memory(contents[0]) as key_copy, _in_memory(contents[1]) as cert_copy:
            # Without a function, OpenSSL would ask for a key's password at the terminal.
            context.load_cert_chain(cert_copy, key_copy, _no_password)
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            raise FileError(f"{key} does not match the certificate in {cert}") from None
        raise FileError(
            f"{key} contains no private key that is usable without a password"
        ) from None
    except OSError as error:
        raise FileError(f"{cert} with {key} cannot be read: {error.strerror}") from None


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield the path of a file in memory: OpenSSL reads only files, and waits if they hang."""
    descriptor = os.memfd_create("pem")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _private_key(path: Path) -> bytes:
    content = read_file(path)
    if b"PRIVATE KEY-----" not in content:
        raise FileError(f"{path} contains no PEM private key")
    return content


def _certificates(path: Path) -> str:
    return read_file(path).decode("ascii", "ignore")  # bundles have comments in any language


def _check_certificates(path: Path) -> None:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(cadata=_certificates(path))
    except FileError:
        raise
    except (ssl.SSLError, ValueError):  # an empty file raises the latter
        raise FileError(f"{path} contains no PEM certificate") from None


def _no_password() -> str:
    return ""
