"""The settings of TLS between a core and what calls it: gateways, commands and fronts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sessiongate.runtime.settings import setting, text
from sessiongate.runtime.tls import ClientTls


@dataclass(frozen=True)
class CoreTlsSettings:
    """The files by which a core is recognized, and by which it recognizes its caller."""

    core_ca: str | None = setting(
        None, text, "CA certificates to verify the core's certificate with; enables TLS.", "FILE"
    )
    core_cert: str | None = setting(
        None, text, "Client certificate for a core that requires one.", "FILE"
    )
    core_key: str | None = setting(None, text, "Private key of the client certificate.", "FILE")

    def __post_init__(self) -> None:
        """Raise `ValueError`, naming the missing setting, if one setting lacks another."""
        for name, other in (
            ("core_cert", "core_key"),
            ("core_key", "core_cert"),
            ("core_cert", "core_ca"),
        ):
            if getattr(self, name) and not getattr(self, other):
                raise ValueError(f"{name}: requires --{other.replace('_', '-')}")

    @property
    def core_tls(self) -> ClientTls | None:
        """The TLS files, if the connection uses TLS."""
        if self.core_ca is None:
            return None
        if self.core_cert is None or self.core_key is None:
            return ClientTls(Path(self.core_ca))
        return ClientTls(Path(self.core_ca), Path(self.core_cert), Path(self.core_key))
