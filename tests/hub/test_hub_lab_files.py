"""Room for files on their way: what leaves it, and who is believed about that."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.bus.data_messages import CommittedReport, GatewayReport
from atoll.federation.bus.file_messages import FilesReport, WantedUpload
from atoll.federation.resources import Stream
from atoll.federation.resources.stream_files import StreamFiles
from atoll.hub.controllers.gateways import believable, judge
from atoll.hub.controllers.lab_files import find_strays, is_released, plan_release
from atoll.hub.controllers.streams import plan_status

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def needs(following: int, *kept: int, catalogue: str = "ab") -> FilesReport:
    return FilesReport(catalogue=catalogue, following=following, kept=kept, at=NOW)


@pytest.mark.parametrize(
    ("before", "now", "released"),
    [
        pytest.param(needs(3, 1, 2), needs(3, 2), ["ab-1"], id="one is in its dataset"),
        pytest.param(needs(3, 1, 2), needs(5, 4), ["ab-1", "ab-2", "ab-3"], id="begun and done since"),
        pytest.param(needs(3, 1), needs(3, 1), [], id="nothing has changed"),
        pytest.param(needs(3, 1), needs(1, catalogue="cd"), [], id="another catalogue says nothing of it"),
    ],
)
def test_an_upload_goes_when_its_gateway_needs_it_no_more(
    before: FilesReport, now: FilesReport, released: list[str]
) -> None:
    assert plan_release(before, now) == released


def test_of_what_is_stored_only_finished_uploads_of_the_same_catalogue_are_released() -> None:
    report = needs(4, 2)
    names = ("ab-1", "ab-2", "ab-3", "ab-4", "cd-1", "nonsense")
    assert [name for name in names if is_released(name, report)] == ["ab-1", "ab-3"]


def test_strays_are_of_another_catalogue_or_of_a_stream_that_is_gone() -> None:
    stored = {("files.lab.ns.s", "ab-1"), ("files.lab.ns.s", "cd-1"), ("files.lab.ns.gone", "ab-2")}
    strays = {("files.lab.ns.s", "cd-1"), ("files.lab.ns.gone", "ab-2")}
    assert find_strays(stored, "ab", ["files.lab.ns.s"]) == strays


def stream(name: str, home: str = "onprem") -> Stream:
    spec: dict[str, Any] = {"gateway": "lab", "dataset": "run", "home": home, "files": {}}
    return Stream.model_validate({"metadata": {"name": name, "namespace": "ns"}, "spec": spec})


def test_a_sink_is_believed_to_lack_chunks_of_the_streams_whose_home_it_is() -> None:
    wanted = tuple(WantedUpload(stream=name, upload="ab-1", attempt=0) for name in ("mine", "elsewhere", "unknown"))
    report = CommittedReport(namespace="ns", cluster="onprem", commits=(), wanted=wanted, at=NOW)
    told = believable(report, "lab", [stream("mine"), stream("elsewhere", "cloud")])
    assert [item.stream for item in told.wanted] == ["mine"]


def test_a_gateway_whose_streams_have_files_only_is_ready_without_a_broker() -> None:
    phases = [
        judge(
            GatewayReport(broker_needed=needed, at=NOW), NOW, now=NOW + timedelta(seconds=1), timeout_seconds=30
        ).phase
        for needed in (False, True)
    ]
    assert phases == ["Ready", "Degraded"]


def test_a_stream_shows_where_its_files_are_and_keeps_that_while_its_gateway_is_silent() -> None:
    row = StreamFiles(stream="ns/mine", waiting=2, committed=5)
    other = StreamFiles(stream="ns/other", waiting=9)
    shown = plan_status(stream("mine"), GatewayReport(files=(other, row), at=NOW), ())
    assert shown.files == row
    assert plan_status(stream("mine").model_copy(update={"status": shown}), None, ()).files == row
