"""Protection of a listener by TLS and credentials, from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sessiongate.runtime.auth.credentials import DEFAULT_AUDIENCE, Credentials
from sessiongate.runtime.settings import mode, setting, text
from sessiongate.runtime.tls import ServerTls
from sessiongate.runtime.watched_file import trouble


@dataclass(frozen=True, slots=True)
class Protection:
    """The settings of both listeners; by default they have neither TLS nor credentials."""

    tls_cert: str | None = setting(
        None, text, "Speak TLS, with this certificate and those between it and the CA.", "FILE"
    )
    tls_key: str | None = setting(None, text, "The certificate's key, without a password.", "FILE")
    tls_client_ca: str | None = setting(
        None, text, "Take only clients that have a certificate of this CA.", "FILE"
    )
    users: str | None = setting(
        None, text, "Ask callers for a name and password that stand here (htpasswd).", "FILE"
    )
    token_key: str | None = setting(
        None, text, "Take bearer tokens, checked with this public key (PEM).", "FILE"
    )
    token_secret: str | None = setting(
        None, text, "Take bearer tokens, checked with the secret in this file.", "FILE"
    )
    token_audience: str = setting(
        DEFAULT_AUDIENCE, text, "Whom bearer tokens must be for (aud).", "NAME"
    )

    socket_mode: str = setting(
        "600",
        mode,
        "Mode of the core's Unix socket, as chmod has it; 660 lets its group in too.",
        "MODE",
    )

    def __post_init__(self) -> None:
        """Raise `ValueError` if a setting requires another one, which is missing."""
        for name, other in (
            ("tls_cert", "tls_key"),
            ("tls_key", "tls_cert"),
            ("tls_client_ca", "tls_cert"),
        ):
            if getattr(self, name) and not getattr(self, other):
                raise ValueError(f"{name}: needs --{other.replace('_', '-')} beside it")
        if self.token_key and self.token_secret:
            raise ValueError("token_secret: --token-key is given too; keep one of the two")

    @property
    def tls(self) -> ServerTls | None:
        """The server's files, if TLS is configured."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return ServerTls(Path(self.tls_cert), Path(self.tls_key), _path(self.tls_client_ca))

    def credentials(self, core_token_file: Path | None = None) -> Credentials:
        """Return the accepted credentials; the core's token only if its file is given."""
        return Credentials(
            users=_path(self.users),
            token_key=_path(self.token_key),
            token_secret=_path(self.token_secret),
            token_audience=self.token_audience,
            core_token=core_token_file,
            certificates=self.tls_client_ca is not None,
        )

    def troubles(self) -> dict[str, str]:
        """Return the faults of files, by the settings that name them."""
        found = {} if self.tls is None else self.tls.troubles()
        if self.users or self.token_key or self.token_secret:
            # Costly, and only a server has what they need.
            from sessiongate.runtime.auth.htpasswd import read_users
            from sessiongate.runtime.auth.tokens import read_token_key, read_token_secret

            for name, read in (
                ("users", read_users),
                ("token_key", read_token_key),
                ("token_secret", read_token_secret),
            ):
                if path := getattr(self, name):
                    found[name] = trouble(read, Path(path))
        return {name: text for name, text in found.items() if text}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
