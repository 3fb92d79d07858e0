"""The core that a gateway starts for itself, and the connection between them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sessiongate.gateway.cli.supervisor import Report, Settings, Supervisor
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime.settings import given


@contextmanager
def own_core(
    gateway: GatewayConfig, settings: Settings, report: Report
) -> Iterator[tuple[GatewayConfig, str]]:
    """Run a core; yield the gateway's configuration to reach it, and the address for others.

    If the core's listener has TLS or requires credentials, the gateway gets separate access:
    a socket in a folder that only this user can enter, and a token, generated if none is
    configured. So no certificate has to be valid for the gateway's name of the core.
    Raises `CoreStartError`.
    """
    guarded = gateway.protection.credentials(gateway.core_token_path).wanted
    settings = {**settings, **given(gateway.protection)}
    with ExitStack() as stack:
        if guarded or gateway.protection.tls:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="sessiongate-")))
            settings["private"] = private = f"unix:{folder}/core.sock"
            gateway = replace(gateway, core=(private,))
        if guarded:
            settings["core_token_file"] = token_file = gateway.core_token_file or _new_token(folder)
            gateway = replace(gateway, core_token_file=token_file)
        supervisor = stack.enter_context(Supervisor(settings, report))
        if "private" not in settings:
            gateway = replace(gateway, core=(supervisor.address,))
        yield gateway, supervisor.address


def _new_token(folder: Path) -> str:
    path = folder / "core.token"
    path.write_text(secrets.token_hex(32))
    return str(path)
