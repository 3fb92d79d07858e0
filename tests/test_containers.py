"""docs/containers.md, followed: the programs that deploy/ describes, without the containers.

Each runs with the arguments, the files and the probes that are written there; only ports, names of
hosts and the folders above the files are those of the test.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deployed import COMPOSE, DEPLOY, MANIFESTS, Pod, pods, resources
from tests.polling import eventually
from tests.postgres import PASSWORD, SUPERUSER, Postgres, running_postgres
from tests.program import PATIENCE, ForkedProgram, run, typed
from tests.servers import free_port, require
from tests.snippets import texts

PAGE = "docs/containers.md"
COMPOSE_SECRETS, _START = texts(PAGE, "sh", "With Compose")
CERTIFICATES, CREATED = texts(PAGE, "sh", "In Kubernetes")
FLEET_CERTIFICATE, FLEET_CREATED = texts(PAGE, "sh", "A fleet in Kubernetes")
[FRONTS] = yaml.safe_load(texts(PAGE, "yaml", "A fleet in Kubernetes")[0])
CHOSEN = "the ledger's password"
SERVICE = "--core=sessiongate-core:50051"  # as the manifests name it
ALICE = ("alice", "open sesame")


def typed_by_alice(block: str, folder: Path) -> str:
    """Type a block's lines in a folder; return the output."""
    return typed(f"chown() {{ :; }}\n{block}", folder, ALICE[1] + "\n")  # chown takes root


def moved(text: str, places: Mapping[str, object]) -> str:
    """Return a text with other places in it."""
    for place, here in places.items():
        text = text.replace(place, str(here))
    return text


