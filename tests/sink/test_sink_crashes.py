"""The files are the only checkpoint: power may fail at any write, and no reading is lost, doubled or half visible."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from disk import FlakyDisk, PowerLossError

from atoll.datasets import open_dataset
from atoll.edge.sink import growing as growing_module
from atoll.edge.sink import stating as stating_module
from atoll.edge.sink import version as version_module
from atoll.edge.sink import writing as writing_module
from atoll.edge.sink.arrival import Arrival
from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.form import Form
from atoll.edge.sink.ledger import VersionLedger, load
from atoll.edge.sink.shelf import Shelf
from atoll.edge.sink.verify import verify
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.errors import AtollError, Internal

OUTBOX = "0" * 32
FORMS = {
    "raw": Form(),
    "jsonl": Form("jsonl"),
    "rolled raw": Form(roll_bytes=1),
    "jsonl.zst": Form("jsonl", is_compressed=True, roll_bytes=250, roll_seconds=60),
    "parquet": Form("parquet", roll_bytes=12, roll_seconds=60),
}


def envelope(number: int, dataset: str, first: int, count: int, *, end: bool = False) -> Envelope:
    readings = tuple(Reading(n, f"t/{n % 2}", f"<{n}>".encode()) for n in range(first, first + count))
    return Envelope(OUTBOX, "lab", "ns", "s", dataset, number, first, readings, end_of_run=end)


def story() -> list[Envelope]:
    """One Stream over two datasets and the end of a run."""
    return [
        envelope(1, "a", 1, 3),
        envelope(2, "b", 4, 2),
        envelope(3, "a", 6, 2),
        envelope(4, "a", 8, 0, end=True),
        envelope(5, "a", 8, 2),
        envelope(6, "b", 10, 3),
    ]


EXPECTED = {("a", 1): [1, 2, 3, 6, 7], ("a", 2): [8, 9], ("b", 1): [4, 5, 10, 11, 12]}


@dataclass
class Log:
    """A gateway's log: the hub trims it by what the sink says is in files, and never has that again."""

    trimmed: int = 0

    def after(self, position: int) -> list[Envelope]:
        return [item for item in story() if item.number > max(position, self.trimmed)]


def batches(shelf: Shelf, log: Log, form: Form) -> Iterator[tuple[list[Arrival], Progress]]:
    """Give what is left of the story, three envelopes at a time, from where the shelf says it is."""
    progress = shelf.progress("lab", "s")
    rest = [item for item in log.after(progress.log_sequence) if progress.judge(item).is_new]
    for start in range(0, len(rest), 3):
        batch = rest[start : start + 3]
        for item in batch:
            progress = progress.after(item)
        progress = progress.at(batch[-1].number, "log")
        yield [Arrival(item, form) for item in batch], progress


def take_in(root: Path, form: Form = FORMS["raw"], log: Log | None = None, *, is_to_end: bool = True) -> None:
    """Do what a sink does: look at the files, go on from there, and tell the hub how far it is."""
    shelf, log = Shelf(Volume(root)), log or Log()
    shelf.scan()
    for arrivals, progress in batches(shelf, log, form):
        shelf.append(arrivals, progress)
        log.trimmed = shelf.committed("lab", "s").log_sequence
    if is_to_end:
        shelf.roll("lab", "s", at_once=True)
        log.trimmed = shelf.committed("lab", "s").log_sequence


def readings(folder: Path) -> dict[int, tuple[str, bytes]]:
    """Read a version as its users do; a reading that is there twice is an error."""
    found: dict[int, tuple[str, bytes]] = {}
    for reading in open_dataset(folder).readings():
        assert reading.sequence not in found
        value = reading.value["_payload"] if isinstance(reading.value, dict) else reading.value
        found[reading.sequence] = reading.topic, value.encode() if isinstance(value, str) else value
    return found


def assert_whole(root: Path) -> None:
    for (dataset, version), numbers in EXPECTED.items():
        folder = root / dataset / f"v{version}"
        assert readings(folder) == {n: (f"t/{n % 2}", f"<{n}>".encode()) for n in numbers}
        report = verify(root, dataset, version)
        assert (report.problems, report.readings, report.gaps, report.duplicates) == ((), len(numbers), 0, 0)
        ledger = load(folder)
        assert ledger is not None
        assert ledger.complete == (dataset == "a" and version == 1)
        visible = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert {path for path in visible if not path.startswith(".atoll/")} == {file.path for file in ledger.files}


def assert_prefix_is_sound(root: Path) -> None:
    """Whatever is committed after a crash must be true of the files."""
    volume = Volume(root)
    for dataset in volume.datasets():
        for number in volume.versions(dataset):
            if load(volume.version(dataset, number)) is not None:
                assert verify(root, dataset, number).problems == ()


