"""`*.policytest.yaml`: the clusters, workloads and expected flows that a policy test states. Pure.

Owns the format and its errors, each with its line. It must not know what policies say.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from atoll.federation.resources.base import ClusterName, DnsLabel, DnsSubdomain, Labels, Model
from atoll.policies.identity import Address, Endpoint, Entity, Party, PortName
from atoll.policies.manifest import KINDS, Problem
from atoll.policies.validation.shapes import INVALID, NOT_SUPPORTED, REQUIRED, WRONG_TYPE
from atoll.policies.verdict import Protocol
from atoll.policies.yamldoc import Document, YamlError, line_of, read_documents

EVERY = "*"
TEST_SUFFIXES = (".policytest.yaml", ".policytest.yml")
EntityName = Literal[
    "host", "remote-node", "kube-apiserver", "world", "unmanaged", "health", "init", "ingress"
]  # what identity.Entity knows
Port = Annotated[int, Field(ge=0, le=65535)]
_PORT = re.compile(r"(?P<port>\d{1,5})(/(?P<protocol>[A-Za-z0-9]+))?")
_PROTOCOLS = {name.lower(): name for name in get_args(Protocol)}


class ClusterText(Model):
    """One cluster of the test: what `atoll.dev/clusters` selects by, and what enforces policies there."""

    labels: Labels = Field(default_factory=dict)
    cni: str = "cilium"
    cilium_version: str = "1.19.0"
    default_local_cluster: bool = True
    kinds_served: tuple[str, ...] | None = None
    pod_networks: tuple[str, ...] = ()
    node_selector_labels: bool = False
    extended_ip_protocols: bool = False
    host_firewall: bool = False

    @model_validator(mode="after")
    def _can_be(self) -> "ClusterText":
        for network in self.pod_networks:
            ipaddress.ip_network(network)
        unknown = [kind for kind in self.kinds_served or () if kind not in KINDS]
        if unknown:
            raise ValueError(f"kindsServed: {unknown[0]!r} is no policy; there are {', '.join(KINDS)}")
        return self


class WorkloadText(Model):
    """A pod (in one cluster, or in each if none is named), an address outside, or one of Cilium's entities."""

    cluster: ClusterName | None = None
    namespace: DnsLabel | None = None
    labels: Labels = Field(default_factory=dict)
    service_account: str = "default"
    ports: dict[str, str | int] = Field(default_factory=dict)
    address: str | None = None
    domain_names: tuple[str, ...] = ()
    entity: EntityName | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> "WorkloadText":
        kinds = [name for name in ("namespace", "address", "entity") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                "say what it is: a pod has `namespace`, a peer outside `address`, a node or the like `entity`"
            )
        if self.address is not None:
            ipaddress.ip_address(self.address)
        if kinds != ["namespace"] and (self.cluster or self.labels or self.ports):
            raise ValueError(f"only a pod has a cluster, labels and ports; this one has `{kinds[0]}`")
        return self


class FlowText(Model):
    """What is expected of connections from each of `from` to each of `to` on each of `ports`."""

    sources: Annotated[tuple[str, ...], Field(min_length=1, alias="from")]
    destinations: Annotated[tuple[str, ...], Field(min_length=1, alias="to")]
    ports: Annotated[tuple[str | int, ...], Field(min_length=1, alias="port")]
    expect: Literal["Allow", "Deny"]
    why: str = ""

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {
            key: [member] if key in ("from", "to", "port") and not isinstance(member, list | tuple) else member
            for key, member in value.items()
        }