def started(line: Sequence[str], places: Mapping[str, object]) -> ForkedProgram:
    """Check the settings of a command line, and start it on free ports of this machine."""
    command, *arguments = [moved(each, places) for each in line]
    checked = run("check-config", *arguments)
    assert checked.returncode == 0, checked.stderr
    return ForkedProgram(
        command, *(re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", each) for each in arguments)
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Run a server with the ledger's role and database, as the image of PostgreSQL makes them."""
    with running_postgres(fsync="on") as server:
        secret = server.folder / "ledger.password"
        secret.write_text(f"{CHOSEN}\n")
        script = server.folder / "ledger.sql"
        text = (DEPLOY / "compose" / "ledger.sql").read_text(encoding="utf-8")
        script.write_text(moved(text, {"/run/secrets/ledger.password": secret}))
        subprocess.run(
            [
                *(require("psql", "postgresql-client"), "--no-psqlrc", "--set=ON_ERROR_STOP=1"),
                *("--host=127.0.0.1", f"--port={server.port}", f"--username={SUPERUSER}"),
                *("--dbname=postgres", f"--file={script}"),
            ],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        yield server


def users_of(url: str, ca: Path) -> set[str]:
    """Ask a gateway who is connected, as somebody who has a password."""
    answer = httpx.get(
        f"{url}/v1/sessions",
        auth=ALICE,
        verify=ssl.create_default_context(cafile=str(ca)),
        timeout=PATIENCE,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return {item["attributes"]["user"] for item in answer.json()["data"]}


def test_the_statements_are_those_of_the_documented_ledger() -> None:
    ours = (DEPLOY / "compose" / "ledger.sql").read_text(encoding="utf-8")
    documented = texts("docs/ledger.md", "sql", "Setting it up")[0]
    made = ours.partition("`\n")[2].replace(":'password'", "'choose one'")
    assert made == documented


def test_the_programs_of_the_compose_file_serve(server: Postgres, tmp_path: Path) -> None:
    typed_by_alice(COMPOSE_SECRETS, tmp_path)
    secrets = tmp_path / "secrets"
    declared = {Path(each["file"]).name for each in COMPOSE["secrets"].values()}
    assert {path.name for path in secrets.iterdir()} == declared
    for name in ("ledger.password", "db1.password"):  # one role stands for both
        (secrets / name).write_text(CHOSEN)
    shutil.copy(DEPLOY / "compose" / "sessiongate.toml", tmp_path)
    places = {
        "@ledger:5432": f"@127.0.0.1:{server.port}",
        "@db1.example:5432": f"@127.0.0.1:{server.port}",
        "/run/secrets": secrets,
        "/run/sessiongate": tmp_path,
        "/etc/sessiongate": tmp_path,
    }
    settings = tmp_path / "sessiongate.toml"
    settings.write_text(moved(settings.read_text(), places))
    core, gateway = (COMPOSE["services"][name] for name in ("core", "gateway"))
    with started(core["command"], places) as first:
        first.expect("ready: ")
        health = [moved(each, places) for each in core["healthcheck"]["test"][2:]]
        eventually(partial(checking, health), lambda code: code == 0)
        with started(gateway["command"], places) as second:
            url = second.expect(r"REST +(\S+)/v1/sessions$")[1]
            ca = secrets / "tls.crt"
            # It also says who reads the source, and who writes the ledger.
            eventually(lambda: users_of(local(url), ca), lambda users: "sessiongate" in users)
            assert "warning" not in first.output + second.output


def local(url: str) -> str:
    return re.sub(r"//[^:/]+", "//localhost", url)


def checking(words: Sequence[str]) -> int:
    return run(*words).returncode


def probing(probe: Mapping[str, Any], url: str) -> int:
    """Ask as the kubelet does: by address, and without looking at the certificate."""
    assert probe["scheme"] == "HTTPS"
    answer = httpx.get(
        url + probe["path"],
        headers={header["name"]: header["value"] for header in probe["httpHeaders"]},
        verify=False,
        timeout=PATIENCE,
        trust_env=False,
    )
    return answer.status_code


def created(block: str, folder: Path) -> dict[str, dict[str, bytes]]:
    """Make the secrets with the real kubectl, which prints them; return their files by name."""
    kubectl = require("kubectl", "kubernetes-client")
    dry = f'[ "$1" != create ] || {{ {kubectl} "$@" --dry-run=client --output=json; }}'
    printed = typed_by_alice(f"kubectl() {{ {dry}; }}\n{block}", folder)
    decoder, found = json.JSONDecoder(), {}
    while printed := printed.strip():
        secret, end = decoder.raw_decode(printed)
        assert secret["metadata"]["namespace"] == "sessiongate"
        files = {name: base64.b64decode(text) for name, text in secret["data"].items()}
        found[secret["metadata"]["name"]] = files
        printed = printed[end:]
    return found


class Cluster:
    """The files of pods: secrets, as documented, and the ledger of a server."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        typed_by_alice(CERTIFICATES, folder)
        typed_by_alice(FLEET_CERTIFICATE, folder)
        for name in ("ledger.password", "db1.password"):  # one role stands for both
            (folder / name).write_text(CHOSEN)
        shutil.copy(server.folder / "ca.pem", folder / "ledger-ca.crt")
        self.ca = folder / "ca.crt"
        self.secrets = created(CREATED, folder) | created(FLEET_CREATED, folder)
        self._folder = folder
        # The source is on this machine, without TLS; for the ledger, it must be said.
        self._source = f"@127.0.0.1:{server.port}"
        self._ledger = {
            "@ledger.example:5432": f"@localhost:{server.port}",
            "?password": "?tls=verify&password",
        }

    def places(self, pod: Pod, name: str) -> dict[str, object]:
        """Lay the files of a pod, and return where what it names is."""
        root = self._folder / name
        for mount in pod.container["volumeMounts"]:
            [volume] = [each for each in pod.spec["volumes"] if each["name"] == mount["name"]]
            self._mount(volume, root / mount["mountPath"].lstrip("/"))
        settings = root / "etc/sessiongate/sessiongate.toml"
        if settings.exists():
            source = f'name = "{Path(pod.file).stem}"'  # a source belongs to one shard
            here = {'"/run/': f'"{root}/run/', 'name = "db1"': source}
            here["@db1.example:5432"] = self._source
            settings.write_text(moved(settings.read_text(), here))
        return {"=/run/": f"={root}/run/", "=/etc/": f"={root}/etc/", **self._ledger}

    def _mount(self, volume: Mapping[str, Any], path: Path) -> None:
        """Lay files as the kubelet does: links to those of a folder that a link names."""
        (path / "..2026").mkdir(parents=True)
        (path / "..data").symlink_to("..2026")
        for name, content in self._files(volume).items():
            (path / "..2026" / name).write_bytes(content)
            (path / "..2026" / name).chmod(volume.get("secret", {}).get("defaultMode", 0o644))
            (path / name).symlink_to(f"..data/{name}")

    def _files(self, volume: Mapping[str, Any]) -> Mapping[str, bytes]:
        if "secret" in volume:
            held = self.secrets[volume["secret"]["secretName"]]
            items = volume["secret"].get("items")
            return {each["path"]: held[each["key"]] for each in items} if items else held
        if "configMap" in volume:
            [data] = [
                found["data"]
                for _, found in resources("ConfigMap")
                if found["metadata"]["name"] == volume["configMap"]["name"]
            ]
            return {name: text.encode() for name, text in data.items()}
        return {}


@pytest.fixture(scope="module")
def cluster(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster(server, tmp_path_factory.mktemp("cluster"))


def pod_of(file: str) -> Pod:
    [found] = [pod for pod in pods() if pod.file == file]
    return found


def test_all_manifests_are_applied() -> None:
    applied = re.findall(r"--filename=(\S+)", CREATED + FLEET_CREATED)
    assert {*applied} == {str(path.relative_to(DEPLOY / "kubernetes")) for path in MANIFESTS}


def test_the_pods_of_the_manifests_serve(cluster: Cluster) -> None:
    core = pod_of("core.yaml")
    places = cluster.places(core, "core")
    with started(core.container["args"], places) as first:
        port = first.expect(r"listening on \S+:(\d+)")[1]
        first.expect("ready: ")
        answers_behind_a_gateway(core, places, port, cluster)


def answers_behind_a_gateway(
    core: Pod, places: Mapping[str, object], port: str, cluster: Cluster
) -> None:
    """Ask the probes of a core, and those of a gateway that calls it; ask that for sessions."""
    called = {SERVICE: f"--core=localhost:{port}"}
    for probe in ("startupProbe", "readinessProbe"):
        asked = core.container[probe]["exec"]["command"][1:]
        words = [moved(each, {**places, **called}) for each in asked]
        eventually(partial(checking, words), lambda code: code == 0)
    gateway = pod_of("gateway.yaml")
    if core.file.startswith("fleet"):
        called[SERVICE] = f"--core=localhost:{free_port()},localhost:{port}"  # one is away
    behind = cluster.places(gateway, f"{Path(core.file).stem}-gateway") | called
    with started(gateway.container["args"], behind) as second:
        url = second.expect(r"REST +(\S+)/v1/sessions$")[1]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            probed = gateway.container[probe]["httpGet"]
            eventually(partial(probing, probed, url), lambda status: status == 200)
        asking = partial(users_of, local(url), cluster.ca)
        eventually(asking, lambda users: "sessiongate" in users)


def test_the_fleet_of_the_manifests_serves(cluster: Cluster) -> None:
    shard, front = pod_of("fleet/shard-east.yaml"), pod_of("fleet/front.yaml")

    def running(pod: Pod, number: int) -> tuple[ForkedProgram, dict[str, object], str]:
        """Start the pod of that number of a set; return its places and its port, too."""
        name, port = f"{Path(pod.file).stem}-{number}", str(free_port())
        places = {
            **cluster.places(pod, name),
            "$(POD_NAME).sessiongate-east.sessiongate.svc:50051": f"localhost:{port}",
            "$(POD_NAME).sessiongate-front.sessiongate.svc:50051": f"localhost:{port}",
            "$(POD_NAME)": name,
            "0.0.0.0:50051": f"127.0.0.1:{port}",
        }
        return started(pod.container["args"], places), places, port

    [advertised] = [each for each in front.container["args"] if each.startswith("--advertise=")]
    one = advertised.removeprefix("--advertise=")
    fronts = [one.replace("$(POD_NAME)", f"sessiongate-front-{number}") for number in (0, 1)]
    assert f"--core={','.join(fronts)}" == FRONTS
    with ExitStack() as stack:
        active, _, _ = running(shard, 0)
        stack.enter_context(active)
        active.expect("ready: ")
        waiting, _, _ = running(shard, 1)
        stack.enter_context(waiting)
        waiting.expect("standing by|stands by")
        reader, places, port = running(front, 0)
        stack.enter_context(reader)
        reader.expect("ready: ")
        answers_behind_a_gateway(front, places, port, cluster)
        active.process.kill()
        waiting.expect("ready: ")
