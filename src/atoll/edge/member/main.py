"""Composition root of the member agent: builds the doors, the controllers and the tasks, and wires them."""

import asyncio
import gc
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from functools import partial

import structlog

from atoll.edge.enrolment import Enrolled
from atoll.edge.member.beside import BesidePolicies
from atoll.edge.member.cilium import CiliumAgent
from atoll.edge.member.commands import Commands
from atoll.edge.member.data_credentials import DataCredentials
from atoll.edge.member.desired import POLICYSETS, RUNS, SERVICES, Orders
from atoll.edge.member.ended_pods import EndedPods
from atoll.edge.member.farewell import FarewellController, standing
from atoll.edge.member.fence import Fence, Leases
from atoll.edge.member.followed import Followed
from atoll.edge.member.gangs import Gangs
from atoll.edge.member.informer import Informer
from atoll.edge.member.inventory.view import ClusterView
from atoll.edge.member.kept_logs import KeptLogs
from atoll.edge.member.kube import Kube
from atoll.edge.member.last_words import LastWords
from atoll.edge.member.lease import SavedLease, boot_id
from atoll.edge.member.logs import Logs
from atoll.edge.member.mesh.pulse import MeshPulse
from atoll.edge.member.mesh.services import SharedServices
from atoll.edge.member.mesh.settings import MeshSettings
from atoll.edge.member.mesh.sources import MeshSource, PodSource, SocketSource
from atoll.edge.member.objects import Kind, Selection
from atoll.edge.member.ordered import KnownRuns, kinds_of
from atoll.edge.member.policies import WHOLE_SET_SECONDS, PolicyController
from atoll.edge.member.policy_objects import PolicyObjects
from atoll.edge.member.policy_pass import heal_key
from atoll.edge.member.proof.pulse import Cluster, PolicyProofs
from atoll.edge.member.proof.reports import ProvenReports
from atoll.edge.member.proof.scene import scene_of
from atoll.edge.member.proof.sources import source_of
from atoll.edge.member.pulse import Pulse
from atoll.edge.member.recency import Recency
from atoll.edge.member.records import PolicyRecord, Records, RunRecord, ServiceRecord
from atoll.edge.member.reporter import Reporter
from atoll.edge.member.run_pods import RunPods
from atoll.edge.member.runs import RunController, recall
from atoll.edge.member.services import DEPLOYMENT, SERVICE_SELECTOR, ServiceController
from atoll.edge.member.settings import MemberSettings
from atoll.edge.member.shelf import Shelf, lock
from atoll.edge.member.sight import sight_of
from atoll.edge.member.uplink import Calls, Uplink
from atoll.edge.member.usage import UsageNow
from atoll.edge.member.work import Worker
from atoll.edge.member.workload import Workloads
from atoll.federation.bus.farewell import FAREWELL

log = structlog.get_logger(__name__)


async def run(settings: MemberSettings) -> None:
    """Run the agent until cancelled.

    Raises:
        InvalidInput: the kubeconfig or the state folder cannot be used. Conflict: another agent uses the state folder.
    """
    # An order of thousands of policies is hundreds of thousands of objects at once; the collector would see to each.
    gc.set_threshold(50_000, 20, 50)
    with lock(settings.state_dir):
        kube = await Kube.connect(settings.kubeconfig, settings.context)
        try:
            await _Agent(settings, kube).run()
        except ExceptionGroup as group:
            raise _first(group) from group
        finally:
            await kube.close()


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Give the first failure itself: whoever started the agent prints one line of it."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


def _now() -> datetime:
    return datetime.now(UTC)


