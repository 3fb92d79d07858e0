"""Certificates for tests, in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A private CA that keeps all it makes in one folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.cert = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.cert)

    def issue(
        self, name: str, *hosts: str, common_name: str | None = None, replace: bool = False
    ) -> Pair:
        """Issue a certificate for hosts, in ``NAME.pem`` and ``NAME.key``."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        assert replace or not pair.cert.exists(), "that would change what another test uses"
        issued = self._ca.issue_cert(*hosts or ("localhost", "127.0.0.1"), common_name=common_name)
        issued.private_key_pem.write_to_path(pair.key)
        pair.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return pair
