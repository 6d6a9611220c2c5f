"""The composition root of the hub: builds every part and hands each what it needs.

Owns who gets which client, clock and setting. Nothing here decides anything.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from atoll import __version__
from atoll.federation.bus.messages import PolicyOrder
from atoll.federation.bus.subjects import DESIRED_PREFIX, DESIRED_STREAM, OBSERVED_PREFIX, OBSERVED_STREAM
from atoll.hub.access.service import AccessService
from atoll.hub.accounting.accounts import Accounts
from atoll.hub.accounting.book import Retention
from atoll.hub.client import Client
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.finished import Keep
from atoll.hub.controllers.loss_rules import FencePolicy, LossRules
from atoll.hub.controllers.manifests import DataService
from atoll.hub.controllers.policysets import PolicyMemory
from atoll.hub.dashboard.app import Dashboard
from atoll.hub.dashboard.serving import Visitors
from atoll.hub.estimates import Histories, Knowledge
from atoll.hub.events import Events
from atoll.hub.existing import ExistingObjects
from atoll.hub.field.desk import Desk
from atoll.hub.field.wires import Wires
from atoll.hub.http.accounts import AccountRoutes
from atoll.hub.http.audit import AuditRecords
from atoll.hub.http.backup import Backup
from atoll.hub.http.commands import Commands
from atoll.hub.http.datasets import Datasets
from atoll.hub.http.diagnosis import Diagnosis
from atoll.hub.http.enrolments import EnrolmentRoutes
from atoll.hub.http.health import Health
from atoll.hub.http.logs import Logs
from atoll.hub.http.tokens import TokenRoutes
from atoll.hub.http.top import Top
from atoll.hub.http.whatif import WhatIf
from atoll.hub.http.workloads import WorkloadRoutes
from atoll.hub.kinds import build_registry
from atoll.hub.leader import Claim, lead
from atoll.hub.leading import Leading, scheduler_of
from atoll.hub.members import Desired, Observed, Path
from atoll.hub.metrics import Metrics
from atoll.hub.reports import Inventories
from atoll.hub.settings import HubSettings
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.errors import AlreadyExists
from atoll.kubeapi.http import create_app
from atoll.kubeapi.store import Store

Clock = Callable[[], datetime]

KUBERNETES = "1.36"
"""The Kubernetes whose API conventions the hub follows: clients read it, and warn of one that they do not know."""


class _Routed(Protocol):
    """A part of the hub that answers HTTP requests."""

    def routes(self) -> Sequence[BaseRoute]:
        """Give its routes."""


def utc_now() -> datetime:
    """Give the time of this machine."""
    return datetime.now(UTC)


@dataclass
class Hub:
    """The parts of one hub process."""

    wires: Wires
    store: Store
    client: Client
    lease: Claim
    context: Context
    access: AccessService
    dashboard: Dashboard
    knowledge: Knowledge
    leading: Leading
    desk: Desk | None = None

    @property
    def app(self) -> ASGIApp:
        """What it serves: the dashboard before the API."""
        return self.dashboard.app

    async def run(self) -> None:
        """Keep what others write up to date in memory, and lead when it is this hub's turn; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.context.observed.run(), name="hub-observed")
            group.create_task(self.context.desired.run(), name="hub-desired")
            group.create_task(self.access.run(), name="hub-access")
            group.create_task(self.knowledge.run(), name="hub-knowledge")
            group.create_task(self.dashboard.run(), name="hub-dashboard")
            group.create_task(lead(self.lease, self.leading.run), name="hub-leader")
            if self.desk is not None:
                group.create_task(self.desk.run(), name="hub-desk")


async def build(settings: HubSettings, wires: Wires, lease: Claim, *, clock: Clock = utc_now) -> Hub:
    """Make the hub's streams if need be, load its objects, and put the parts together.

    Raises:
        Unavailable: NATS does not answer. InvalidInput: the settings of OIDC cannot be used.
    """
    bus = wires.own
    await wires.field.ensure_table(DESIRED_STREAM, DESIRED_PREFIX)
    await wires.field.ensure_table(OBSERVED_STREAM, OBSERVED_PREFIX)
    existing, metrics = ExistingObjects(), Metrics()
    storage = await JetStreamStorage.open(bus)
    store = Store(build_registry(existing), storage, clock=clock, require_namespaces=True)
    existing.store = store
    access = await AccessService.open(settings, bus, store, metrics)
    try:
        await store.start()
        await _ensure_namespace(store, "default")
        return await _assemble(settings, wires, lease, store=store, access=access, metrics=metrics)
    except BaseException:
        await store.close()
        await access.close()
        raise


