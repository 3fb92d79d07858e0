"""The files of deploy/ for Compose and Kubernetes: valid, confined, and made of what there is."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
import yaml
from kubernetes_validate import utils as kubernetes
from typer.core import TyperGroup

from sessiongate.gateway.cli.main import app
from tests.deployed import COMPOSE, MANIFESTS, OURS, Pod, command_lines, pods, resources
from tests.snippets import ROOT

OLDEST = "1.30"  # of Kubernetes, as docs/containers.md says
PODS = pods()
BY_FILE = pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod.file)


def validated(document: dict[str, Any]) -> None:
    for version in (OLDEST, kubernetes.latest_version()):
        kubernetes.validate(document, version, strict=True)


def test_the_compose_file_follows_its_schema() -> None:
    from compose_spec import PyCompose  # late: it takes long, in each process that collects tests

    def validate(document: dict[str, Any]) -> None:
        PyCompose.from_yaml(yaml.safe_dump(document)).validate()

    validate(COMPOSE)
    wrong = copy.deepcopy(COMPOSE)
    wrong["services"]["core"]["read_onyl"] = True
    with pytest.raises(ValueError, match="read_onyl"):
        validate(wrong)
    wrong = copy.deepcopy(COMPOSE)
    del wrong["secrets"]["users"]
    with pytest.raises(ValueError, match="users"):
        validate(wrong)


def test_the_manifests_follow_their_schemas() -> None:
    for documents in MANIFESTS.values():
        for document in documents:
            validated(document)
    [core] = [document for file, document in resources("Deployment") if file == "core.yaml"]
    wrong = copy.deepcopy(core)
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes.ValidationError, match="readynessProbe"):
        validated(wrong)
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    assert f"Kubernetes {OLDEST} or later" in page


def test_each_flag_is_one_of_the_command() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    lines = [*command_lines()]
    assert {line[0] for line in lines} == {"core", "serve", "check"}
    for command, *arguments in lines:
        known = {flag: option for option in group.commands[command].params for flag in option.opts}
        for argument in arguments:
            flag, has_value, _ = argument.partition("=")
            assert flag in known, f"{command} has no {flag}"
            # One word each, so that nothing depends on the order.
            assert bool(has_value) is not getattr(known[flag], "is_flag", False), argument


@BY_FILE
def test_a_pod_may_do_nothing_but_run(pod: Pod) -> None:
    spec, container = pod.spec, pod.container
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False, "they look like settings"
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert 0 not in (context["runAsUser"], context["runAsGroup"], context["fsGroup"])
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= {*container["resources"]["requests"]}
    assert "memory" in container["resources"]["limits"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= {*container}


@BY_FILE
def test_a_pod_mounts_what_it_names(pod: Pod) -> None:
    volumes = {volume["name"] for volume in pod.spec["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in pod.container["volumeMounts"]}
    assert volumes == {mount["name"] for mount in mounts.values()}
    assert all(mount.get("readOnly") for path, mount in mounts.items() if path != "/tmp")
    named = re.findall(r"(?<==)(/(?:run|etc)[^&\s]+)/[^/&\s]+", "\n".join(pod.container["args"]))
    assert {*named} <= {*mounts}


def test_a_compose_service_may_do_nothing_but_run() -> None:
    ours = [service for service in COMPOSE["services"].values() if service["image"] == OURS]
    assert len(ours) == 2
    for service in ours:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"].split(":")[0] != "0"


def selected(selector: dict[str, str]) -> list[Pod]:
    return [pod for pod in PODS if selector.items() <= pod.labels.items()]


def test_services_and_budgets_select_pods_that_have_their_ports() -> None:
    for _, service in resources("Service"):
        found = selected(service["spec"]["selector"])
        assert found, service
        for port in service["spec"]["ports"]:
            assert all(port["targetPort"] in pod.ports for pod in found), service
    for _, budget in resources("PodDisruptionBudget"):
        assert selected(budget["spec"]["selector"]["matchLabels"]), budget


def rules(policy: dict[str, Any]) -> Iterator[tuple[list[Pod], dict[str, Any]]]:
    """Yield each rule of a policy, with the pods whose ports it names."""
    own = selected(policy["spec"]["podSelector"].get("matchLabels", {}))
    for rule in policy["spec"].get("ingress", []):
        yield own, rule
    for rule in policy["spec"].get("egress", []):
        peers = [peer["podSelector"] for peer in rule.get("to", []) if "podSelector" in peer]
        yield [pod for peer in peers for pod in selected(peer["matchLabels"])], rule


def test_network_policies_open_ports_that_there_are() -> None:
    policies = [policy for _, policy in resources("NetworkPolicy")]
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert closed in [policy["spec"] for policy in policies], "what is not named is closed"
    for policy in policies:
        for found, rule in rules(policy):
            named = {port["port"] for port in rule["ports"] if isinstance(port["port"], str)}
            assert not named or (found and all(named <= {*pod.ports} for pod in found)), policy
    for pod in PODS:
        own = [
            policy["spec"]
            for policy in policies
            if policy["spec"]["podSelector"].get("matchLabels")
            and pod in selected(policy["spec"]["podSelector"]["matchLabels"])
        ]
        entered = [rule for spec in own for rule in spec.get("ingress", [])]
        opened = {port["port"] for rule in entered for port in rule["ports"]}
        assert opened == {*pod.ports}, pod.file
