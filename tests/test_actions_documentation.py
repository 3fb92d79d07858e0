"""docs/actions.md, followed step by step on real servers."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from contextlib import ExitStack
from pathlib import Path

from sessiongate.core.sources.base import Action
from tests.core.acting import struck
from tests.core.test_acts_mysql import target
from tests.core.test_acts_postgresql import sleeping
from tests.mariadb import mariadb, opened, run
from tests.polling import eventually
from tests.postgres import PASSWORD, STORED, Postgres, is_alive, running_postgres
from tests.program import COMMAND, Forked, environment
from tests.program import run as run_command
from tests.snippets import texts

PAGE = "docs/actions.md"


def blocks(language: str, heading: str) -> list[str]:
    return texts(PAGE, language, heading)


def prepared(server: Postgres, folder: Path) -> Path:
    """Follow the page up to the command that serves; return the configuration."""
    (statements, _), (text,) = blocks("sql", "Allow it"), blocks("toml", "Allow it")
    users = [f"CREATE ROLE {name} LOGIN PASSWORD '{STORED}'" for name in ("sessiongate", "app")]
    grant = "GRANT pg_read_all_stats TO sessiongate"
    server.execute(*users, grant, *statements.splitlines())
    for name in ("db1", "db1-acts"):
        (folder / name).write_text(PASSWORD)
    text = text.replace("db1.example:5432", f"127.0.0.1:{server.port}")
    config = folder / "sessiongate.toml"
    config.write_text(text.replace("/etc/sessiongate/", f"{folder}/"))
    adding = ["users", "add", "alice", "--users", "users"]
    signing = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", "token-signing.pem"]
    public = ["openssl", "pkey", "-in", "token-signing.pem", "-pubout", "-out", "token.pem"]
    for command in ([str(COMMAND), *adding], signing, public):
        subprocess.run(
            command, cwd=folder, env=environment(), input=PASSWORD, text=True, check=True
        )
    return config


def test_an_operator_ends_a_session_and_cancels_statements(tmp_path: Path) -> None:
    with running_postgres() as server, ExitStack() as stack:
        config = prepared(server, tmp_path)
        (commands,) = blocks("sh", "Allow it")
        naming, serving = commands.splitlines()
        subprocess.run(["sh", "-c", naming], cwd=tmp_path, check=True)
        flags = [
            str(tmp_path / word) if (tmp_path / word).is_file() else word
            for word in shlex.split(serving)[2:]
        ]
        core = stack.enter_context(Forked(*flags, "--config", config))
        (tmp_path / "password").write_text(PASSWORD)
        login = ("--core-user", "alice", "--core-password-file", tmp_path / "password")

        def ask(*arguments: object) -> str:
            done = run_command(*arguments, "--core", core.grpc, *login)
            assert done.returncode == 0, (done.stderr, core.output)
            return done.stdout

        (commands,) = blocks("sh", "At a terminal")
        terminating, cancelling = (shlex.split(line)[1:] for line in commands.splitlines())
        client = stack.enter_context(server.connect(user="app", application_name="stray"))
        listed = eventually(lambda: ask("list", "--columns", "id,application", "--output", "csv"),
                            lambda text: "stray" in text)  # fmt: skip
        (ident,) = re.findall(r"^(\d+),stray", listed, re.MULTILINE)
        terminating[1] = ident
        assert ask(*terminating, "--yes").endswith(f"session {ident}: ended\n")
        assert not is_alive(client)
        (shown,) = re.findall(r"`sessiongate (history --columns \S+)`", Path(PAGE).read_text())
        assert re.search(r"terminated +alice$", ask(*shlex.split(shown)), re.MULTILINE)
        reports = [server.connect(user="app", application_name="report") for _ in range(3)]
        for report in reports:
            stack.enter_context(report)
        ended = [stack.enter_context(sleeping(report)) for report in reports]
        active = ("list", "--application", "report", "--activity", "active", "--output", "csv")
        eventually(lambda: ask(*active), lambda text: text.count("report") == 3)
        cancelling[cancelling.index("10m")] = "0.001"
        assert ask(*cancelling, "--yes").count(": cancelled\n") == 3
        eventually(lambda: all(ended))
        assert all(map(is_alive, reports))


def test_the_lines_for_mariadb_let_it_act() -> None:
    _, statements = blocks("sql", "Allow it")
    options = {
        "actions": "terminate",
        "action_user": "sessiongate_acts",
        "action_password": PASSWORD,
    }
    with mariadb() as server:

        async def main() -> None:
            async with server.client("root", host="") as root:
                for statement in statements.replace("192.0.2.10", "%").split(";")[:-1]:
                    await run(root, statement)
            async with server.client() as client, opened(server, **options) as source:
                aimed = await target(source, client)
                assert await struck(source, Action.TERMINATE, aimed) is None

        asyncio.run(main())
