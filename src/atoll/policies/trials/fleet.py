"""A fleet on paper: what each of its clusters holds after compiling, and what that means, each by its own CNI. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from atoll.policies.compile import Compiled, Target, Unenforceable, compile_for
from atoll.policies.features import Features
from atoll.policies.identity import Endpoint, Party
from atoll.policies.manifest import Manifest
from atoll.policies.rules import Direction, Identity, Rule, Source
from atoll.policies.trials.scenario import ClusterText
from atoll.policies.verdict import Flow, Options, Protocol, Stance, Verdict, World, verdict


@dataclass(frozen=True)
class Refused:
    """A rule that a cluster cannot enforce exactly."""

    cluster: str
    what: Unenforceable


class Fleet:
    """Clusters with what they hold. `refused` is what they cannot enforce; they hold nothing of its files."""

    def __init__(
        self,
        manifests: Iterable[Manifest],
        targets: Mapping[str, Target],
        namespaces: Mapping[str, Mapping[str, str]] | None = None,
        *,
        compiled: Mapping[str, Compiled] | None = None,
    ) -> None:
        """Compile for every cluster.

        Args:
            manifests: the policies of a bundle.
            targets: the clusters by their names in the mesh.
            namespaces: labels by namespace name; `cluster/name` stands before `name`.
            compiled: what comes of the policies in each cluster, where that is known already.

        Raises:
            Unsupported: a construct that the rule model cannot say.
        """
        policies = tuple(manifests)
        if compiled is None:
            compiled = {name: compile_for(policies, target) for name, target in targets.items()}
        self.refused = tuple(Refused(name, item) for name, one in compiled.items() for item in one.unenforceable)
        self._held = {name: one.manifests for name, one in compiled.items()}
        self._options = {name: _options(target) for name, target in targets.items()}
        self._worlds = {
            options: World(
                {name: held for name, held in self._held.items() if self._options[name] == options},
                namespaces or {},
                options,
            )
            for options in {*self._options.values(), Options()}
        }

    def judge(self, flow: Flow) -> Verdict:
        """Judge a connection at both ends, each by the engine of its own cluster."""
        at_source, at_destination = self._world_of(flow.source), self._world_of(flow.destination)
        if at_source is at_destination:
            return verdict(at_source, flow)
        return Verdict(egress=verdict(at_source, flow).egress, ingress=verdict(at_destination, flow).ingress)

    def boundaries(self, source: Party, destination: Party, protocol: Protocol) -> set[int]:
        """Give the ports at which the verdict on connections between two parties may change."""
        leaving = self._world_of(source).boundaries(source, Direction.EGRESS, protocol)
        arriving = self._world_of(destination).boundaries(destination, Direction.INGRESS, protocol)
        named = destination.port_names if isinstance(destination, Endpoint) else ()
        own = (edge for port in named if port.protocol == protocol for edge in (port.port, port.port + 1))
        return {*leaving, *arriving, *own}

    def rules(self) -> Iterator[Rule]:
        """Give every rule that some cluster holds."""
        for world in self._worlds.values():
            yield from world.rules()

    def stance(self, party: Party, direction: Direction) -> Stance | None:
        """Give what policies make of a party in a direction; None if no policy can apply to it."""
        return self._world_of(party).stance(party, direction)

    def options_of(self, party: Party) -> Options:
        """Give what enforces policies where a party is."""
        return self._world_of(party).options

    def identity(self, subject: Party, party: Party) -> Identity:
        """Give what the engine that enforces policies for a subject sees of a party."""
        return self._world_of(subject).identity(party)

    def where(self, cluster: str, source: Source) -> str:
        """Say where a deciding rule is written: file, line and field."""
        key = (source.kind, source.namespace or "", source.name)
        manifest = next((one for one in self._held.get(cluster, ()) if one.key == key), None)
        place = f"{manifest.origin.path}:{manifest.line_of(source.field)} " if manifest is not None else ""
        return f"{place}{source}"

    def _world_of(self, party: Party) -> World:
        options = self._options.get(party.cluster) if isinstance(party, Endpoint) else None
        return self._worlds[options or Options()]


def targets_of(clusters: Mapping[str, ClusterText]) -> dict[str, Target]:
    """Describe the clusters of a scenario to the compiler; they are all in one mesh."""
    return {
        name: Target(
            cluster=name,
            labels=cluster.labels,
            cni=cluster.cni,
            cilium_version=cluster.cilium_version,
            kinds_served=frozenset(cluster.kinds_served) if cluster.kinds_served is not None else None,
            peers={other: text.labels for other, text in clusters.items() if other != name},
            default_local_cluster=cluster.default_local_cluster,
            features=Features(cluster.node_selector_labels, cluster.extended_ip_protocols, cluster.host_firewall),
        )
        for name, cluster in clusters.items()
    }


def _options(target: Target) -> Options:
    is_cilium = target.cni.lower() == "cilium"
    return Options(
        engine="Cilium" if is_cilium else "Kubernetes",
        default_local_cluster=target.default_local_cluster is not False,
        host_firewall=target.features.host_firewall,
    )
