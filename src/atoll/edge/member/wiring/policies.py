"""Policy sets are reconciled when their order or one of their objects changes; proofs and looks beside them follow."""

from atoll.edge.member.beside import BesidePolicies
from atoll.edge.member.desired import POLICYSETS
from atoll.edge.member.objects import Kind
from atoll.edge.member.policies import WHOLE_SET_SECONDS, PolicyController
from atoll.edge.member.policy_objects import PolicyObjects
from atoll.edge.member.policy_pass import heal_key
from atoll.edge.member.proof.pulse import Cluster, PolicyProofs
from atoll.edge.member.proof.reports import ProvenReports
from atoll.edge.member.proof.scene import scene_of
from atoll.edge.member.proof.sources import source_of
from atoll.edge.member.wiring.parts import Parts, all_of, now
from atoll.edge.member.work import Worker


async def keep_policies(parts: Parts) -> None:
    """Keep what is ordered, and prove it, for ever."""
    objects, reports = PolicyObjects(parts.kube), ProvenReports(parts.reporter)
    controller = PolicyController(
        objects,
        parts.orders,
        records=parts.policy_records,
        drifts=parts.drift_records,
        reports=reports,
        now=now,
        observe_only=parts.settings.observe_only,
    )
    proofs = _proofs(parts, controller, objects, reports)
    beside = BesidePolicies(parts.kube, controller.standings, reports, engine=lambda: parts.view.cni, now=now)

    def on_standing() -> None:
        proofs.wake()
        beside.wake()

    controller.on_standing(on_standing)
    worker, heals = Worker("policies", controller.reconcile), Worker("policy heals", controller.heal)
    parts.orders.on_change(POLICYSETS, worker.add)
    controller.on_handover(worker.add)

    def on_object(kind: Kind, key: str) -> None:
        if owner := controller.owner_of(kind, key):
            heals.add(heal_key(kind, key))
            worker.add(owner, within_seconds=WHOLE_SET_SECONDS)

    objects.on_change(on_object)
    objects.on_doubt(lambda: parts.add_all(POLICYSETS, worker))
    looks = worker.run(), heals.run(), objects.run(), proofs.run(), beside.run()
    await all_of(*looks, parts.end_leftovers(parts.policy_records, worker))


def _proofs(parts: Parts, controller: PolicyController, objects: PolicyObjects, reports: ProvenReports) -> PolicyProofs:
    cluster = Cluster(
        scene=lambda: scene_of(parts.view, parts.mesh_pulse.told),
        standings=controller.standings,
        live=objects.live,
        writes=controller.writes,
    )
    settings = parts.settings
    source = source_of(parts.kube, settings.cilium_socket, may_exec=settings.cilium_exec, now=now)
    return PolicyProofs(source, cluster, reports, now=now)
