"""The Cluster Mesh between clusters: the rules every member must keep, the state of each link, what a link carries.

Owns what may be concluded from what clusters say of each other. Pure; how the views were got (the Cilium agent's API)
is the member agent's business.
"""

from atoll.federation.mesh.census import Census, SideState, census
from atoll.federation.mesh.checking import RULES, violations
from atoll.federation.mesh.joining import JoinPlan, Wish, helm_values, plan_join
from atoll.federation.mesh.links import STALE_AFTER, Link, LinkState, LinkView, link
from atoll.federation.mesh.matrix import Direction, Matrix, Pair, matrix
from atoll.federation.mesh.members import Member, Violation, members_of, mesh_name_of
from atoll.federation.mesh.naming import MAX_CLUSTER_ID
from atoll.federation.mesh.rates import Rate, Uplink, measured_rates, round_trip_seconds, transfer_rate
from atoll.federation.mesh.services import ServicePlace, ServiceState, SharedService, shared_services

__all__ = [
    "MAX_CLUSTER_ID", "RULES", "STALE_AFTER", "Census", "Direction", "JoinPlan", "Link", "LinkState", "LinkView",
    "Matrix", "Member", "Pair", "Rate", "ServicePlace", "ServiceState", "SharedService", "SideState", "Uplink",
    "Violation", "Wish", "census", "helm_values", "link", "matrix", "measured_rates", "members_of", "mesh_name_of",
    "plan_join", "round_trip_seconds", "shared_services", "transfer_rate", "violations",
]  # fmt: skip