async def _assemble(
    settings: HubSettings, wires: Wires, lease: Claim, *, store: Store, access: AccessService, metrics: Metrics
) -> Hub:
    """Put the parts around a store that has all objects together."""
    bus, clock, client = wires.own, store.clock, Client(store)
    retention = Retention(settings.accounts_keep_seconds, settings.accounts_bytes)
    accounts = await Accounts.open(bus, clock=clock, retention=retention)
    context = _context(settings, wires, client, accounts, clock=clock)
    knowledge = Knowledge(await Histories.open(bus), client, clock=clock)
    desk = _desk(settings, wires, context)
    context.observed.on_forged = partial(metrics.forged, "report")
    if desk is not None:
        desk.on_forged = partial(metrics.forged, "call")
    more: list[_Routed] = [
        WhatIf(client, access.access, look=scheduler_of(context, knowledge).look),
        AccountRoutes(accounts, access, clock=clock),
        Backup(bus, clock=clock),
        Diagnosis(settings, wires, client, observed=context.observed, lease=lease),
        WorkloadRoutes(client, context.observed),
        *([EnrolmentRoutes(desk)] if desk is not None else []),
    ]
    dashboard = Dashboard.before(
        _app(client, wires, metrics, access=access, more=more),
        client,
        Visitors(access.access, access.flow),
        clock=clock,
        orders=partial(_policy_order, context.desired),
    )
    keep = Keep(settings.finished_keep_count, settings.finished_keep_seconds)
    leading = Leading(context, metrics, knowledge, PolicyMemory.of(context), keep, desk)
    return Hub(wires, store, client, lease, context, access, dashboard, knowledge, leading, desk)


def _context(settings: HubSettings, wires: Wires, client: Client, accounts: Accounts, *, clock: Clock) -> Context:
    capabilities = wires.capabilities
    observed = Observed.on(wires.field, clock=clock, capabilities=capabilities)
    return Context(
        client=client,
        observed=observed,
        inventories=Inventories(observed),
        desired=Desired.on(wires.field, clock=clock, capabilities=capabilities),
        events=Events(client.store, clock=clock, retention_seconds=settings.event_retention_seconds),
        bus=wires.field,
        capabilities=capabilities,
        clock=clock,
        service=DataService(
            settings.data_command, settings.data_image, "" if wires.signer else settings.nats_url_for_members
        ),
        policies_dir=settings.state_dir / "policies",
        git_reach=settings.git_reach,
        heartbeat_timeout_seconds=settings.heartbeat_timeout_seconds,
        lab_log_bytes=settings.lab_log_bytes,
        orphan_keep_seconds=settings.orphan_keep_seconds,
        loss_rules=LossRules(
            FencePolicy(settings.run_lease_seconds, settings.run_lease_margin_seconds),
            settings.heartbeat_timeout_seconds,
        ),
        queue_half_life_seconds=settings.queue_half_life_seconds,
        accounts=accounts,
    )


def _desk(settings: HubSettings, wires: Wires, context: Context) -> Desk | None:
    if wires.signer is None:
        return None
    nats_url = settings.nats_url_for_members
    return Desk(wires, wires.signer, desired=context.desired, nats_url=nats_url, clock=context.clock)


def _app(
    client: Client, wires: Wires, metrics: Metrics, *, access: AccessService, more: Iterable[_Routed]
) -> Starlette:
    store, bus, field_, capabilities = client.store, wires.own, wires.field, wires.capabilities
    audit = AuditRecords(access.audit, is_admin=access.is_admin, clock=store.clock)
    health, logs = Health(client, bus, metrics, access), Logs(client, field_, capabilities)
    commands, top = Commands(client, field_, capabilities), Top(client, field_, capabilities)
    parts: list[_Routed] = [health, logs, commands, top, Datasets(client, field_, capabilities), audit, *more]
    routes: list[BaseRoute] = [route for part in parts for route in part.routes()]
    if access.tokens is not None:
        routes += TokenRoutes(access.tokens, clock=store.clock).routes()
    major, minor = KUBERNETES.split(".")
    git_version = f"v{KUBERNETES}.0+atoll-{__version__}"
    version = {"major": major, "minor": minor, "gitVersion": git_version, "platform": "atoll"}
    return create_app(store, store.registry, version=version, access=access.access, extra_routes=routes)


def _policy_order(desired: Desired, cluster: str, policyset: str) -> PolicyOrder | None:
    return desired.read(PolicyOrder, Path("cluster", cluster, f"policyset/{policyset}"))


async def _ensure_namespace(store: Store, name: str) -> None:
    """Make the namespace that commands mean when they name none."""
    rt = store.registry.by_kind("", "Namespace")
    assert rt is not None, "the registry of the hub serves namespaces"
    try:
        await store.create(rt, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    except AlreadyExists:
        return
