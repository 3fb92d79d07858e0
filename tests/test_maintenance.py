"""docs/maintenance.md: what it tells an operator to type, typed."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.faults.documents import write_document
from tests.program import Forked, typed
from tests.snippets import texts
from tests.test_ledger import ids

PAGE = "docs/maintenance.md"
BEFORE, RESTART = texts(PAGE, "sh", "Upgrade")
[BACK] = texts(PAGE, "sh", "Go back")
[NIGHTLY] = texts(PAGE, "sh", "Backup and restore")
[UNINSTALL] = texts(PAGE, "sh", "Uninstall")
# The folders that the page names.
FOLDERS = ("/var/backups", "/var/lib", "/etc", "/opt")


def typed_as_root(block: str, root: Path) -> list[str]:
    """Type a block's lines, in folders below another root; return its calls of systemctl.

    systemd is tested with the unit. Whoever calls this stops and starts the program instead.
    """
    for folder in FOLDERS:
        block = block.replace(f" {folder}/", f" {root}{folder}/")
        block = block.replace(f"sqlite:///{folder}/", f"sqlite:///{root}{folder}/")
    calls = [line for line in block.splitlines() if line.startswith("systemctl ")]
    typed(f"systemctl() {{ :; }}\n{block}", root)
    return calls


def test_an_upgrade_and_the_way_back_keep_ids(tmp_path: Path) -> None:
    for folder in ("var/backups", "var/lib/sessiongate", "etc/sessiongate"):
        (tmp_path / folder).mkdir(parents=True)
    document = tmp_path / "app.json"
    ledger = f"sqlite:///{tmp_path}/var/lib/sessiongate/ledger.db"
    log = tmp_path / "var/lib/sessiongate/ledger.db-wal"
    arguments = ("--source", f"document:{document}", "--ledger", ledger)
    (tmp_path / "etc/sessiongate/sessiongate.toml").write_text('source = "host:"\n')
    write_document(document, 2)
    with Forked(*arguments) as serving:
        first = ids(serving)
        assert typed_as_root(BEFORE, tmp_path) == typed_as_root(NIGHTLY, tmp_path) == []
    [*backups] = sorted((tmp_path / "var/backups").iterdir())
    assert len(backups) == 2
    assert typed_as_root(RESTART, tmp_path) == ["systemctl restart sessiongate"]
    write_document(document, 5)
    with Forked(*arguments) as serving:
        later = ids(serving)
        assert later > first
        shutil.copy(log, tmp_path)
    # As a core leaves it that is killed. It belongs to no other file.
    shutil.copy(tmp_path / log.name, log)
    calls = typed_as_root(BACK, tmp_path)
    assert calls == ["systemctl stop sessiongate", "systemctl start sessiongate"]
    with Forked(*arguments) as serving:
        again = ids(serving)
        assert len(again) == 5
        assert first < again
        assert not (again - first) & later, "ids that were given since are not given again"


def test_nothing_is_left_of_an_installation(tmp_path: Path) -> None:
    for folder in ("opt/sessiongate/bin", "etc/sessiongate", "etc/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/systemd/system/sessiongate.service").touch()
    private = tmp_path / "var/lib/private/sessiongate"  # a unit with a dynamic user has it there
    private.mkdir(parents=True)
    (private / "ledger.db").touch()
    (tmp_path / "var/lib/sessiongate").symlink_to(private)
    assert typed_as_root(UNINSTALL, tmp_path) == [
        "systemctl disable --now sessiongate",
        "systemctl daemon-reload",
    ]
    assert [path for path in tmp_path.rglob("*sessiongate*") if path.exists()] == []
