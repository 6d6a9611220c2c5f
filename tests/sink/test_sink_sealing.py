"""A run's output becomes a version by one rename: whole, once, and only for the run and epoch that may."""

import os
from pathlib import Path

import pytest
from disk import FlakyDisk, PowerLossError

from atoll.edge.sink.ledger import load
from atoll.edge.sink.sealing import seal
from atoll.edge.sink.verify import verify
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.data_messages import CommitOrder
from atoll.federation.errors import Conflict, InvalidInput, NotFound

ORDER = CommitOrder(namespace="ns", dataset="picks", version=1, run="job-1", epoch=1)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path)


def write_output(volume: Volume, order: CommitOrder = ORDER) -> Path:
    folder = volume.run_output(order.run, order.epoch, order.dataset)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "picks.csv").write_text("a,b\n")
    (folder / "deep" / "er" / "plot.png").write_bytes(b"\x89PNG")
    return folder


def test_the_output_is_moved_into_place_with_a_ledger(volume: Volume) -> None:
    source = write_output(volume)
    ledger = seal(volume, ORDER)
    assert not source.exists()
    assert [file.path for file in ledger.files] == ["deep/er/plot.png", "picks.csv"]
    assert (ledger.complete, ledger.produced_by, ledger.run_epoch) == (True, "job-1", 1)
    assert verify(volume.root, "picks", 1).problems == ()


def test_doing_it_again_changes_nothing(volume: Volume) -> None:
    write_output(volume)
    assert seal(volume, ORDER) == seal(volume, ORDER)


@pytest.mark.parametrize("other", [{"run": "job-2"}, {"epoch": 2}])
def test_another_run_or_epoch_cannot_commit_the_same_version(volume: Volume, other: dict[str, object]) -> None:
    write_output(volume)
    first = seal(volume, ORDER)
    stale = ORDER.model_copy(update=other)
    write_output(volume, stale)
    with pytest.raises(Conflict, match="exists"):
        seal(volume, stale)
    assert load(volume.version("picks", 1)) == first


def test_an_output_that_is_not_there_is_named(volume: Volume) -> None:
    with pytest.raises(NotFound, match=r"job-1-e1/picks"):
        seal(volume, ORDER)


def test_links_and_pipes_refuse_the_whole_output(volume: Volume) -> None:
    folder = write_output(volume)
    (folder / "leak").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="leak"):
        seal(volume, ORDER)
    (folder / "leak").unlink()
    os.mkfifo(folder / "deep" / "pipe")
    with pytest.raises(InvalidInput, match="deep/pipe"):
        seal(volume, ORDER)
    assert not volume.version("picks", 1).exists()


def test_a_name_with_control_characters_is_refused(volume: Volume) -> None:
    (write_output(volume) / "a\nb").write_text("")
    with pytest.raises(InvalidInput, match="control characters"):
        seal(volume, ORDER)


def test_a_run_cannot_write_its_own_ledger_nor_lead_ours_elsewhere(volume: Volume, tmp_path: Path) -> None:
    folder = write_output(volume)
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / ".atoll").symlink_to(outside)
    seal(volume, ORDER)
    assert list(outside.iterdir()) == []
    assert verify(volume.root, "picks", 1).problems == ()


@pytest.mark.parametrize("bad", [{"dataset": "../x"}, {"run": "../../x"}, {"dataset": "A"}, {"dataset": ""}])
def test_a_name_that_is_no_name_is_refused(volume: Volume, bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="DNS-1123"):
        seal(volume, ORDER.model_copy(update=bad))


def test_power_may_fail_at_any_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk = FlakyDisk(monkeypatch, tmp_path)
    points = 0
    for point in range(1, 100):
        volume = Volume(tmp_path / str(point))
        volume.root.mkdir()
        write_output(volume)
        disk.arm(point)
        try:
            seal(volume, ORDER)
        except PowerLossError:
            disk.lose_power()
            points += 1
        disk.arm(0)
        assert seal(volume, ORDER).produced_by == "job-1"
        assert verify(volume.root, "picks", 1).problems == ()
    assert points > 5


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "picks.csv").write_text("a,c\n"), "SHA-256"),
        (lambda folder: (folder / "picks.csv").write_text("a"), "1 bytes"),
        (lambda folder: (folder / "picks.csv").unlink(), "cannot be read"),
        (lambda folder: (folder / "extra").write_text(""), "not in the ledger"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "link"),
    ],
)
def test_verification_names_every_kind_of_damage(volume: Volume, damage: object, problem: str) -> None:
    write_output(volume)
    seal(volume, ORDER)
    damage(volume.version("picks", 1))  # type: ignore[operator]
    problems = verify(volume.root, "picks", 1).problems
    assert len(problems) == 1
    assert problem in problems[0]


def test_a_version_that_is_not_there_cannot_be_verified(volume: Volume) -> None:
    with pytest.raises(NotFound):
        verify(volume.root, "picks", 1)