class _Agent:
    """All parts of one agent."""

    def __init__(self, settings: MemberSettings, kube: Kube) -> None:
        self._settings, self._kube = settings, kube
        self._orders = Orders(self._shelf("orders"), self._shelf("store"))
        self._run_records = Records(self._shelf("runs"), RunRecord)
        self._policy_records = Records(self._shelf("policysets"), PolicyRecord)
        self._service_records = Records(self._shelf("services"), ServiceRecord)
        self._leases = Leases(self._orders)
        self._lease = SavedLease(self._shelf("lease"), boot=boot_id(), shortest=self._leases.shortest)
        self._recency = Recency(self._lease.lease.clock)
        self._reporter = Reporter()
        self._view = ClusterView(kube, has_order=self._orders.has)
        self._enrolled = Enrolled(
            settings.state_dir / "membership", settings.enrolment, kind="cluster", name=settings.cluster
        )
        self._data_credentials = DataCredentials(kube, settings.cluster)
        self._known = KnownRuns(self._orders, self._run_records)
        self._pods = RunPods(kube, self._known)
        self._kept_logs = KeptLogs(settings.state_dir / "logs")
        self._words = LastWords(kube, self._pods, self._kept_logs)
        self._commands = Commands(kube, self._pods, is_allowed=settings.job_exec)
        self._mesh_source = self._source_of_mesh()
        self._mesh_pulse = MeshPulse(
            self._mesh_source, MeshSettings(kube), SharedServices(kube), reports=self._reporter, now=_now
        )
        self._pulse = Pulse(kube, self._view, orders=self._orders, reporter=self._reporter, now=_now)

    def _shelf(self, name: str) -> Shelf:
        return Shelf(self._settings.state_dir / name)

    async def run(self) -> None:
        """Start every part; one that breaks ends all, and whoever supervises the process starts it anew."""
        settings = self._settings
        uplink = Uplink(
            settings.cluster,
            self._orders,
            reporter=self._reporter,
            calls=Calls(
                streams={
                    "logs": Logs(self._kube, self._pods, self._known, kept=self._kept_logs, words=self._words).serve,
                    "exec": self._commands.serve,
                    "top": UsageNow(self._kube, self._pods).serve,
                },
                answers={"exec-input": self._commands.type_in},
            ),
            recall=partial(recall, self._run_records),
            data_credentials=self._data_credentials,
            lease=self._lease,
            recency=self._recency,
        )
        structlog.contextvars.bind_contextvars(cluster=settings.cluster)
        log.info(
            "the agent has started",
            orders_on_disk=sum(len([*self._orders.keys(k)]) for k in (RUNS, POLICYSETS, SERVICES)),
        )
        async with asyncio.TaskGroup() as group:
            for work in (self._runs(), self._policies(), self._services(), self._farewell()):
                group.create_task(work)
            group.create_task(self._view.run())
            group.create_task(self._words.run())
            group.create_task(self._pulse.heartbeats(settings.heartbeat_seconds))
            group.create_task(self._pulse.kinds())
            group.create_task(self._pulse.inventories())
            group.create_task(self._mesh())
            group.create_task(uplink.run(self._enrolled))

    async def _runs(self) -> None:
        """Reconcile runs when their order, their Job or their pods change."""
        records = self._run_records
        ended = EndedPods(is_ordered=partial(self._orders.has, RUNS), has_seen=self._view.pods.has_synced.is_set)
        self._view.pods.on_news(lambda key: ended.put(key, self._view.pods.items.get(key)))
        self._orders.on_change(RUNS, ended.settle)
        workloads = Workloads(self._kube, _now, ended=ended.of)
        fence = Fence(self._lease, self._recency, records=records, workloads=workloads)
        gangs = Gangs(workloads, self._orders, records=records, sight=sight_of(self._view), now=_now)
        controller = RunController(
            workloads,
            self._orders,
            records=records,
            reports=self._reporter,
            fence=fence,
            gangs=gangs,
            words=self._words,
            now=_now,
        )
        worker = Worker("runs", controller.reconcile)
        self._orders.on_change(RUNS, worker.add)
        self._recency.on_read(lambda: self._leases.each(worker.add))

        def on_object(key: str) -> None:
            # Each pod of a group is an object of its own, named after the run and its number.
            for run in (key, key.rpartition("-")[0]):
                if self._orders.has(RUNS, run):
                    worker.add(run, within_seconds=controller.patience_seconds(run))

        def on_pod(key: str) -> None:
            pod = self._view.pods.items.get(key)
            if pod and pod.run:
                if pod.is_ending and pod.is_live and self._orders.has(RUNS, pod.run):
                    self._words.note_ending(pod.run)
                on_object(pod.run)

        followed = Followed(self._kube, on_change=on_object, on_list=lambda: self._add_all(RUNS, worker))
        self._orders.on_change(RUNS, lambda key: followed.add(kinds_of(self._orders, key)))
        self._view.pods.on_change(on_pod)
        watches = self._leases.watch(self._lease.lease, worker.add), gangs.watch(worker.add)
        await _all(worker.run(), followed.run(), *watches, self._end_leftovers(records, worker))

    async def _policies(self) -> None:
        """Reconcile policy sets when their order or one of their objects changes."""
        objects = PolicyObjects(self._kube)
        records = self._policy_records
        reports = ProvenReports(self._reporter)
        controller = PolicyController(
            objects,
            self._orders,
            records=records,
            reports=reports,
            now=_now,
            observe_only=self._settings.observe_only,
        )
        cluster = Cluster(
            scene=lambda: scene_of(self._view, self._mesh_pulse.told),
            standings=controller.standings,
            live=objects.live,
            writes=controller.writes,
        )
        settings = self._settings
        source = source_of(self._kube, settings.cilium_socket, may_exec=settings.cilium_exec, now=_now)
        proofs = PolicyProofs(source, cluster, reports, now=_now)
        beside = BesidePolicies(self._kube, controller.standings, reports, engine=lambda: self._view.cni, now=_now)

        def on_standing() -> None:
            proofs.wake()
            beside.wake()

        controller.on_standing(on_standing)
        worker, heals = Worker("policies", controller.reconcile), Worker("policy heals", controller.heal)
        self._orders.on_change(POLICYSETS, worker.add)
        controller.on_handover(worker.add)

        def on_object(kind: Kind, key: str) -> None:
            if owner := controller.owner_of(kind, key):
                heals.add(heal_key(kind, key))
                worker.add(owner, within_seconds=WHOLE_SET_SECONDS)

        objects.on_change(on_object)
        objects.on_doubt(lambda: self._add_all(POLICYSETS, worker))
        looks = worker.run(), heals.run(), objects.run(), proofs.run(), beside.run()
        await _all(*looks, self._end_leftovers(records, worker))

    async def _services(self) -> None:
        """Reconcile data services when their order or their Deployment changes."""
        records = self._service_records
        credentials = self._data_credentials if self._settings.enrolment.hub_url else None
        controller = ServiceController(
            self._kube, self._orders, records=records, reports=self._reporter, now=_now, credentials=credentials
        )
        worker = Worker("services", controller.reconcile)
        self._orders.on_change(SERVICES, worker.add)

        def on_deployment(key: str) -> None:
            namespace = key.partition("/")[0]
            if self._orders.has(SERVICES, namespace):
                worker.add(namespace)

        selection = Selection(label_selector=SERVICE_SELECTOR)
        deployments = Informer(self._kube, DEPLOYMENT, project=lambda _obj: None, selection=selection)
        deployments.on_change(on_deployment)
        deployments.on_list(lambda: self._add_all(SERVICES, worker))
        await _all(worker.run(), deployments.run(), self._end_leftovers(records, worker))

    async def _farewell(self) -> None:
        """Clear the cluster when it leaves; not before the hub has spoken, since it may have come back since."""
        records: dict[str, Iterable[str]] = {
            RUNS: self._run_records,
            POLICYSETS: self._policy_records,
            SERVICES: self._service_records,
        }
        controller = FarewellController(
            self._kube,
            self._orders,
            standing=lambda: standing(self._orders, records),
            reports=self._reporter,
            now=_now,
        )
        await self._orders.has_synced.wait()
        worker = Worker("farewell", controller.reconcile)
        self._orders.on_change(FAREWELL, worker.add)
        await worker.run()

    def _add_all(self, kind: str, worker: Worker) -> None:
        for key in self._orders.keys(kind):
            worker.add(key)

    async def _end_leftovers(self, records: Iterable[str], worker: Worker) -> None:
        """Finish removals that a crash cut off; not before the hub has spoken, since an order may be lost on disk."""
        await self._orders.has_synced.wait()
        for key in records:
            worker.add(key)

    async def _mesh(self) -> None:
        """Report the mesh, as far as the agent was given a way to see it."""
        pulse, learn = self._mesh_pulse, self._view.learn
        try:
            await pulse.run(self._settings.heartbeat_seconds, lambda version: learn(cilium_version=version))
        finally:
            if self._mesh_source is not None:
                await self._mesh_source.close()

    def _source_of_mesh(self) -> MeshSource | None:
        if self._settings.cilium_socket is not None:
            return SocketSource(CiliumAgent(self._settings.cilium_socket))
        return PodSource(self._kube) if self._settings.cilium_exec else None


async def _all(*work: Coroutine[None, None, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for part in work:
            group.create_task(part)
