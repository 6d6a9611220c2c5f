"""Credentials of the data services of this cluster: keys made here, vouched for by the hub, kept as Secrets.

Owns the Secret of a namespace. It is renewed when half of its life is over, and once by every process: a cluster that
was sent away and let in again finds Secrets that look good and were revoked. The kubelet brings the new one into the
mounted folder, and sink and mover read it at their next connect.
"""

import base64
import binascii
import time
from collections.abc import Callable

import structlog

from atoll.edge.enrolment import seconds_to_renewal
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Kind, Object, ObjectRef
from atoll.federation.bus.admission import CREDENTIALS_SECRET, DATA, Admission, DataRequest
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.credentials import Credentials, new_key, public_key
from atoll.federation.bus.datasets import opened
from atoll.federation.bus.membership import CA_FILE, CREDENTIALS_FILE, MEMBER_FILE, MemberFile, Membership
from atoll.federation.bus.subjects import hub_subject
from atoll.federation.errors import InvalidInput, Unavailable

log = structlog.get_logger(__name__)

SECRET = Kind("v1", "Secret")
_ASK_SECONDS = 10.0


class DataCredentials:
    """Keeps the Secrets. `connect` tells by which connection the hub is asked."""

    def __init__(self, kube: Kube, cluster: str, *, now: Callable[[], float] = time.time) -> None:
        self._kube, self._cluster, self._now = kube, cluster, now
        self._way: tuple[Bus, Membership] | None = None
        self._vouched: set[str] = set()
        """Namespaces whose Secret the hub gave to this very process."""

    def connect(self, bus: Bus | None, member: Membership) -> None:
        """Ask by this connection from now on; None: there is none."""
        self._way = (bus, member) if bus is not None else None

    async def ensure(self, namespace: str) -> float:
        """Have good credentials in a namespace; give for how many seconds they need not be looked at.

        Raises:
            Unavailable: there are none that the hub has vouched for, and it cannot be asked now.
        """
        found = await self._kube.get(ObjectRef(SECRET, namespace, CREDENTIALS_SECRET))
        held = _credentials(found) if found is not None else None
        left = seconds_to_renewal(held.jwt, self._now()) if held is not None else 0.0
        if held is not None and left > 0 and namespace in self._vouched:
            return left
        seed = held.seed if held is not None else new_key("user")
        await self._kube.server_side_apply(_secret(namespace, await self._ask(namespace, seed), seed), strict=True)
        self._vouched.add(namespace)
        log.info("renewed the credentials of a data service", namespace=namespace)
        return 0.0

    async def _ask(self, namespace: str, seed: bytes) -> Admission:
        if self._way is None:
            raise Unavailable("the hub cannot be asked for the credentials of the data service")
        bus, member = self._way
        asked = DataRequest(namespace=namespace, public_key=public_key(seed)).encode()
        subject = hub_subject("cluster", self._cluster, DATA, member.token)
        return Admission.decode(opened(await bus.request(subject, asked, timeout_seconds=_ASK_SECONDS)))


def _credentials(secret: Object) -> Credentials | None:
    """Read a Secret; one that somebody spoilt is as good as none."""
    try:
        return Credentials.parse(base64.b64decode((secret.get("data") or {}).get(CREDENTIALS_FILE, ""), validate=True))
    except (InvalidInput, binascii.Error, TypeError):
        return None


def _secret(namespace: str, admission: Admission, seed: bytes) -> Object:
    member = MemberFile(nats_url=admission.nats_url, token=admission.token, service_token=admission.service_token)
    files = {
        CREDENTIALS_FILE: Credentials(admission.jwt, seed).text(),
        MEMBER_FILE: member.model_dump_json(by_alias=True).encode(),
        **({CA_FILE: admission.ca.encode()} if admission.ca else {}),
    }
    labels = {"app.kubernetes.io/name": "atoll-data", "app.kubernetes.io/managed-by": "atoll"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CREDENTIALS_SECRET, "namespace": namespace, "labels": labels},
        "type": "Opaque",
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }
