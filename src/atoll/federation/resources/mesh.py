"""What an agent tells about its cluster's place in the Cilium Cluster Mesh: links, own facts, services over clusters.

Owns the models only; what may be concluded from them is federation/mesh's. Nothing here is secret: of certificates only
what is public, of Secrets only the names of peers.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from atoll.federation.resources.base import Model, NonNegative

ServiceAffinity = Literal["none", "local", "remote"]
Seconds = Annotated[float, Field(ge=0)]


class MeshLink(Model):
    """This cluster's view of one remote cluster, out of its own Cilium agents. `peer` is its name in the mesh."""

    peer: str
    is_connected: bool = False
    is_ready: bool = False
    reason: str = ""
    failures: NonNegative = 0
    remote_nodes: NonNegative = 0
    last_proven_at: datetime | None = Field(default=None, description="When every agent asked last saw it ready.")
    seen_at: datetime | None = Field(default=None, description="When the agent last looked, whatever it saw.")
    last_failure_at: datetime | None = None
    is_expected: bool | None = Field(
        default=None, description="Whether the cluster is configured to have this peer; unset if that may not be read."
    )
    peer_id: NonNegative = Field(default=0, description="The id that the peer advertises; 0 before it was heard.")
    agents_asked: NonNegative = Field(default=0, description="Nodes whose Cilium agent was asked.")
    agents_ready: NonNegative = 0
    latency_seconds: Seconds | None = Field(
        default=None, description="Median round trip from the nodes asked to the peer's nodes."
    )
    probed_nodes: NonNegative = Field(default=0, description="The peer's nodes that Cilium's health probes try.")
    unreachable_nodes: NonNegative = Field(default=0, description="Those of them that do not answer.")
    is_cached: bool | None = Field(default=None, description="Whether agents read the peer through KVStoreMesh.")
    cache_problem: str = Field(default="", description="Why KVStoreMesh itself does not reach the peer.")

    @property
    def is_listed(self) -> bool:
        """Whether an agent that was asked knows the peer; without one it is only configured."""
        return not self.agents_asked or self.is_cached is not None

    @property
    def reaches_no_node(self) -> bool:
        """Whether the peer's nodes were probed and none of them answers: what agents know of it is old then."""
        return 0 < self.probed_nodes <= self.unreachable_nodes


class MeshCertificate(Model):
    """The public part of a certificate of the mesh's control plane."""

    name: str
    expires_at: datetime


class MeshService(Model):
    """A service of this cluster that other clusters use: by Cilium's annotation, or by a ServiceExport."""

    namespace: str
    name: str
    is_global: bool = False
    is_exported: bool = False
    is_shared: bool = Field(default=True, description="Whether this cluster's endpoints are offered to the others.")
    affinity: ServiceAffinity = "none"
    endpoints: NonNegative = Field(default=0, description="Endpoints in this cluster that are ready.")
    unready_endpoints: NonNegative = 0
    problem: str = Field(default="", description="Why the export does not hold, in the words of its condition.")


class PolicyFeatures(Model):
    """What a Cilium has switched on, as far as policies need it. Off is what it says, or what it does not say."""

    node_selector_labels: bool = Field(default=False, description="enable-node-selector-labels: fromNodes and toNodes.")
    extended_ip_protocols: bool = Field(default=False, description="enable-extended-ip-protocols: VRRP, GRE and such.")
    host_firewall: bool = Field(default=False, description="enable-host-firewall: policies with a nodeSelector.")
    cluster_network_policies: bool = Field(
        default=False, description="enable-k8s-cluster-network-policy: ClusterNetworkPolicy, since Cilium 1.20."
    )


class MeshFacts(Model):
    """A cluster's own settings that must agree with the others'. Unset: not known; `problems` says why."""

    name: str = ""
    id: NonNegative = 0
    max_connected_clusters: NonNegative | None = None
    routing_mode: str = ""
    tunnel_protocol: str = ""
    native_routing_cidr: str = ""
    default_local_cluster: bool | None = Field(
        default=None, description="policy-default-local-cluster: selectors mean pods of the own cluster only."
    )
    label_filters: str | None = Field(
        default=None, description="Which labels make an identity; empty means Cilium's own choice."
    )
    policy_features: PolicyFeatures | None = Field(
        default=None, description="Options of Cilium that some policies need; unset: not known."
    )
    has_kvstoremesh: bool | None = None
    expected_peers: tuple[str, ...] | None = None
    ca_fingerprints: tuple[str, ...] = Field(default=(), description="SHA-256 of the CAs that the mesh trusts.")
    certificates: tuple[MeshCertificate, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    node_cidrs: tuple[str, ...] = ()
    omitted_cidrs: NonNegative = Field(default=0, description="Networks too many to be told.")
    services: tuple[MeshService, ...] = ()
    omitted_services: NonNegative = 0
    problems: tuple[str, ...] = Field(default=(), description="What could not be read, and what it takes.")
    message: str = Field(default="", description="Why there are no links.")
    seen_at: datetime | None = None
