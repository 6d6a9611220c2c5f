"""Rules and dashboard ask for what the hub counts, by names, labels and values that it has."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from atoll.federation.mesh import census
from atoll.federation.resources import Cluster, Gateway, PolicySet, Resource
from atoll.federation.resources.cluster import CLUSTER_PHASES
from atoll.federation.resources.gateway import GatewayPhase
from atoll.federation.resources.policyset_rollout import RolloutPhase
from atoll.hub.metrics import Fleet, Metrics
from deploy.world import of_kind

PLACE = "overlays/cloud"
OTHERS = {"up", "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"}
ADDED = {"job", "persistentvolumeclaim", "le"}  # labels of Prometheus, the kubelet, and histograms


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression with the name of what asks it."""
    for group in of_kind(PLACE, "PrometheusRule")["atoll"]["spec"]["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads(of_kind(PLACE, "ConfigMap")["atoll-dashboard"]["data"]["dashboard.json"])
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def made(model: type[Resource], phase: str, **parts: Any) -> Any:
    """An object that was heard, called as its phase is."""
    status = {"phase": phase, "lastProvenAt": datetime.now(UTC)}
    return model.model_validate({"metadata": {"name": phase.lower()}, "status": status, **parts})


def fleet() -> Fleet:
    """One of each, in each phase."""
    spec = {"source": {"repository": "https://git.example.org/policies"}}
    return Fleet(
        [made(Cluster, phase) for phase in CLUSTER_PHASES],
        [made(Gateway, phase) for phase in get_args(GatewayPhase)],
        [made(PolicySet, each, spec=spec, status={"rollout": {"phase": each}}) for each in get_args(RolloutPhase)],
    )


@pytest.fixture(scope="module")
def counted() -> dict[str, dict[str, set[str]]]:
    """What a hub exposes: name → label → values."""
    now, metrics = datetime.now(UTC), Metrics()
    metrics.clusters({})
    metrics.mesh(census((), now=now), now)
    metrics.fleet(fleet())
    metrics.reconciled("job", "error", 0.1)
    metrics.authenticated("token", "refused")
    metrics.forged("report")
    metrics.unreadable({})
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(metrics.expose().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def test_each_metric_is_one_that_the_hub_exposes(counted: dict[str, dict[str, set[str]]]) -> None:
    for name, expression in expressions():
        asked = set(re.findall(r"\b(atoll_\w+|kubelet_\w+|up)\b", re.sub(r'"[^"]*"', "", expression)))
        assert asked, name
        assert asked - OTHERS <= counted.keys(), name


def test_each_label_and_value_is_one_that_its_metric_has(counted: dict[str, dict[str, set[str]]]) -> None:
    """An alert on a state that is spelled otherwise would never be raised."""
    for name, expression in expressions():
        for metric, matchers in re.findall(r"\b(atoll_\w+)\{([^}]*)\}", expression):
            for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
                for value in values.split("|"):
                    assert value in counted[metric].get(label, set()), (name, metric, label, value)
        labels = {label for metric in re.findall(r"\batoll_\w+", expression) for label in counted[metric]}
        grouped = {each.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for each in group.split(",")}
        assert grouped <= labels | ADDED, name


def test_all_that_the_hub_counts_is_on_the_dashboard(counted: dict[str, dict[str, set[str]]]) -> None:
    shown = " ".join(expression for _, expression in expressions())
    bases = {re.sub(r"_(bucket|count|sum|created|total)$", "", name) for name in counted}
    assert {base for base in bases if base not in shown} == set()


def test_each_alert_says_what_it_is_and_how_grave() -> None:
    for group in of_kind(PLACE, "PrometheusRule")["atoll"]["spec"]["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("critical", "warning")
            assert rule["annotations"].keys() == {"summary", "description"}


def test_prometheus_finds_the_hubs_and_knows_their_certificate() -> None:
    """The port by its name in the Service, the CA from the Secret that the hub itself is given."""
    (endpoint,) = of_kind(PLACE, "ServiceMonitor")["atoll-hub"]["spec"]["endpoints"]
    service = of_kind(PLACE, "Service")["atoll-hub"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    selector = of_kind(PLACE, "ServiceMonitor")["atoll-hub"]["spec"]["selector"]["matchLabels"]
    assert selector.items() <= service["metadata"]["labels"].items()
    mounted = of_kind(PLACE, "Deployment")["atoll-hub"]["spec"]["template"]["spec"]["volumes"]
    assert endpoint["tlsConfig"]["ca"]["secret"]["name"] in [
        each["secret"]["secretName"] for each in mounted if "secret" in each
    ]
