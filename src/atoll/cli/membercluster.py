"""A cluster reached with a kubeconfig of the person's own: put an agent into it, see why it does not run, take it out.

Owns what is done there by `cluster join --context` and `cluster leave --context`. Exec plugins of cloud providers work,
since the agent's own client does it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from atoll.cli.output import hint
from atoll.cli.refusals import LOOPBACK
from atoll.edge.member import namespaces
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import POD, Kind, Object, ObjectRef, Selection
from atoll.federation.errors import AtollError, Conflict, InvalidInput
from atoll.installation.manifests import removal
from atoll.installation.plan import AGENT, CLUSTER_ANNOTATION, ENROLMENT_ANNOTATION, NAMESPACE, Manifest
from atoll.local.kubeconfig import Kubeconfig
from atoll.local.kubeconfig_file import user_files

T = TypeVar("T")
_NAMESPACE = ObjectRef(namespaces.NAMESPACE, None, NAMESPACE)
_DEPLOYMENT = ObjectRef(Kind("apps/v1", "Deployment"), NAMESPACE, AGENT)
_CRASHING = "CrashLoopBackOff"
_GONE_SECONDS = 120.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Access:
    """Which cluster: a context of a kubeconfig; None is its current one, or $KUBECONFIG."""

    context: str | None = None
    kubeconfig: Path | None = None

    @property
    def is_given(self) -> bool:
        """Whether a cluster was named at all."""
        return self.context is not None or self.kubeconfig is not None

    def is_here(self) -> bool:
        """Tell whether the cluster's API is on this machine, and so its pods, as far as that can be told.

        Raises:
            NotFound: there is no such context.
        """
        found = self._kubeconfig()
        return urlsplit(found.server_of(self.context or found.current)).hostname in LOOPBACK

    def _kubeconfig(self) -> Kubeconfig:
        return Kubeconfig.read([self.kubeconfig] if self.kubeconfig else user_files())

    def check(self) -> None:
        """Refuse a context that is a hub of Atoll's: nothing can run there.

        Raises:
            InvalidInput: it is one.
        """
        found = self._kubeconfig()
        name = self.context or found.current
        if found.is_atoll(name):
            raise InvalidInput(f"context {name} is a hub of Atoll's, not a cluster: --hub-context chooses the hub")


@dataclass(frozen=True)
class Installed:
    """An agent that a cluster has: for which Cluster, and by which token it came in."""

    cluster: str
    enrolment: str


def found_in(access: Access, cluster: str) -> Installed | None:
    """Find the agent in a cluster.

    Raises:
        Conflict: it is another Cluster's. Unavailable: the cluster cannot be reached.
    """
    return _do(access, lambda kube: _installed(kube, cluster))


def install(access: Access, manifests: Iterable[Manifest]) -> None:
    """Apply an agent's objects, the same again without effect.

    Raises:
        AtollError: the cluster does not take one; applied so far stays, and the same command goes on.
    """
    _do(access, lambda kube: _install(kube, manifests))


def uninstall(access: Access) -> None:
    """Delete the agent's objects, and the namespaces that Atoll made and that nobody else uses; wait for its own."""
    _do(access, _uninstall)


def why_not_running(access: Access) -> str:
    """Say what keeps the agent's pod from running; empty if nothing can be seen."""
    return _do(access, _why_not_running)


def _do(access: Access, work: Callable[[Kube], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with _connected(access) as kube:
            return await work(kube)

    return asyncio.run(run())


@asynccontextmanager
async def _connected(access: Access) -> AsyncIterator[Kube]:
    files = access.kubeconfig or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    kube = await Kube.connect(files, access.context)
    try:
        yield kube
    finally:
        await kube.close()


async def _installed(kube: Kube, cluster: str) -> Installed | None:
    namespace = await kube.get(_NAMESPACE)
    if namespace is None:
        return None
    name = (namespace["metadata"].get("annotations") or {}).get(CLUSTER_ANNOTATION, "")
    if name and name != cluster:
        raise Conflict(
            f"this cluster has an agent of cluster {name} already, and two would fight: "
            f"'atoll cluster leave {name}' with the same --context first"
        )
    deployment = await kube.get(_DEPLOYMENT)
    return Installed(name, _enrolment(deployment)) if deployment is not None else None


def _enrolment(deployment: Object) -> str:
    annotations = deployment["spec"]["template"]["metadata"].get("annotations") or {}
    return str(annotations.get(ENROLMENT_ANNOTATION, ""))


async def _install(kube: Kube, manifests: Iterable[Manifest]) -> None:
    for manifest in manifests:
        await kube.server_side_apply(manifest, strict=True)
        hint(f"{_label(ObjectRef.of(manifest))} applied")


async def _uninstall(kube: Kube) -> None:
    for made in await namespaces.made(kube):
        why = await namespaces.give_up(kube, made)
        hint(f"{_label(made)} {f'stays: {why}' if why else 'deleted'}")
    for api_version, kind, namespace, name in removal():
        ref = ObjectRef(Kind(api_version, kind), namespace, name)
        if await kube.delete(ref):
            hint(f"{_label(ref)} deleted")
    try:
        async with asyncio.timeout(_GONE_SECONDS):
            await _until_gone(kube)
    except TimeoutError:
        hint(f"namespace/{NAMESPACE} is still going after {_GONE_SECONDS:.0f} s: 'kubectl get namespace' tells why")


async def _until_gone(kube: Kube) -> None:
    while True:
        if await kube.get(_NAMESPACE) is None:
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _why_not_running(kube: Kube) -> str:
    selection = Selection(NAMESPACE, f"app.kubernetes.io/name={AGENT}")
    pods = (await kube.list(POD, selection, project=lambda pod: (_trouble(pod), pod["metadata"]["name"]))).items
    trouble, name = next((found for found in pods if found[0]), ("" if pods else "it has no pod", ""))
    if not trouble.startswith(_CRASHING):
        return trouble
    said = await _last_line(kube, ObjectRef(POD, NAMESPACE, name))
    return f"{trouble}; its log ends with: {said}" if said else trouble


async def _last_line(kube: Kube, pod: ObjectRef) -> str:
    chunks = []
    try:
        async with aclosing(kube.logs(pod, container=AGENT, tail_lines=1)) as log:
            async for chunk in log:
                chunks.append(chunk)
    except AtollError:
        return ""
    return b"".join(chunks).decode(errors="replace").strip()


def _trouble(pod: Object) -> str:
    """Say why one pod does not run, as kubectl would show it."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', 'waiting')}: {waiting.get('message', '')}".rstrip(": ")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason"))
    return ""


def _label(ref: ObjectRef) -> str:
    return f"{ref.kind.kind.lower()}/{ref.name}"
