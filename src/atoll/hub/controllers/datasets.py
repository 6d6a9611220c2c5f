"""Datasets: what is on the volumes becomes Dataset objects and their status, and what they want becomes orders.

Owns Dataset.status, the Dataset of files that nobody has declared, the DatasetOrders of movers, the Transfers of rules,
and the end of the finalizer by which files go before their object. The decisions are in dataset_status.py,
replica_plan.py, retention_plan.py, dataset_upkeep.py and dataset_farewell.py; this file reads, writes and keeps the
order of writes.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from atoll.federation.bus.data_messages import DatasetOrder, DatasetReport, HeldReport, VolumeReport
from atoll.federation.errors import Conflict, InvalidInput, NotFound
from atoll.federation.placement import input_keys
from atoll.federation.resources import (
    FINISHED_JOB_PHASES,
    FINISHED_RUN_PHASES,
    Cluster,
    Condition,
    Dataset,
    DatasetSpec,
    DatasetStatus,
    Job,
    ObjectMeta,
    Run,
    Transfer,
)
from atoll.hub.conditions import with_condition
from atoll.hub.controllers import retention_plan
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.dataset_copies import Copies
from atoll.hub.controllers.dataset_needs import DatasetNeeds
from atoll.hub.controllers.dataset_scope import Scope, Upkeep
from atoll.hub.controllers.dataset_status import Marks, newly_complete, plan_status, with_marks
from atoll.hub.controllers.dataset_upkeep import deletes, plan_upkeep
from atoll.hub.controllers.replica_plan import plan_replicas
from atoll.hub.controllers.runtime import (
    DONE,
    Key,
    Messages,
    Objects,
    Outcome,
    RequeueAfter,
    Source,
    own_key,
    topic_key,
)
from atoll.hub.controllers.volume_plan import problem_of
from atoll.hub.controllers.volumes import Volumes
from atoll.hub.members import Path

HOME_LABEL = "atoll.dev/home"
# On every Dataset that has files: they go first, wherever they are.
FILES_FINALIZER = "atoll.dev/files"
# Files of a namespace that the hub does not have: looked at again now and then, since the namespace may come.
_NO_NAMESPACE_SECONDS = 15.0
# Rules look at all clusters, and a volume belongs to many: what changes there wakes no dataset by itself, of which
# there may be many thousands.
_RULE_SECONDS = 15.0


class DatasetController:
    """Keeps Dataset objects, their status, and what movers are to do with their files."""

    name = "datasets"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._needs, self._volumes = DatasetNeeds(context.client), Volumes(context)

    def sources(self) -> Sequence[Source]:
        """Watch datasets, what is on the volumes, transfers, who has read them, and orders that stand."""
        context = self._context
        return (
            Objects(context.client, Dataset, own_key),
            Objects(context.client, Transfer, _dataset_of),
            Objects(context.client, Run, _read_by_run, skips_ended=True),
            Objects(context.client, Job, _read_by_job, skips_ended=True),
            Messages(context.observed, topic_key("dataset", "held")),
            Messages(context.observed, self._at_volume),
            Messages(context.desired, topic_key("dataset")),
        )

    async def _at_volume(self, path: Path) -> Iterable[Key]:
        """Map a volume's report to the datasets that were told of there: it says which of them still count."""
        if path.topic != "volume":
            return []
        namespace, found = path.names[0], self._context.observed
        told = (each for topic in ("dataset", "held") for each in found.paths("cluster", path.member, topic))
        return {(namespace, each.names[1]) for each in told if len(each.names) == 2 and each.names[0] == namespace}

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one dataset up to date."""
        context, (namespace, name) = self._context, key
        copies = await self._copies(namespace, name)
        dataset = await context.client.get(Dataset, namespace, name)
        if dataset is None:
            if not copies.versions:
                await self._withdraw(namespace, name, {})
                return DONE
            dataset = await self._declare(namespace, name, copies)
            if dataset is None:
                return RequeueAfter(_NO_NAMESPACE_SECONDS)
        dataset = await self._settled(dataset, copies)
        now = context.clock()
        clusters = await self._clusters(dataset, copies)
        scope = await self._scope(dataset, copies, clusters, now)
        upkeep = plan_upkeep(scope, now)
        await self._tell(dataset, scope.dataset.status)
        return await self._carry_out(scope, upkeep, now)

    async def _settled(self, dataset: Dataset, copies: Copies) -> Dataset:
        """Give a dataset that has files its home and its finalizer."""
        settled = dataset
        if dataset.spec.home is None and copies.versions:
            settled = _at_home(dataset, copies)
        is_leaving = dataset.metadata.deletion_timestamp is not None
        if copies.versions and FILES_FINALIZER not in dataset.metadata.finalizers and not is_leaving:
            finalizers = (*dataset.metadata.finalizers, FILES_FINALIZER)
            metadata = settled.metadata.model_copy(update={"finalizers": finalizers})
            settled = settled.model_copy(update={"metadata": metadata})
        return settled if settled is dataset else await self._context.client.update(settled)

    async def _clusters(self, dataset: Dataset, copies: Copies) -> dict[str, Cluster]:
        """Read the clusters that matter: all of them where a rule chooses, else those that have something."""
        client, spec = self._context.client, dataset.spec
        if spec.replicas is not None:
            return {each.metadata.name: each for each in await client.list(Cluster)}
        names = {*copies.versions, *(each for line in dataset.status.versions for each in line.clusters)}
        names |= {name for name in (spec.home, spec.origin.cluster if spec.origin is not None else None) if name}
        found = {name: await client.get(Cluster, None, name) for name in sorted(names)}
        return {name: cluster for name, cluster in found.items() if cluster is not None}

    async def _scope(self, dataset: Dataset, copies: Copies, clusters: dict[str, Cluster], now: datetime) -> Scope:
        """Put together what is known, with the status that it makes; who reads it is asked only before deletions."""
        status = plan_status(dataset, copies, now)
        obsolete = retention_plan.obsolete(dataset, status.versions, now=now)
        wanted = {
            each.version: plan_replicas(dataset, each.clusters, clusters.values(), now=now)
            for each in status.versions
            if each.complete and each.version not in obsolete
        }
        marks = Marks(obsolete, {version: each.surplus for version, each in wanted.items()})
        dataset = dataset.model_copy(update={"status": with_marks(status, marks, now)})
        scope = Scope(dataset, copies, clusters, wanted)
        if not deletes(scope, now):
            return scope
        needs = await self._needs.of(dataset)
        feeders = await self._needs.feeders(dataset, copies.reports.values())
        return Scope(dataset, copies, clusters, wanted, needs, feeders)

    async def _tell(self, before: Dataset, after: DatasetStatus) -> None:
        for version in newly_complete(before.status, after):
            files = "1 file" if version.files == 1 else f"{version.files} files"
            message = f"version {version.version} is complete: {files}, {version.bytes} bytes"
            await self._context.events.record(before, "Completed", message)

    async def _carry_out(self, scope: Scope, upkeep: Upkeep, now: datetime) -> Outcome:
        """Write what was decided: the status first, for what it marks is what deletions go by."""
        context, dataset = self._context, scope.dataset
        conditions = upkeep.conditions or dataset.status.conditions
        conditions = await self._of_volume(scope, conditions, now)
        status = dataset.status.model_copy(update={"conditions": conditions})
        dataset = await context.client.update_status(dataset.model_copy(update={"status": status}))
        namespace, name = dataset.metadata.namespace or "", dataset.metadata.name
        for stale in upkeep.discard:
            await context.client.delete(Transfer, namespace, stale.metadata.name)
        for transfer in upkeep.transfers:
            await self._begin(dataset, transfer)
        for cluster, order in upkeep.orders.items():
            if await context.desired.put(Path("cluster", cluster, f"dataset/{namespace}/{name}"), order):
                await self._say(dataset, cluster, order)
        await self._withdraw(namespace, name, {} if upkeep.is_gone else upkeep.orders)
        if upkeep.is_gone:
            await self._release(dataset)
            return DONE
        ages = retention_plan.next_seconds(dataset, status.versions, now=now)
        waits = [each for each in (upkeep.again_seconds, ages) if each is not None]
        has_trouble = any((each.type, each.status) == ("Volume", "False") for each in conditions)
        waits += [_RULE_SECONDS] if dataset.spec.replicas is not None or has_trouble else []
        return RequeueAfter(min(waits)) if waits else DONE

    async def _of_volume(self, scope: Scope, conditions: tuple[Condition, ...], now: datetime) -> tuple[Condition, ...]:
        """Say of the home's volume whether it is as the dataset wishes, and whether it has room."""
        dataset = scope.dataset
        home = scope.clusters.get(dataset.spec.home or "")
        if home is None:
            return conditions
        volume = await self._volumes.scope(home, dataset.metadata.namespace or "", (dataset.metadata.name,))
        if volume.standing is None:
            return conditions
        problem = problem_of(dataset, volume)
        return with_condition(
            conditions, "Volume", not problem.reason, reason=problem.reason or "HasRoom", message=problem.message,
            now=now,
        )  # fmt: skip

    async def _begin(self, dataset: Dataset, transfer: Transfer) -> None:
        try:
            await self._context.client.create(transfer)
        except Conflict:
            return  # a job that needs the same began to copy it a moment ago
        spec = transfer.spec
        about = f"copying version {spec.version} from {spec.source} to {spec.destination}, as spec.replicas wants"
        await self._context.events.record(dataset, "Replicating", about)

    async def _say(self, dataset: Dataset, cluster: str, order: DatasetOrder) -> None:
        events = self._context.events
        if order.erase:
            versions = ", ".join(str(version) for version in order.erase)
            verb = "giving up" if order.keep_files else "deleting"
            await events.record(dataset, "DeletingFiles", f"{verb} version {versions} at {cluster}")
        if order.register_path:
            await events.record(dataset, "Registering", f"reading {order.register_path} at {cluster}")

    async def _withdraw(self, namespace: str, name: str, wanted: Iterable[str]) -> None:
        """Take back the orders that are done or not wanted any more."""
        desired, rest = self._context.desired, f"dataset/{namespace}/{name}"
        for path in list(desired.everywhere("cluster", rest)):
            if path.member not in wanted:
                await desired.remove(path)

    async def _release(self, dataset: Dataset) -> None:
        """Let the object go, once nothing that is told would bring it back."""
        context, namespace, name = self._context, dataset.metadata.namespace, dataset.metadata.name
        for path in list(context.observed.everywhere("cluster", f"dataset/{namespace}/{name}")):
            await context.observed.remove(path)
        finalizers = tuple(each for each in dataset.metadata.finalizers if each != FILES_FINALIZER)
        metadata = dataset.metadata.model_copy(update={"finalizers": finalizers})
        await context.client.update(dataset.model_copy(update={"metadata": metadata}))

    # --- what is known

    async def _copies(self, namespace: str, name: str) -> Copies:
        """Read what is told of a dataset by clusters that exist."""
        context = self._context
        observed = context.observed
        rests = (f"dataset/{namespace}/{name}", f"held/{namespace}/{name}")
        members = {path.member for rest in rests for path in observed.everywhere("cluster", rest)}
        transfers = [each for each in await context.client.list(Transfer, namespace) if each.spec.dataset == name]
        members |= {each.spec.destination for each in transfers}
        reports: dict[str, DatasetReport] = {}
        held: dict[str, HeldReport] = {}
        volumes: dict[str, VolumeReport] = {}
        for member in sorted(members):
            if await context.client.get(Cluster, None, member) is None:
                continue
            report = observed.read(DatasetReport, Path("cluster", member, rests[0]))
            holding = observed.read(HeldReport, Path("cluster", member, rests[1]))
            volume = observed.read(VolumeReport, Path("cluster", member, f"volume/{namespace}"))
            reports |= {member: report} if report is not None else {}
            held |= {member: holding} if holding is not None else {}
            volumes |= {member: volume} if volume is not None else {}
        return Copies(reports, tuple(transfers), held, volumes)

    async def _declare(self, namespace: str, name: str, copies: Copies) -> Dataset | None:
        """Make the Dataset of files that were found; None while its namespace does not exist."""
        found = Dataset(metadata=ObjectMeta(name=name, namespace=namespace), spec=DatasetSpec())
        try:
            return await self._context.client.create(_at_home(found, copies))
        except (NotFound, InvalidInput):
            return None
        except Conflict:
            return await self._context.client.get(Dataset, namespace, name)