def crash_everywhere(disk: FlakyDisk, root: Path, form: Form, *, stride: int = 1) -> int:
    """Fail at the first write, the second, …, each time on an empty volume; give how many there were."""
    point = 1
    while True:
        here, log = root / str(point), Log()
        here.mkdir()
        disk.arm(point)
        try:
            take_in(here, form, log)
        except PowerLossError:
            disk.lose_power()
            assert_prefix_is_sound(here)
            take_in(here, form, log)
            assert_whole(here)
        else:
            assert_whole(here)
            return point
        point += stride


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FlakyDisk:
    return FlakyDisk(monkeypatch, tmp_path, forgets_names=True)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("forgets_names", [False, True])
def test_power_may_fail_at_any_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: Form, forgets_names: bool
) -> None:
    disk = FlakyDisk(monkeypatch, tmp_path, forgets_names=forgets_names)
    # Plain lines and rolled files go through the code of raw ones: there every fourth write is enough.
    is_close = forgets_names and form not in (FORMS["jsonl"], FORMS["rolled raw"])
    assert crash_everywhere(disk, tmp_path, form, stride=1 if is_close else 4) > 20


@pytest.mark.parametrize("form", [FORMS["raw"], FORMS["parquet"]], ids=["raw", "parquet"])
def test_a_second_failure_during_recovery_loses_nothing_either(disk: FlakyDisk, tmp_path: Path, form: Form) -> None:
    for point in range(3, 60, 9):
        here, log = tmp_path / str(point), Log()
        here.mkdir()
        for again in (point, 2, point // 2 + 1):
            disk.arm(again)
            try:
                take_in(here, form, log)
            except PowerLossError:
                disk.lose_power()
        disk.arm(0)
        take_in(here, form, log)
        assert_whole(here)


@pytest.mark.parametrize("form", [FORMS["raw"], FORMS["jsonl.zst"]], ids=["raw", "jsonl.zst"])
def test_a_volume_that_fills_up_at_any_write_takes_the_same_batch_later(
    disk: FlakyDisk, tmp_path: Path, form: Form
) -> None:
    def insist(step: Callable[[], Any]) -> None:
        while True:
            try:
                step()
                break
            except OSError:
                continue

    for point in range(1, 60, 2):
        here = tmp_path / str(point)
        here.mkdir()
        shelf = Shelf(Volume(here))
        disk.arm(point, OSError(errno.ENOSPC, "No space left on device"))
        for arrivals, progress in batches(shelf, Log(), form):
            insist(partial(shelf.append, arrivals, progress))
        insist(partial(shelf.roll, "lab", "s", at_once=True))
        assert_whole(here)


def test_what_is_held_back_is_not_said_to_be_in_files(tmp_path: Path) -> None:
    form = Form("parquet", roll_bytes=1000, roll_seconds=60)
    shelf = Shelf(Volume(tmp_path))
    [(first, progress), *_] = batches(shelf, Log(), form)
    shelf.append(first, progress)
    assert shelf.progress("lab", "s").log_sequence == 3
    assert shelf.committed("lab", "s").log_sequence == 0
    assert not list(tmp_path.rglob("*.parquet"))
    shelf.roll("lab", "s", at_once=True)
    assert shelf.committed("lab", "s").log_sequence == 3


def test_a_segment_is_rolled_when_its_time_is_over_though_nothing_comes(tmp_path: Path) -> None:
    now = [0.0]
    shelf = Shelf(Volume(tmp_path), clock=lambda: now[0])
    [(first, progress), *_] = batches(shelf, Log(), Form("jsonl", is_compressed=True, roll_seconds=60))
    shelf.append(first, progress)
    now[0] = 59.9
    assert shelf.roll("lab", "s") == []
    now[0] = 60.0
    assert {ledger.dataset for ledger in shelf.roll("lab", "s")} == {"a", "b"}
    assert [path.name for path in sorted(tmp_path.rglob("*.zst"))] == ["s.000001.jsonl.zst"] * 2


def test_too_much_in_memory_is_committed_before_its_time(tmp_path: Path) -> None:
    shelf = Shelf(Volume(tmp_path), held_bytes=1)
    [(first, progress), *_] = batches(shelf, Log(), Form("parquet", roll_bytes=10**9, roll_seconds=60))
    shelf.append(first, progress)
    assert len(list(tmp_path.rglob("*.parquet"))) == 2


def _no_sync(patch: pytest.MonkeyPatch) -> None:
    """Plant: the ledger is replaced without syncing the data first."""
    patch.setattr(growing_module.os, "fsync", _only_of_ledgers(growing_module.os.fsync))


def _only_of_ledgers(fsync: Callable[[int], None]) -> Callable[[int], None]:
    def lazy(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name in ("ledger.json.new", ".atoll"):
            fsync(descriptor)

    return lazy


def _rename_before_sync(patch: pytest.MonkeyPatch) -> None:
    """Plant: a segment is in its place before it is durable."""
    put_whole = writing_module.put_whole

    def hasty(*args: Any) -> None:
        with pytest.MonkeyPatch.context() as lax:
            lax.setattr(os, "fsync", lambda _descriptor: None)
            put_whole(*args)

    patch.setattr(writing_module, "put_whole", hasty)


def _ledger_first(patch: pytest.MonkeyPatch) -> None:
    """Plant: the ledger is written before the data."""
    append, seal = writing_module.append, writing_module.put_whole
    save = version_module.save
    deferred: list[Callable[[], Any]] = []

    def later(folder: Path, file: Any, data: bytes, *, received: int) -> Any:
        (folder / file.path).parent.mkdir(exist_ok=True)
        deferred.append(lambda: append(folder, file, data, received=received))
        digest = file.digest.copy()
        digest.update(data)
        changes = {"received": file.received + received, "bytes": file.bytes + len(data), "digest": digest}
        return growing_module.replace(file, **changes)

    def early(folder: Path, ledger: VersionLedger) -> None:
        save(folder, ledger)
        while deferred:
            deferred.pop(0)()

    patch.setattr(writing_module, "append", later)
    patch.setattr(writing_module, "put_whole", lambda *args: deferred.append(lambda: seal(*args)))
    patch.setattr(version_module, "save", early)


def _checkpoint_too_early(patch: pytest.MonkeyPatch) -> None:
    """Plant: the first dataset of a batch already claims the whole batch."""
    append, append_group = Shelf.append, Shelf._append_group
    whole: list[Progress] = []

    def outer(self: Shelf, batch: list[Arrival], progress: Progress) -> Any:
        whole.append(progress)
        return append(self, batch, progress)

    patch.setattr(Shelf, "append", outer)
    patch.setattr(
        Shelf, "_append_group", lambda self, group, place, _after: append_group(self, group, place, whole[-1])
    )


def _acknowledged_when_held(patch: pytest.MonkeyPatch) -> None:
    """Plant: what is held back counts as in files, as if an acknowledgement went out before the commit."""
    patch.setattr(Shelf, "committed", Shelf.progress)


def _no_marks(patch: pytest.MonkeyPatch) -> None:
    """Plant: a dataset does not know which envelopes it has."""
    patch.setattr(stating_module, "_marks", lambda _old, _growths: ())


PLANTS = [
    (_no_sync, "raw"),
    (_no_sync, "parquet"),
    (_rename_before_sync, "jsonl.zst"),
    (_ledger_first, "raw"),
    (_ledger_first, "parquet"),
    (_checkpoint_too_early, "raw"),
    (_checkpoint_too_early, "parquet"),
    (_acknowledged_when_held, "jsonl.zst"),
    (_no_marks, "raw"),
    (_no_marks, "parquet"),
]


@pytest.mark.parametrize(("plant", "form"), PLANTS)
def test_the_proof_finds_a_planted_bug(
    plant: Callable[[pytest.MonkeyPatch], None], form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A proof that cannot fail proves nothing: with each of these bugs `crash_everywhere` must fail."""
    disk = FlakyDisk(monkeypatch, tmp_path, forgets_names=True)
    plant(monkeypatch)
    with pytest.raises((AssertionError, AtollError)):
        crash_everywhere(disk, tmp_path, FORMS[form])


def test_bytes_behind_the_committed_length_are_cut_when_the_sink_starts(tmp_path: Path) -> None:
    take_in(tmp_path)
    with (tmp_path / "b" / "v1" / "t.0").open("ab") as file:
        file.write(b"half a read")
    shelf = Shelf(Volume(tmp_path))
    shelf.scan()
    more = envelope(7, "b", 13, 1)
    shelf.append([Arrival(more, Form())], shelf.progress("lab", "s").after(more))
    assert (tmp_path / "b" / "v1" / "t.0").read_bytes() == b"<4><10><12>"
    assert (tmp_path / "b" / "v1" / "t.1").read_bytes() == b"<5><11><13>"


def test_a_committed_file_that_was_changed_is_not_written_on(tmp_path: Path) -> None:
    take_in(tmp_path)
    (tmp_path / "b" / "v1" / "t.0").write_bytes(b"<4><10><1X>")
    shelf = Shelf(Volume(tmp_path))
    shelf.scan()
    more = envelope(7, "b", 13, 1)
    with pytest.raises(Internal, match="not what its ledger says"):
        shelf.append([Arrival(more, Form())], shelf.progress("lab", "s").after(more))
    assert verify(tmp_path, "b", 1).problems
