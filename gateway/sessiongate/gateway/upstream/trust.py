"""The certificates by which a gateway and its core trust each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sessiongate.runtime.settings import setting, text
from sessiongate.runtime.tls import ClientTls


@dataclass(frozen=True, slots=True)
class CoreTls:
    """The settings of TLS with a remote core; without them, there is none."""

    core_ca: str | None = setting(
        None, text, "Speak TLS with the core, whose certificate is of one of these CAs.", "FILE"
    )
    core_cert: str | None = setting(
        None, text, "Show the core this certificate, where it asks for one.", "FILE"
    )
    core_key: str | None = setting(None, text, "That certificate's key.", "FILE")

    def __post_init__(self) -> None:
        """Raise `ValueError`, naming the missing setting, if one setting lacks another."""
        for name, other in (
            ("core_cert", "core_key"),
            ("core_key", "core_cert"),
            ("core_cert", "core_ca"),
        ):
            if getattr(self, name) and not getattr(self, other):
                raise ValueError(f"{name}: needs --{other.replace('_', '-')} beside it")

    @property
    def tls(self) -> ClientTls | None:
        """The files, if TLS is used."""
        if self.core_ca is None:
            return None
        if self.core_cert is None or self.core_key is None:
            return ClientTls(Path(self.core_ca))
        return ClientTls(Path(self.core_ca), Path(self.core_cert), Path(self.core_key))
