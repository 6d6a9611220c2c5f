"""A Stream says whether its sink can write, and where to look if not."""

from datetime import UTC, datetime, timedelta

from atoll.federation.bus.data_messages import CommittedReport, StreamCommit
from atoll.federation.resources import ObjectMeta, Stream
from atoll.federation.resources.stream import StreamSpec
from atoll.hub.controllers.streams import with_writing

NOW = datetime(2026, 11, 23, tzinfo=UTC)
STREAM = Stream(
    metadata=ObjectMeta(name="s", namespace="ns"),
    spec=StreamSpec(gateway="lab", topics=("t/#",), dataset="run", home="onprem"),
)
FULL = "volume /data is full: No space left on device"


def report(problem: str) -> CommittedReport:
    commit = StreamCommit(stream="s", outbox="a", envelope=1, sequence=1, problem=problem)
    return CommittedReport(namespace="ns", cluster="onprem", commits=(commit,), at=NOW)


def test_a_full_volume_is_a_condition_until_it_is_not() -> None:
    status, found = STREAM.status, []
    for minutes, said in enumerate([None, report(""), report(FULL), report(FULL), report("")]):
        status = with_writing(status, STREAM, said, NOW + timedelta(minutes=minutes))
        [condition] = status.conditions
        since = (condition.last_transition_time - NOW).total_seconds() / 60
        found.append((condition.type, condition.status, condition.reason, condition.message, since))
    assert found == [
        ("Writing", "Unknown", "NothingSaid", "", 0),
        ("Writing", "True", "NoProblem", "", 1),
        ("Writing", "False", "VolumeRefuses", FULL, 2),
        ("Writing", "False", "VolumeRefuses", FULL, 2),
        ("Writing", "True", "NoProblem", "", 4),
    ]


def test_what_the_sink_says_of_other_streams_does_not_count() -> None:
    other = report(FULL).model_copy(update={"commits": (report(FULL).commits[0].model_copy(update={"stream": "x"}),)})
    [condition] = with_writing(STREAM.status, STREAM, other, NOW).conditions
    assert (condition.status, condition.reason) == ("Unknown", "NothingSaid")