class PolicyTestText(Model):
    """The whole file."""

    class Metadata(Model):
        """The test's name."""

        name: DnsSubdomain

    api_version: Literal["atoll.dev/v1alpha1"]
    kind: Literal["PolicyTest"]
    metadata: Metadata
    clusters: Annotated[dict[ClusterName, ClusterText], Field(min_length=1)] = Field(
        default_factory=lambda: {"local": ClusterText()}
    )
    namespaces: dict[str, Labels] = Field(default_factory=dict)
    workloads: Annotated[dict[str, WorkloadText], Field(min_length=1)]
    flows: Annotated[tuple[FlowText, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Expectation:
    """One connection and what is expected of it; `line` is where the test says so."""

    source: str
    destination: str
    port: int
    protocol: Protocol
    expect: Literal["Allow", "Deny"]
    why: str
    line: int


@dataclass(frozen=True)
class Scenario:
    """A test as it is run: parties by name, and one expectation per connection."""

    name: str
    path: str
    clusters: Mapping[str, ClusterText]
    namespaces: Mapping[str, Labels]
    parties: Mapping[str, Party]
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class ParsedScenarios:
    """The tests of a file; with problems, only those that are free of them."""

    scenarios: tuple[Scenario, ...] = ()
    problems: tuple[Problem, ...] = ()


def parse_scenarios(content: str, path: str) -> ParsedScenarios:
    """Read one file of one or more policy tests."""
    scenarios: list[Scenario] = []
    problems: list[Problem] = []
    for document in read_documents(content):
        if isinstance(document, YamlError):
            problems.append(Problem(path, document.line, document.field, INVALID, document.message))
            continue
        reader = _Reader(path, document)
        found = reader.read()
        problems += reader.problems
        if found is not None and not reader.problems:
            scenarios.append(found)
    return ParsedScenarios(tuple(scenarios), tuple(sorted(problems)))


def parse_port(text: str | int) -> tuple[int, Protocol]:
    """Read `443`, `53/UDP` or `8/ICMP` (then the number is the type). ValueError says what is wrong."""
    found = _PORT.fullmatch(str(text))
    protocol = _PROTOCOLS.get((found["protocol"] or "TCP").lower()) if found else None
    if found is None or protocol is None or int(found["port"]) > 65535:
        raise ValueError(f"{text!r} is no port; write 443, 53/UDP or 8/ICMP")
    return int(found["port"]), protocol


@dataclass
class _Reader:
    """Turns one document into a scenario, noting every problem."""

    path: str
    document: Document
    problems: list[Problem] = field(default_factory=list)

    def read(self) -> Scenario | None:
        for repeated in self.document.repeated_keys:
            self._note(repeated, INVALID, "is given twice")
        try:
            text = PolicyTestText.model_validate(self.document.value)
        except ValidationError as error:
            for item in _innermost(error.errors()):
                self._note(_path(item["loc"]), _REASONS.get(item["type"], INVALID), _sentence(item["msg"]))
            return None
        parties = dict(self._parties(text))
        expectations = tuple(self._expectations(text, parties))
        return Scenario(text.metadata.name, self.path, text.clusters, text.namespaces, parties, expectations)

    def _note(self, where: str, reason: str, message: str) -> None:
        self.problems.append(Problem(self.path, line_of(self.document.lines, where), where, reason, message))

    def _parties(self, text: PolicyTestText) -> Iterator[tuple[str, Party]]:
        for name, workload in text.workloads.items():
            where = f"workloads.{name}"
            if name == EVERY or "@" in name:
                self._note(
                    where, INVALID, f"a workload's name is a word; {EVERY!r} and '@' have a meaning of their own"
                )
            if workload.address is not None:
                yield name, Address(workload.address, domain_names=workload.domain_names)
            elif workload.entity is not None:
                yield name, Entity(workload.entity)
            else:
                yield from self._pods(name, workload, text)

    def _pods(self, name: str, workload: WorkloadText, text: PolicyTestText) -> Iterator[tuple[str, Party]]:
        if workload.cluster is not None and workload.cluster not in text.clusters:
            known = ", ".join(sorted(text.clusters))
            self._note(f"workloads.{name}.cluster", INVALID, f"{workload.cluster!r} is none of the clusters: {known}")
            return
        ports = tuple(self._port_names(name, workload))
        homes = [workload.cluster] if workload.cluster is not None else list(text.clusters)
        for home in homes:
            called = name if len(homes) == 1 else f"{name}@{home}"
            namespace = workload.namespace or "default"
            yield called, Endpoint(called, home, namespace, workload.labels, workload.service_account, ports)

    def _port_names(self, name: str, workload: WorkloadText) -> Iterator[PortName]:
        for port_name, text in workload.ports.items():
            try:
                number, protocol = parse_port(text)
            except ValueError as error:
                self._note(f"workloads.{name}.ports.{port_name}", INVALID, str(error))
            else:
                yield PortName(port_name, number, protocol)

    def _expectations(self, text: PolicyTestText, parties: Mapping[str, Party]) -> Iterator[Expectation]:
        for index, flow in enumerate(text.flows):
            where = f"flows[{index}]"
            sources = self._named(flow.sources, f"{where}.from", parties)
            destinations = self._named(flow.destinations, f"{where}.to", parties)
            for port in flow.ports:
                try:
                    number, protocol = parse_port(port)
                except ValueError as error:
                    self._note(f"{where}.port", INVALID, str(error))
                    continue
                line = line_of(self.document.lines, where)
                for source in sources:
                    for destination in destinations:
                        if source != destination:
                            yield Expectation(source, destination, number, protocol, flow.expect, flow.why, line)

    def _named(self, names: tuple[str, ...], where: str, parties: Mapping[str, Party]) -> list[str]:
        """Give the parties that names mean: `*` is everyone, `web` is `web@a` and `web@b` if it runs in both."""
        found: list[str] = []
        for name in names:
            meant = [party for party in parties if name in (EVERY, party, party.partition("@")[0])]
            if not meant:
                self._note(where, INVALID, f"{name!r} is none of the workloads: {', '.join(parties)}")
            found += meant
        return list(dict.fromkeys(found))


_REASONS = {"missing": REQUIRED, "extra_forbidden": NOT_SUPPORTED, "literal_error": NOT_SUPPORTED}
_REASONS |= dict.fromkeys(("dict_type", "list_type", "string_type", "int_type", "bool_type", "tuple_type"), WRONG_TYPE)


def _innermost(errors: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out what follows from another one: a list whose only item is wrong counts as empty."""
    for error in errors:
        inside = (other["loc"] for other in errors if other is not error)
        if not any(location[: len(error["loc"])] == error["loc"] for location in inside):
            yield error


def _path(location: tuple[str | int, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text.removesuffix(".[key]")


def _sentence(message: str) -> str:
    if message == "Extra inputs are not permitted":
        return "is no field of a policy test"
    return message.removeprefix("Value error, ").removeprefix("Input ")