def _at_home(dataset: Dataset, copies: Copies) -> Dataset:
    """Settle where a dataset lives: where its files were first, until somebody says otherwise."""
    origin = dataset.spec.origin
    home = min(copies.versions, key=lambda cluster: (max(copies.versions[cluster]), cluster))
    home = origin.cluster if origin is not None and origin.cluster in copies.versions else home
    metadata = dataset.metadata.model_copy(update={"labels": {**dataset.metadata.labels, HOME_LABEL: home}})
    spec = dataset.spec.model_copy(update={"home": home})
    return dataset.model_copy(update={"metadata": metadata, "spec": spec})


async def _dataset_of(transfer: Transfer) -> Iterable[Key]:
    return [(transfer.metadata.namespace or "", transfer.spec.dataset)]


async def _read_by_run(run: Run) -> Iterable[Key]:
    """Map a run that ends to what it read: it may have stood in the way of a deletion."""
    is_over = run.status.phase in FINISHED_RUN_PHASES
    return [(each.namespace, each.dataset) for each in run.spec.inputs] if is_over else []


async def _read_by_job(job: Job) -> Iterable[Key]:
    """Map a job that ends to what it named, for the same reason."""
    is_over = job.status.phase in FINISHED_JOB_PHASES
    return input_keys(job.spec, job.metadata.namespace or "") if is_over else []
