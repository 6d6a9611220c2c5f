"""What the Cilium agents of a cluster have switched on, as far as policies depend on it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Features:
    """Options of Cilium that some rules need; all are off in a default installation.

    Attributes:
        node_selector_labels: enable-node-selector-labels; fromNodes and toNodes need it.
        extended_ip_protocols: enable-extended-ip-protocols; VRRP, IGMP, GRE, ESP and their kind need it.
        host_firewall: enable-host-firewall; without it a policy with a nodeSelector is accepted and does nothing.
    """

    node_selector_labels: bool = False
    extended_ip_protocols: bool = False
    host_firewall: bool = False


DEFAULT_FEATURES = Features()
