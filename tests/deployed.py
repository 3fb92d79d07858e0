"""The containers that deploy/ describes, for Compose and for Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"


def _read(path: Path) -> list[Any]:
    """Read a file's documents by libyaml: each process that collects tests reads all of them."""
    return [*yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader)]


[COMPOSE] = _read(DEPLOY / "compose" / "compose.yaml")
MANIFESTS: dict[Path, list[dict[str, Any]]] = {
    path: _read(path) for path in sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
}
OURS = "sessiongate"  # the image, and the command


@dataclass(frozen=True)
class Pod:
    """A kind of pod: the file it is in, its labels and its specification."""

    file: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        [found] = self.spec["containers"]
        return dict(found)

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}


def resources(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the manifests of a kind, each with its file's path below deploy/kubernetes."""
    for path, documents in MANIFESTS.items():
        for document in documents:
            if document["kind"] == kind:
                yield str(path.relative_to(DEPLOY / "kubernetes")), document


def pods() -> list[Pod]:
    """Return all kinds of pods."""
    found = [each for kind in ("Deployment", "StatefulSet") for each in resources(kind)]
    return [
        Pod(file, template["metadata"]["labels"], template["spec"])
        for file, workload in found
        for template in [workload["spec"]["template"]]
    ]


def command_lines() -> Iterator[list[str]]:
    """Yield each command line of ours, with its command and without its program."""
    for name, service in COMPOSE["services"].items():
        if service["image"] == OURS:
            assert service["entrypoint"] == [OURS], name
            yield service["command"]
            if "healthcheck" in service:
                yield service["healthcheck"]["test"][2:]
    for pod in pods():
        container = pod.container
        assert (container["image"], container["command"]) == (OURS, [OURS]), pod.file
        yield container["args"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if "exec" in container.get(probe, {}):
                program, *line = container[probe]["exec"]["command"]
                assert program == OURS
                yield line
