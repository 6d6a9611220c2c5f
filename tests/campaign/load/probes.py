"""Strangers: members who try what is another's with their own credentials, and people who send what is malformed.

Owns what was tried and what came of it. What a trespasser got is told by what arrived at it, and what it changed by
what lies in the streams afterwards: an answer from NATS is not asked for its opinion.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from atoll.federation.bus.credentials import new_key, public_key, sign_user
from atoll.federation.bus.membership import CREDENTIALS_FILE, MEMBER_FILE
from atoll.federation.bus.nats_keys import FIELD, Keys
from atoll.federation.bus.permissions import EVERYTHING, Identity
from atoll.federation.bus.subjects import DESIRED_STREAM, OBSERVED_STREAM, desired_prefix, observed_prefix
from campaign.evidence import BadRequest, Trespass
from campaign.load.jobs import NAMESPACE, QUEUE
from campaign.whole import Federation, Member
from hub.support import API

_PAUSE_SECONDS, _LISTEN_SECONDS = 6.0, 1.5
_MARK = b"trespass"


class Strangers:
    """Tries one thing after the other in a thread of its own until told that it is enough."""

    def __init__(self, federation: Federation, seed: int) -> None:
        self._federation, self._chance = federation, random.Random(seed)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="strangers", daemon=True)
        self.trespasses: list[Trespass] = []
        self.bad_requests: list[BadRequest] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._enough.set()
        self._thread.join(120)

    def _run(self) -> None:
        for number in itertools.count():
            self._send_nonsense(f"bad-{number}", NONSENSE[number % len(NONSENSE)])
            thief, victim = self._chance.sample(self._federation.members, 2)
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                self.trespasses += asyncio.run(trespass(self._federation, thief, victim))
            if self._enough.wait(_PAUSE_SECONDS):
                return

    def _send_nonsense(self, name: str, nonsense: "Nonsense") -> None:
        path = f"{API}/namespaces/{NAMESPACE}/{nonsense.kind}s"
        body = {"apiVersion": "atoll.dev/v1alpha1", "kind": nonsense.kind.capitalize(), **nonsense.body}
        body["metadata"] = {"name": name, "namespace": NAMESPACE}
        answer = self._federation.ask("POST", path, json=body)
        if answer is None or answer.status_code in (429, 503):
            return
        after = self._federation.insist(lambda: self._federation.ask("GET", f"{path}/{name}"), 200, 404)
        told = str(answer.json().get("message", ""))
        found = BadRequest(nonsense.what, nonsense.field, answer.status_code, told, after.status_code == 200)
        self.bad_requests.append(found)


@dataclass(frozen=True)
class Nonsense:
    """Something malformed, and the field that the answer has to name."""

    what: str
    kind: str
    body: Mapping[str, Any]
    field: str


_WORK: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {"containers": []}}}}
NONSENSE: Sequence[Nonsense] = (
    Nonsense("a job without a queue", "job", {"spec": {"workload": _WORK}}, "spec.queue"),
    Nonsense("an unknown lossPolicy", "job", {"spec": {"queue": QUEUE, "lossPolicy": "Hope"}}, "spec.lossPolicy"),
    Nonsense("a misspelt field", "job", {"spec": {"queue": QUEUE, "workloads": {}}}, "spec.workloads"),
    Nonsense("a priority that is text", "job", {"spec": {"queue": QUEUE, "priority": "high"}}, "spec.priority"),
    Nonsense("a stream without topics", "stream", {"spec": {"gateway": "x", "dataset": "d", "home": "h"}}, "topics"),
    Nonsense("a topic filter that is none", "stream", {"spec": {"topics": ["a/#/b"]}}, "spec.topics"),
    Nonsense("a trigger without a job", "trigger", {"spec": {"on": {"name": "x"}}}, "spec.job"),
    Nonsense("a dataset of replicas -1", "dataset", {"spec": {"replicas": -1}}, "spec.replicas"),
)


async def trespass(federation: Federation, thief: Member, victim: Member) -> list[Trespass]:
    """Let one member try to read and to write what is another's; it even knows the other's tokens."""
    places = list(_places_of(victim))
    mark = _MARK + b" " + str(time.time_ns()).encode()
    got: list[str] = []

    async def hear(message: Msg) -> None:
        if not message.data.startswith(_MARK):
            got.append(message.subject)

    async with connected(federation, thief) as connection:
        inbox = f"{Identity.of_member(thief.kind, thief.name).inbox_prefix}.thief"
        for subject in (inbox, ">", *(f"{place}.>" for _, place in places)):
            await connection.subscribe(subject, cb=hear)
        for stream, place in places:
            await connection.publish(f"{place}.heartbeat", mark)
            config = {"deliver_subject": inbox, "filter_subject": f"{place}.>"}
            request = {"stream_name": stream, "action": "create", "config": config}
            await connection.publish(f"$JS.API.CONSUMER.CREATE.{stream}.thief.{place}.>", json.dumps(request).encode())
            await connection.publish(f"$JS.API.STREAM.PURGE.{stream}", b"{}")
        await asyncio.sleep(_LISTEN_SECONDS)
    changed = await _marked(federation, mark, [place for _, place in places])
    who = f"{thief.kind} {thief.name}"
    return [
        Trespass(who, f"listened to {victim.name}", f"heard {got[0]}" if got else ""),
        Trespass(who, f"wrote as {victim.name}", f"it stands in {changed[0]}" if changed else ""),
    ]


def _places_of(member: Member) -> Iterator[tuple[str, str]]:
    """Give the tables' prefixes of a member, with the token that only it should know."""
    path = member.state_dir / "membership" / MEMBER_FILE
    token = json.loads(path.read_bytes())["token"]
    yield DESIRED_STREAM, desired_prefix(member.kind, member.name, token)
    yield OBSERVED_STREAM, observed_prefix(member.kind, member.name, token)


@contextlib.asynccontextmanager
async def connected(federation: Federation, member: Member) -> AsyncIterator[Client]:
    """Connect with a member's own credentials, straight to NATS."""
    path = member.state_dir / "membership" / CREDENTIALS_FILE
    async with _connection(federation, str(path)) as connection:
        yield connection


@contextlib.asynccontextmanager
async def _connection(federation: Federation, credentials: str) -> AsyncIterator[Client]:
    async def ignore(_: Exception) -> None:
        """NATS tells each refusal, too; what counts is what comes of it."""

    connection: Client = await nats.connect(
        [node.url for node in federation.nodes],
        user_credentials=credentials,
        error_cb=ignore,
        allow_reconnect=False,
        connect_timeout=3,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _marked(federation: Federation, mark: bytes, places: Sequence[str]) -> list[str]:
    """Name the places where something lies that a trespasser has written, as who may see everything."""
    keys = Keys.load(federation.nodes[0].keys)
    seed = new_key("user")
    jwt = sign_user(keys.seed(FIELD), public_key(seed), name="auditor", permissions=EVERYTHING)
    path = federation.home / "auditor.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed.decode()}\n------END USER NKEY SEED------\n"
    )
    found = []
    async with _connection(federation, str(path)) as connection:
        for place in places:
            stream = DESIRED_STREAM if place.startswith("desired") else OBSERVED_STREAM
            body = json.dumps({"last_by_subj": f"{place}.heartbeat"}).encode()
            answer = await connection.request(f"$JS.API.STREAM.MSG.GET.{stream}", body, timeout=5)
            data = base64.b64decode(json.loads(answer.data).get("message", {}).get("data", ""))
            if data == mark:
                found.append(place)
    return found
