"""Files that a running program follows: if one hangs, nothing else suffers."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from sessiongate.runtime.auth.htpasswd import add_user
from tests.credentials import CredentialFiles, basic
from tests.hanging import hanging_folder
from tests.polling import eventually
from tests.program import DATA, DOCUMENT, PATIENCE, Forked, ForkedProgram, Serving

pytestmark = pytest.mark.long


def status(program: Serving, path: str, login: str = "") -> int:
    headers = {"Authorization": login} if login else {}
    url = f"http://{program.http}{path}"
    return httpx.get(url, headers=headers, timeout=PATIENCE, trust_env=False).status_code


def test_a_fifo_in_place_of_the_users_changes_nothing_until_it_is_a_file(tmp_path: Path) -> None:
    files = CredentialFiles(tmp_path)
    with Forked("--users", files.users, "--source", DOCUMENT) as program:
        assert status(program, "/v1/sessions", basic()) == 200
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "fifo").rename(files.users)
        said = f"{files.users} is a FIFO, not a regular file; keeping the previous content"

        def is_said() -> bool:
            assert status(program, "/v1/sessions", basic()) == 200
            return said in program.output

        eventually(is_said)
        assert status(program, "/healthz") == 200
        assert status(program, "/v1/sessions", basic()) == 200
        add_user(tmp_path / "new", "bob", "herring")
        (tmp_path / "new").rename(files.users)
        eventually(lambda: status(program, "/v1/sessions", basic("bob", "herring")) == 200)
        assert status(program, "/v1/sessions", basic()) == 401
        program.process.terminate()
        assert program.wait() == 0
        assert program.output.count(said) <= 2, "once a program"


def test_a_file_system_that_hangs_costs_what_is_on_it_and_nothing_else(tmp_path: Path) -> None:
    with hanging_folder(tmp_path) as folder:
        files = CredentialFiles(folder.path)
        document = folder.path / "sessions.json"
        shutil.copy(DATA / "sessions.json", document)
        with Forked(
            *("--users", files.users),
            *("--source", f"document:{document}?name=there&interval=0.1&timeout=1"),
            *("--source", f"{DOCUMENT}?name=here&interval=0.1"),
        ) as program:
            assert status(program, "/v1/sessions", basic()) == 200
            folder.hang()
            program.expect("source there is unreachable: did not respond within 1 s")

            def is_said() -> bool:
                assert status(program, "/v1/sessions", basic()) == 200
                return f"{files.users}: the file system does not respond" in program.output

            eventually(is_said)
            assert status(program, "/healthz") == status(program, "/readyz") == 200
            assert "source here is unreachable" not in program.output
            threads = program.core().num_threads()
            for _ in range(20):
                assert status(program, "/v1/sessions", basic()) == 200
            assert program.core().num_threads() <= threads + 10
            folder.answer()
            program.expect("source there is reachable again")
            add_user(files.users, "bob", "herring")
            eventually(lambda: status(program, "/v1/sessions", basic("bob", "herring")) == 200)


@pytest.mark.parametrize("setting", ["password_file", "tls_ca"])
def test_a_fifo_in_place_of_a_sources_file_costs_that_source(tmp_path: Path, setting: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    location = f"postgresql://ann@127.0.0.1:1/d?name=there&tls=verify&{setting}={tmp_path}/fifo"
    with Forked("--source", location, "--source", DOCUMENT) as program:
        said = f"{setting}: {tmp_path}/fifo is a FIFO, not a regular file"
        eventually(lambda: f"source there is unreachable: {said}" in program.output)
        assert status(program, "/v1/sessions") == 200


def test_a_worker_that_ended_is_replaced_once_its_files_can_be_read(tmp_path: Path) -> None:
    files = CredentialFiles(tmp_path)
    with Forked("--users", files.users, "--source", DOCUMENT) as program:
        assert status(program, "/v1/sessions", basic()) == 200
        kept = tmp_path / "kept"
        files.users.rename(kept)
        os.mkfifo(files.users)
        [worker] = program.workers()
        worker.kill()
        said = f"users: {files.users} is a FIFO, not a regular file; starting no worker"
        program.expect(re.escape(said))
        kept.rename(files.users)
        assert status(program, "/v1/sessions", basic()) == 200
        assert program.output.count(said) == 1
        assert "Traceback" not in program.output


def test_files_that_do_not_answer_at_a_start_are_named(tmp_path: Path) -> None:
    with hanging_folder(tmp_path) as folder, ExitStack() as stack:
        files = CredentialFiles(folder.path)
        config = folder.path / "sessiongate.toml"
        config.touch()
        folder.hang()
        asked = "--core", "127.0.0.1:1"
        started = [
            stack.enter_context(ForkedProgram(*map(str, arguments)))
            for arguments in (
                ("list", *asked, "--config", config),
                ("list", *asked, "--core-ca", files.users),
                ("list", *asked, "--core-token-file", files.users),
                ("serve", *asked, "--http", "127.0.0.1:0", "--users", files.users),
                ("core", "--grpc", "127.0.0.1:0", "--ledger", "sqlite://", "--users", files.users),
                ("check-config", "--users", files.users),
            )
        ]
        for program in started:
            program.expect(rf"{folder.path}/\S+: the file system does not respond")
        folder.answer()
        for program in started:
            assert program.wait() == 2, program.output
