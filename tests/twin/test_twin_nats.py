"""The twin's NATS answers as a real server does: the same requests to both, the same answers."""

import base64
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from atoll.federation.bus.connection import Bus
from nats_servers import NatsServer
from twin.jetstream import Refusal, matches
from twin.jetstream_api import JetStream

_NOW = 1_800_000_000.0
# What only one of the two can know, or says for itself.
_OWN = frozenset({"created", "ts", "time", "type", "cluster", "domain", "deleted", "num_deleted", "lost", "first_ts",
                  "last_ts", "consumer_count", "bytes", "metadata"})  # fmt: skip

Step = tuple[str, str, Any]


def table(name: str, **more: Any) -> Step:
    config = {
        "name": name,
        "subjects": [f"{name.lower()}.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "num_replicas": 1,
        **more,
    }
    return ("api", f"STREAM.CREATE.{name}", config)


def put(subject: str, payload: str = "x", **headers: str) -> Step:
    return ("put", subject, (payload.encode(), {name.replace("_", "-"): value for name, value in headers.items()}))


def ask(verb: str, body: Any = None) -> Step:
    return ("api", verb, body)


def consume(stream: str, name: str, how: dict[str, Any]) -> Step:
    config = {"name": name, "ack_policy": "none", "mem_storage": True, "num_replicas": 1, **how}
    verb = f"CONSUMER.CREATE.{stream}.{name}.{how['filter_subject']}"
    return ask(verb, {"stream_name": stream, "action": "create", "config": config})


STORIES: Mapping[str, list[Step]] = {
    "values are guarded by the revision of their key": [
        table("A"),
        put("a.k", "1", Nats_Expected_Last_Subject_Sequence="0"),
        put("a.k", "2", Nats_Expected_Last_Subject_Sequence="0"),
        put("a.k", "2", Nats_Expected_Last_Subject_Sequence="1"),
        put("a.other", "3"),
        put("a.k", "4", Nats_Expected_Last_Subject_Sequence="3"),
        ask("STREAM.MSG.GET.A", {"last_by_subj": "a.k"}),
        ask("STREAM.MSG.GET.A", {"last_by_subj": "a.none"}),
        ask("STREAM.INFO.A"),
    ],
    "a log is chained, and says the same twice where it was said twice": [
        table("L", max_msgs_per_subject=-1, duplicate_window=120_000_000_000),
        put("l.s", "1", Nats_Msg_Id="x:1", Nats_Expected_Last_Sequence="0"),
        put("l.s", "2", Nats_Msg_Id="x:2", Nats_Expected_Last_Msg_Id="x:1"),
        put("l.s", "2", Nats_Msg_Id="x:2", Nats_Expected_Last_Msg_Id="x:1"),
        put("l.s", "4", Nats_Msg_Id="x:4", Nats_Expected_Last_Msg_Id="x:3"),
        put("l.s", "3", Nats_Msg_Id="x:3", Nats_Expected_Last_Sequence="7"),
        ask("STREAM.PURGE.L", {"filter": "l.s", "seq": 2}),
        ask("STREAM.INFO.L", {"subjects_filter": ">"}),
        ask("STREAM.MSG.GET.L", {"seq": 2}),
        ask("STREAM.MSG.GET.L", {"seq": 1}),
    ],
    "what is taken in under one subject is stored under another": [
        table("T", subjects=["up.>"], subject_transform={"src": "up.>", "dest": "t.>"}, max_msgs_per_subject=-1),
        put("up.a.b", "1"),
        ask("STREAM.MSG.GET.T", {"last_by_subj": "t.a.b"}),
    ],
    "a mark rolls up the history of its key": [
        table("H", max_msgs_per_subject=4, allow_rollup_hdrs=True),
        put("h.k", "1"), put("h.k", "2"), put("h.j", "3"),
        put("h.k", "", Nats_Rollup="sub", Atoll_Deleted="1"),
        ask("STREAM.INFO.H", {"subjects_filter": ">"}),
        ask("STREAM.MSG.GET.H", {"last_by_subj": "h.k"}),
    ],
    "a batch is stored whole or not at all": [
        table("B", allow_atomic=True),
        put("b.1", "1", Nats_Batch_Id="one", Nats_Batch_Sequence="1"),
        put("b.2", "2", Nats_Batch_Id="one", Nats_Batch_Sequence="2", Nats_Batch_Commit="1"),
        put("b.1", "3", Nats_Batch_Id="two", Nats_Batch_Sequence="1"),
        put("b.2", "4", Nats_Batch_Id="two", Nats_Batch_Sequence="2", Nats_Batch_Commit="1",
            Nats_Expected_Last_Subject_Sequence="9"),
        ask("STREAM.INFO.B"),
    ],
    "streams are made once, and asked for in vain before": [
        ask("STREAM.INFO.N"), table("N"), table("N"), table("N", max_msgs_per_subject=9),
        ask("STREAM.DELETE.N"), ask("STREAM.MSG.GET.N", {"seq": 1}),
    ],
    "consumers say how much waits for them": [
        table("C", max_msgs_per_subject=3),
        put("c.a", "1"), put("c.a", "2"), put("c.b", "3"), put("c.a", "4"),
        *(consume("C", name, {"filter_subject": "c.>", **how})
          for name, how in {
              "last": {"deliver_policy": "last_per_subject"},
              "from": {"deliver_policy": "by_start_sequence", "opt_start_seq": 3},
              "all": {"deliver_policy": "all"},
              "new": {"deliver_policy": "new"},
          }.items()),
    ],
}  # fmt: skip


def _twin(streams: JetStream, step: Step) -> Any:
    what, subject, body = step
    if what == "api":
        return orjson.loads(streams.ask(subject, orjson.dumps(body) if body is not None else b"")[0])
    payload, headers = body
    stream = streams.stream_for(subject)
    assert stream is not None
    try:
        answer, _ = stream.publish(subject, payload, headers, _NOW)
    except Refusal as refusal:
        return {"error": refusal.error}
    return answer


async def _real(bus: Bus, step: Step) -> Any:
    what, subject, body = step
    if what == "api":
        answer = await bus.ask(f"$JS.API.{subject}", orjson.dumps(body) if body is not None else b"")
    else:
        answer = await bus.ask(subject, body[0], headers=body[1] or None)
    return orjson.loads(answer) if answer else {}


def _compared(answer: Any) -> Any:
    """Give what must be the same: an error's code, a state's counts, a message."""
    if "error" in answer:
        return answer["error"]["err_code"]
    if "message" in answer:
        message = answer["message"]
        head = base64.b64decode(message.get("hdrs", "")).decode().split("\r\n")
        return message["subject"], message["seq"], message.get("data", ""), sorted(filter(None, head))
    if "num_pending" in answer:
        return answer["name"], answer["num_pending"]
    if "state" in answer:
        return {key: value for key, value in answer["state"].items() if key not in _OWN}
    return {key: value for key, value in answer.items() if key not in ("type", "stream", "batch", "count", "val")}


@pytest.mark.parametrize("story", STORIES)
async def test_it_answers_as_a_real_server(story: str, shared_nats_server: NatsServer) -> None:
    bus = await Bus.connect(shared_nats_server.url, name="twin")
    streams = JetStream(lambda: _NOW)
    steps = STORIES[story]
    try:
        for step in steps:
            real, twin = await _real(bus, step), _twin(streams, step)
            assert _compared(twin) == _compared(real), f"{step}: {twin} where the server says {real}"
    finally:
        for verb in {step[1] for step in steps if step[1].startswith("STREAM.CREATE.")}:
            await bus.ask(f"$JS.API.{verb.replace('CREATE', 'DELETE')}", b"")
        await bus.close()


SUBJECTS: Mapping[str, tuple[str, str, bool]] = {
    "itself": ("a.b", "a.b", True),
    "another": ("a.b", "a.c", False),
    "a longer one": ("a.b", "a.b.c", False),
    "one token": ("a.*", "a.b", True),
    "two tokens are not one": ("a.*", "a.b.c", False),
    "the rest": ("a.>", "a.b.c", True),
    "the rest is not nothing": ("a.>", "a", False),
    "all": (">", "a.b", True),
}


@pytest.mark.parametrize("case", SUBJECTS)
def test_a_pattern_matches(case: str) -> None:
    pattern, subject, expected = SUBJECTS[case]
    assert matches(pattern, subject) is expected
