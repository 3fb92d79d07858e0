"""Protection of a listener by TLS and credentials, from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sessiongate.runtime.auth.credentials import DEFAULT_AUDIENCE, Credentials
from sessiongate.runtime.auth.operators import operator_claim, parse_claim, read_operators
from sessiongate.runtime.settings import mode, repeatable, setting, switch, text
from sessiongate.runtime.tls import ServerTls
from sessiongate.runtime.watched_file import trouble


@dataclass(frozen=True, slots=True)
class Protection:
    """The settings of both listeners; by default, they use neither TLS nor credentials."""

    tls_cert: str | None = setting(
        None,
        text,
        "Certificate of this server, followed by any intermediate ones; enables TLS.",
        "FILE",
    )
    tls_key: str | None = setting(
        None, text, "Private key of the certificate, not encrypted.", "FILE"
    )
    tls_client_ca: str | None = setting(
        None, text, "Require client certificates that are signed by this CA.", "FILE"
    )
    users: str | None = setting(
        None, text, "Accept callers by their name and password in this htpasswd file.", "FILE"
    )
    token_key: str | None = setting(
        None, text, "Accept bearer tokens; verify them with this public key (PEM).", "FILE"
    )
    token_secret: str | None = setting(
        None, text, "Accept bearer tokens; verify them with the secret in this file.", "FILE"
    )
    token_audience: str = setting(
        DEFAULT_AUDIENCE, text, "Required `aud` claim of bearer tokens.", "NAME"
    )
    operators: str | None = setting(
        None,
        text,
        "Let callers act on sessions whose names are in this file, one per line.",
        "FILE",
    )
    operator_claim: tuple[str, ...] = repeatable(
        (),
        operator_claim,
        "Let callers act on sessions whose tokens have this claim, such as groups=dba; repeatable.",
        "NAME=VALUE",
    )
    insecure_actions: bool = setting(
        False, switch, "Let every caller act on sessions, without credentials, on loopback only."
    )
    socket_mode: str = setting(
        "600",
        mode,
        "Mode of the core's Unix socket, as for chmod; 660 also lets its group connect.",
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
                raise ValueError(f"{name}: requires --{other.replace('_', '-')}")
        if self.token_key and self.token_secret:
            raise ValueError("token_secret: cannot be combined with --token-key")
        has_tokens = bool(self.token_key or self.token_secret)
        if self.operators and not (self.users or has_tokens or self.tls_client_ca):
            raise ValueError(
                "operators: requires --users, --token-key, --token-secret or --tls-client-ca"
            )
        if self.operator_claim and not has_tokens:
            raise ValueError("operator_claim: requires --token-key or --token-secret")
        if self.insecure_actions and (self.users or has_tokens or self.tls_client_ca):
            raise ValueError(
                "insecure_actions: cannot be combined with credentials; name those who may act by"
                " --operators or --operator-claim"
            )

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
            operators=_path(self.operators),
            operator_claims=tuple(map(parse_claim, self.operator_claim)),
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
        if self.operators:
            found["operators"] = trouble(read_operators, Path(self.operators))
        return {name: text for name, text in found.items() if text}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
