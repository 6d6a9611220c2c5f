"""The files are the only checkpoint: power may fail at any write, and no reading is lost, doubled or half visible."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from disk import FlakyDisk, PowerLossError

from atoll.edge.sink import version as version_module
from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.ledger import VersionLedger, load
from atoll.edge.sink.shelf import Shelf
from atoll.edge.sink.verify import verify
from atoll.edge.sink.version import Arrival
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.errors import Internal

OUTBOX = "0" * 32
Step = tuple[list[Arrival], Progress]


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


def batches(shelf: Shelf) -> list[Step]:
    """Give what is left of the story, three envelopes at a time, from where the shelf says it is."""
    progress = shelf.progress("lab", "s")
    rest = [item for item in story() if progress.judge(item).is_new]
    steps: list[Step] = []
    for start in range(0, len(rest), 3):
        batch = rest[start : start + 3]
        for item in batch:
            progress = progress.after(item)
        steps.append(([Arrival(item, "raw") for item in batch], progress.at(batch[-1].number, "log")))
    return steps


def take_in(root: Path) -> None:
    """Do what a sink does: look at the files, go on from there."""
    shelf = Shelf(Volume(root))
    shelf.scan()
    for arrivals, progress in batches(shelf):
        shelf.append(arrivals, progress)


EXPECTED = {
    ("a", 1): {"t.1": b"<1><3><7>", "t.0": b"<2><6>"},
    ("a", 2): {"t.0": b"<8>", "t.1": b"<9>"},
    ("b", 1): {"t.0": b"<4><10><12>", "t.1": b"<5><11>"},
}


def assert_whole(root: Path) -> None:
    for (dataset, version), files in EXPECTED.items():
        folder = root / dataset / f"v{version}"
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == files
        report = verify(root, dataset, version)
        assert (report.problems, report.gaps, report.duplicates) == ((), 0, 0)
        ledger = load(folder)
        assert ledger is not None
        assert ledger.complete == (dataset == "a" and version == 1)


def assert_prefix_is_sound(root: Path) -> None:
    """Whatever is committed after a crash must be true of the files."""
    volume = Volume(root)
    for dataset in volume.datasets():
        for number in volume.versions(dataset):
            if load(volume.version(dataset, number)) is not None:
                assert verify(root, dataset, number).problems == ()


def crash_everywhere(disk: FlakyDisk, root: Path) -> int:
    """Fail at the first write, the second, …, each time on an empty volume; give how many there were."""
    point = 0
    while True:
        point += 1
        here = root / str(point)
        here.mkdir()
        disk.arm(point)
        try:
            take_in(here)
        except PowerLossError:
            disk.lose_power()
            assert_prefix_is_sound(here)
            take_in(here)
            assert_whole(here)
        else:
            assert_whole(here)
            return point


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FlakyDisk:
    return FlakyDisk(monkeypatch, tmp_path)


def test_power_may_fail_at_any_write(disk: FlakyDisk, tmp_path: Path) -> None:
    assert crash_everywhere(disk, tmp_path) > 50


def test_a_second_failure_during_recovery_loses_nothing_either(disk: FlakyDisk, tmp_path: Path) -> None:
    for point in range(3, 60, 7):
        here = tmp_path / str(point)
        here.mkdir()
        for again in (point, 2, point // 2 + 1):
            disk.arm(again)
            try:
                take_in(here)
            except PowerLossError:
                disk.lose_power()
        disk.arm(0)
        take_in(here)
        assert_whole(here)


def test_a_volume_that_fills_up_at_any_write_takes_the_same_batch_later(disk: FlakyDisk, tmp_path: Path) -> None:
    for point in range(1, 60):
        here = tmp_path / str(point)
        here.mkdir()
        shelf = Shelf(Volume(here))
        disk.arm(point, OSError(errno.ENOSPC, "No space left on device"))
        for arrivals, progress in batches(shelf):
            while True:
                try:
                    shelf.append(arrivals, progress)
                    break
                except OSError:
                    continue
        assert_whole(here)


def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: the ledger is replaced without syncing the data first."""
    lazy = SimpleNamespace(**{name: getattr(os, name) for name in dir(os) if not name.startswith("__")})
    lazy.fsync = lambda _descriptor: None
    monkeypatch.setattr(version_module, "os", lazy)


def _ledger_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: the ledger is written before the data."""
    write, save = version_module.GrowingVersion._write, version_module.save
    deferred: list[Any] = []

    def later(self: Any, source: Any, pieces: list[bytes]) -> Any:
        deferred.append((self, source, pieces))
        data, digest = b"".join(pieces), source.digest.copy()
        digest.update(data)
        return replace(source, received=source.received + len(pieces), bytes=source.bytes + len(data), digest=digest)

    def early(folder: Path, ledger: VersionLedger) -> None:
        save(folder, ledger)
        while deferred:
            write(*deferred.pop(0))

    monkeypatch.setattr(version_module.GrowingVersion, "_write", later)
    monkeypatch.setattr(version_module, "save", early)


def _checkpoint_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: the first dataset of a batch already claims the whole batch."""
    append, append_group = Shelf.append, Shelf._append_group
    whole: list[Progress] = []

    def outer(self: Shelf, batch: list[Arrival], progress: Progress) -> Any:
        whole.append(progress)
        return append(self, batch, progress)

    monkeypatch.setattr(Shelf, "append", outer)
    monkeypatch.setattr(Shelf, "_append_group", lambda self, group, _progress: append_group(self, group, whole[-1]))


def _no_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: a dataset does not know which envelopes it has."""
    commit = version_module.GrowingVersion._commit_of
    monkeypatch.setattr(
        version_module.GrowingVersion,
        "_commit_of",
        lambda self, *rest: commit(self, *rest).model_copy(update={"marks": ()}),
    )


@pytest.mark.parametrize("plant", [_no_sync, _ledger_first, _checkpoint_too_early, _no_marks])
def test_the_proof_finds_a_planted_bug(
    plant: Callable[[pytest.MonkeyPatch], None], disk: FlakyDisk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A proof that cannot fail proves nothing: with each of these bugs `crash_everywhere` must fail."""
    plant(monkeypatch)
    with pytest.raises((AssertionError, Internal)):
        crash_everywhere(disk, tmp_path)


def test_bytes_behind_the_committed_length_are_cut_when_the_sink_starts(tmp_path: Path) -> None:
    take_in(tmp_path)
    with (tmp_path / "b" / "v1" / "t.0").open("ab") as file:
        file.write(b"half a read")
    shelf = Shelf(Volume(tmp_path))
    shelf.scan()
    more = envelope(7, "b", 13, 1)
    shelf.append([Arrival(more, "raw")], shelf.progress("lab", "s").after(more))
    assert (tmp_path / "b" / "v1" / "t.0").read_bytes() == b"<4><10><12>"
    assert (tmp_path / "b" / "v1" / "t.1").read_bytes() == b"<5><11><13>"


def test_a_committed_file_that_was_changed_is_not_written_on(tmp_path: Path) -> None:
    take_in(tmp_path)
    (tmp_path / "b" / "v1" / "t.0").write_bytes(b"<4><10><1X>")
    shelf = Shelf(Volume(tmp_path))
    shelf.scan()
    more = envelope(7, "b", 13, 1)
    with pytest.raises(Internal, match="not what its ledger says"):
        shelf.append([Arrival(more, "raw")], shelf.progress("lab", "s").after(more))
    assert verify(tmp_path, "b", 1).problems
