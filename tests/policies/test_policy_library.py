"""The ready-made policies do what their headers say, compiled as Atoll would install them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

import atoll.policies.library
from atoll.policies.compile import Target, compile_for
from atoll.policies.library.catalogue import LibraryPolicy, read_library
from atoll.policies.lint import lint, lint_on
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.trials.fleet import Fleet, targets_of
from atoll.policies.trials.trial import run_trial
from atoll.policies.verdict import Address, Endpoint, Flow, Options, Party, World, verdict

LIBRARY = Path(atoll.policies.library.__path__[0])
FILES = sorted(file for file in LIBRARY.glob("*.yaml") if ".policytest." not in file.name)
CATALOGUE = read_library()
CLUSTERS: Mapping[str, Mapping[str, str]] = {
    "lab": {"site": "lab", "region": "eu", "datasets": "served"},
    "cloud": {"region": "eu", "datasets": "served"},
    "far": {"region": "us"},
}


def compiled(file: str, cluster: str) -> tuple[Manifest, ...]:
    """Give what one cluster holds of a library file."""
    peers = {name: labels for name, labels in CLUSTERS.items() if name != cluster}
    target = Target(cluster, CLUSTERS[cluster], "cilium", "1.19.0", peers=peers)
    result = compile_for(parse_file((LIBRARY / file).read_text(), file).manifests, target)
    assert result.unenforceable == ()
    return result.manifests


def pod(cluster: str, namespace: str, **labels: str) -> Endpoint:
    """Give a pod with labels whose keys are plain words."""
    return Endpoint(f"{cluster}/{namespace}", cluster, namespace, labels)


def labelled(cluster: str, namespace: str, key: str, value: str) -> Endpoint:
    """Give a pod with one label of any key."""
    return Endpoint(f"{cluster}/{namespace}/{value}", cluster, namespace, {key: value})


@pytest.fixture(params=[True, False], ids=["peers-local-by-default", "peers-everywhere-by-default"])
def options(request: pytest.FixtureRequest) -> Options:
    """Both settings of policy-default-local-cluster; the library means the same under either."""
    return Options(default_local_cluster=request.param)


def allowed(file: str, options: Options, source: Party, destination: Party, port: int, protocol: str = "TCP") -> bool:
    """Judge a connection in a world where every cluster holds the file."""
    namespaces = {"open": {"atoll.dev/default-deny": "off"}}
    world = World({cluster: compiled(file, cluster) for cluster in CLUSTERS}, namespaces, options)
    return verdict(world, Flow(source, destination, port, protocol)).allowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_valid_says_what_it_does_and_compiles_everywhere(file: Path) -> None:
    text = file.read_text()
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert len(header) >= 4
    assert "What it does:" in text and "What to" in text
    parsed = parse_file(text, file.name)
    assert parsed.problems == ()
    assert parsed.manifests
    for cluster in CLUSTERS:
        compiled(file.name, cluster)


def test_the_library_has_what_it_promises() -> None:
    promised = {
        "default-deny-with-dns",
        "instrument-vlan-to-gateway-only",
        "mesh-allow-by-cluster-group",
        "namespace-default-deny",
        "namespace-isolation",
        "no-cloud-metadata",
        "training-to-datasets-only",
    }
    assert {policy.name for policy in CATALOGUE} == promised
    assert all(policy.summary.endswith(".") and policy.does and policy.change for policy in CATALOGUE)


@pytest.mark.parametrize("policy", CATALOGUE, ids=lambda policy: policy.name)
def test_a_policy_keeps_its_own_policy_test_and_lint_finds_nothing(policy: LibraryPolicy) -> None:
    assert policy.scenarios
    for scenario in policy.scenarios:
        result = run_trial(scenario, policy.manifests)
        assert result.unenforceable == ()
        assert [outcome for outcome in result.outcomes if not outcome.holds] == []
        expected = {expectation.expect for expectation in scenario.expectations}
        assert expected == {"Allow", "Deny"}, "a test that only allows, or only denies, holds for too much"
        fleet = Fleet(policy.manifests, targets_of(scenario.clusters), scenario.namespaces)
        found = lint_on(policy.manifests, fleet, scenario.parties, namespaces=scenario.namespaces, pod_networks={})
        assert {*lint(policy.manifests), *found} == set()


@pytest.mark.parametrize("policy", CATALOGUE, ids=lambda policy: policy.name)
def test_a_policy_test_fails_without_its_policy(policy: LibraryPolicy) -> None:
    outcomes = [one for scenario in policy.scenarios for one in run_trial(scenario, ()).outcomes]
    assert any(not outcome.holds for outcome in outcomes)


def test_no_pod_reads_the_clouds_metadata(options: Options) -> None:
    file, metadata = "no-cloud-metadata.yaml", Address("169.254.169.254")
    assert not allowed(file, options, pod("lab", "seismology"), metadata, 80)
    assert allowed(file, options, pod("lab", "kube-system"), metadata, 80)
    assert allowed(file, options, pod("lab", "seismology"), WEB, 80)


DNS = pod("lab", "kube-system", **{"k8s-app": "kube-dns"})
WEB = Address("93.184.216.34")


@pytest.mark.parametrize(
    ("source", "destination", "port", "protocol", "expected"),
    [
        (pod("lab", "a"), DNS, 53, "UDP", True),
        (pod("lab", "a"), DNS, 53, "TCP", True),
        (pod("lab", "a"), DNS, 80, "TCP", False),
        (pod("cloud", "a"), DNS, 53, "UDP", False),
        (pod("lab", "a"), pod("lab", "a"), 80, "TCP", False),
        (pod("lab", "a"), WEB, 443, "TCP", False),
        (WEB, pod("lab", "a"), 443, "TCP", False),
        (pod("lab", "kube-system"), WEB, 443, "TCP", True),
        (pod("lab", "open"), WEB, 443, "TCP", True),
        (Endpoint("health", "lab", reserved="health"), WEB, 4240, "TCP", True),
    ],
)
def test_default_deny_leaves_only_dns_of_the_own_cluster(
    options: Options, source: Party, destination: Party, port: int, protocol: str, expected: bool
) -> None:
    assert allowed("default-deny-with-dns.yaml", options, source, destination, port, protocol) is expected


def test_the_portable_default_deny_closes_one_namespace(options: Options) -> None:
    file, inside, outside = "namespace-default-deny.yaml", pod("lab", "seismology"), pod("lab", "other")
    assert allowed(file, options, inside, DNS, 53, "UDP")
    assert not allowed(file, options, inside, inside, 80)
    assert not allowed(file, options, outside, inside, 80)
    assert not allowed(file, options, inside, WEB, 443)
    assert allowed(file, options, outside, WEB, 443)


def test_an_isolated_namespace_talks_to_itself_in_its_own_cluster_only(options: Options) -> None:
    file, here, there = "namespace-isolation.yaml", pod("lab", "seismology"), pod("cloud", "seismology")
    assert allowed(file, options, here, pod("lab", "seismology"), 80)
    assert allowed(file, options, here, DNS, 53, "UDP")
    assert not allowed(file, options, here, there, 80)
    assert not allowed(file, options, there, here, 80)
    assert not allowed(file, options, pod("lab", "other"), here, 80)
    assert not allowed(file, options, here, pod("lab", "other"), 80)
    assert not allowed(file, options, here, WEB, 443)


INSTRUMENTS = [Address("192.168.40.7"), Address("fd00:40::7")]


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda party: party.address)
def test_instruments_reach_the_gateway_by_mqtt_and_nothing_else(options: Options, instrument: Address) -> None:
    file = "instrument-vlan-to-gateway-only.yaml"
    gateway = labelled("lab", "atoll", "app.kubernetes.io/name", "atoll-gateway")
    job = pod("lab", "seismology", app="job")
    assert allowed(file, options, instrument, gateway, 8883)
    assert allowed(file, options, instrument, gateway, 1883)
    assert not allowed(file, options, instrument, gateway, 22)
    assert not allowed(file, options, WEB, gateway, 8883)
    assert not allowed(file, options, instrument, job, 8883)
    assert not allowed(file, options, job, instrument, 80)
    assert allowed(file, options, job, WEB, 443)
    assert allowed(file, options, instrument, pod("cloud", "seismology"), 80), "only labs are meant"


def test_training_reads_datasets_of_the_group_and_nothing_else(options: Options) -> None:
    file, key = "training-to-datasets-only.yaml", "atoll.dev/service"
    training = pod("cloud", "training")
    for cluster, expected in (("cloud", True), ("lab", True), ("far", False)):
        dataset = labelled(cluster, "seismology", key, "dataset")
        assert allowed(file, options, training, dataset, 443) is expected
        assert not allowed(file, options, training, dataset, 22)
        assert allowed(file, options, pod("cloud", "other"), dataset, 443) is (cluster == "far"), "far is not meant"
    assert allowed(file, options, training, pod("cloud", "kube-system", **{"k8s-app": "kube-dns"}), 53, "UDP")
    assert not allowed(file, options, training, DNS, 53, "UDP"), "names are resolved at home"
    assert not allowed(file, options, training, pod("cloud", "training"), 80)
    assert not allowed(file, options, training, WEB, 443)
    assert not allowed(file, options, pod("lab", "other"), training, 80)


def test_a_service_serves_its_cluster_group(options: Options) -> None:
    file, catalog = "mesh-allow-by-cluster-group.yaml", pod("lab", "seismology", app="catalog")
    for cluster, expected in (("lab", True), ("cloud", True), ("far", False)):
        assert allowed(file, options, pod(cluster, "seismology", app="portal"), catalog, 443) is expected
    assert not allowed(file, options, pod("lab", "seismology", app="other"), catalog, 443)
    assert not allowed(file, options, pod("lab", "other", app="portal"), catalog, 443)
    assert not allowed(file, options, pod("lab", "seismology", app="portal"), catalog, 80)
