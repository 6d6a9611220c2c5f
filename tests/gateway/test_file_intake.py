"""Files from a folder into the outbox: each once, whatever happens to it or the gateway, and nothing from outside."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from atoll.edge.gateway.drafts import Packed
from atoll.edge.gateway.file_source.catalogue import Catalogue
from atoll.edge.gateway.file_source.roots import Roots, Signature, opened_file, opened_folder
from atoll.edge.gateway.file_source.source import DATABASE, FileIntake
from atoll.edge.gateway.files import StateDir
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox
from atoll.federation.bus.data_messages import CommittedReport, StreamCommit, StreamOrder
from atoll.federation.bus.envelope import Envelope, decode
from atoll.federation.bus.file_messages import PackedFile, unpack
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.stream import StreamSpec
from atoll.federation.resources.stream_files import StreamFiles

KEY = StreamKey("ns", "s")


def order(dataset: str = "run", spec: dict[str, Any] | None = None, **files: Any) -> StreamOrder:
    rule = {"poll": "50ms", "settle": {"quiet": "0s"}} | files
    fields = {"gateway": "lab", "dataset": dataset, "home": "onprem", "files": rule} | (spec or {})
    return StreamOrder(namespace="ns", name="s", spec=StreamSpec.model_validate(fields))


class Lab:
    """A gateway's files without hub and broker: a folder, an outbox, and the loops between."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.folder, self._home = folder, home
        self._open()

    def _open(self) -> None:
        home, folder = self._home, self.folder
        self.state = StateDir(home)
        self.outbox: Outbox = self.state.open_outbox("lab").outbox
        self.intake = FileIntake(self.outbox, home, Roots({"lab": folder}), link=None, on_stored=lambda: None)

    def close(self) -> None:
        self.intake.close()
        self.outbox.close()
        self.state.close()

    def start_again(self) -> None:
        self.close()
        self._open()

    @contextlib.asynccontextmanager
    async def running(self, *orders: StreamOrder) -> AsyncIterator[None]:
        self.intake.follow(orders)
        task = asyncio.create_task(self.intake.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    def envelopes(self) -> list[Envelope]:
        return [decode(stored.data) for stored in self.outbox.read(0, limit=1000)]

    def files(self) -> dict[str, PackedFile]:
        found = [unpack(r.payload) for e in self.envelopes() if e.holds_files for r in e.readings]
        assert len({item.manifest.number for item in found}) == len(found), "a file was announced twice"
        return {item.manifest.path: item for item in found}

    def status(self) -> StreamFiles:
        return self.intake.report()[0]

    def commit_all(self) -> None:
        newest = max(envelope.number for envelope in self.envelopes())
        commit = StreamCommit(stream="s", outbox=self.outbox.ident, envelope=newest, sequence=newest)
        at = "2026-11-22T00:00:00Z"
        report = CommittedReport.model_validate({"namespace": "ns", "cluster": "c", "commits": (commit,), "at": at})
        self.intake.commit(report)
        self.intake.heard()


async def until(question: Callable[[], Any], seconds: float = 30) -> Any:
    async with asyncio.timeout(seconds):
        while not (answer := question()):
            await asyncio.sleep(0.02)
    return answer


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "instruments").mkdir()
    return tmp_path


@pytest.fixture
def lab(home: Path) -> Iterator[Lab]:
    lab = Lab(home / "state", home / "instruments")
    yield lab
    lab.close()


async def test_a_small_file_travels_whole_with_its_name_hash_and_time(lab: Lab) -> None:
    content = os.urandom(5000)
    (lab.folder / "raw").mkdir()
    (lab.folder / "raw" / "Scan 1.tif").write_bytes(content)
    (lab.folder / "empty").touch()
    os.utime(lab.folder / "empty", (1_700_000_000, 1_700_000_000))
    async with lab.running(order()):
        files = await until(lambda: len(lab.files()) == 2 and lab.files())
    manifest = files["raw/Scan 1.tif"].manifest
    assert files["raw/Scan 1.tif"].content == content
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()
    assert files["empty"].content == b""
    assert files["empty"].manifest.modified_at.timestamp() == 1_700_000_000
    assert {e.dataset for e in lab.envelopes()} == {"run"}


async def test_links_pipes_sockets_and_hidden_files_are_left_alone(lab: Lab, home: Path) -> None:
    secret = home / "secret"
    secret.write_text("secret")
    (home / "secrets").mkdir()
    (home / "secrets" / "inner").write_text("secret")
    (lab.folder / "link").symlink_to(secret)
    (lab.folder / "folder-link").symlink_to(home / "secrets")
    os.mkfifo(lab.folder / "pipe")
    (lab.folder / ".hidden").write_text("half")
    (lab.folder / "good").write_text("good")
    async with lab.running(order()):
        await until(lab.files)
        await until(lambda: lab.status().waiting == 0)
    assert set(lab.files()) == {"good"}


async def test_a_folder_that_is_a_link_is_not_read(lab: Lab, home: Path) -> None:
    (home / "secrets").mkdir()
    (home / "secrets" / "inner").write_text("secret")
    (lab.folder / "out").symlink_to(home / "secrets")
    async with lab.running(order(folder="out")):
        await until(lambda: "out cannot be read" in lab.status().last_problem)
    assert lab.envelopes() == []


@pytest.mark.parametrize("path", [b"../secret", b"/etc/passwd", b"a/../../secret", b"link", b"folder/inner", b"", b"."])
def test_no_path_leads_out_of_a_root(home: Path, path: bytes) -> None:
    root = home / "instruments"
    (home / "secret").write_text("secret")
    (home / "inner").write_text("secret")
    (root / "a").mkdir()
    (root / "link").symlink_to(home / "secret")
    (root / "folder").symlink_to(home)
    with opened_folder(root, ".") as folder, pytest.raises(OSError), opened_file(folder, path):  # any will do
        pass


async def test_names_that_are_no_text_or_too_long_are_escaped_and_the_original_is_recorded(lab: Lab) -> None:
    names = [b"\xff\xfe.dat", b"new\nline", b"x" * 250]
    for name in names:
        with open(os.fsencode(lab.folder) + b"/" + name, "wb") as file:  # noqa: PTH123 # pathlib knows no bytes
            file.write(name)
    async with lab.running(order()):
        files = await until(lambda: len(lab.files()) == 3 and lab.files())
    assert {"%FF%FE.dat", "new%0Aline"} < set(files)
    assert {item.content: item.manifest.original for item in files.values()} == {
        b"\xff\xfe.dat": "%FF%FE.dat",
        b"new\nline": "new%0Aline",
        b"x" * 250: "x" * 250,
    }


async def test_a_file_that_was_sent_is_not_sent_again_by_a_gateway_that_starts_again(lab: Lab) -> None:
    (lab.folder / "a").write_text("a")
    async with lab.running(order()):
        await until(lab.files)
    lab.start_again()
    (lab.folder / "b").write_text("b")
    async with lab.running(order()):
        await until(lambda: "b" in lab.files())
    assert set(lab.files()) == {"a", "b"}


async def test_new_content_of_a_name_is_sent_as_a_file_of_its_own(lab: Lab) -> None:
    file = lab.folder / "a"
    file.write_text("first")
    contents = lambda: sorted(unpack(r.payload).content for e in lab.envelopes() for r in e.readings)  # noqa: E731
    async with lab.running(order()):
        await until(lambda: contents() == [b"first"])
        with file.open("a") as stream:
            stream.write(" and more")
        await until(lambda: contents() == [b"first", b"first and more"])


async def test_a_file_that_got_another_name_is_not_sent_twice(lab: Lab) -> None:
    (lab.folder / "a").write_text("a")
    async with lab.running(order()):
        await until(lab.files)
        (lab.folder / "sorted").mkdir()
        (lab.folder / "a").rename(lab.folder / "sorted" / "a")
        (lab.folder / "b").write_text("b")
        await until(lambda: len(lab.files()) == 2)
    assert set(lab.files()) == {"a", "b"}


class _Killed(Exception):
    """The process is gone. No code knows this."""


@pytest.mark.parametrize("moment", ["announcing", "announced"])
async def test_a_kill_around_the_commit_of_the_outbox_neither_loses_nor_repeats_a_file(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Right after the catalogue said that it would, and when the outbox had it and the catalogue did not say so."""
    (lab.folder / "a").write_text("a")
    real = getattr(Catalogue, moment)

    def killed(self: Catalogue, *args: Any, **values: Any) -> None:
        if moment == "announcing":
            real(self, *args, **values)
        raise _Killed

    monkeypatch.setattr(Catalogue, moment, killed)
    lab.intake.follow([order()])
    task = asyncio.create_task(lab.intake.run())
    await asyncio.wait({task})
    assert task.exception() is not None
    monkeypatch.undo()
    assert len(lab.envelopes()) == (moment == "announced")
    lab.start_again()
    async with lab.running(order()):
        await until(lambda: lab.files() and lab.status().sent == 1)
    assert set(lab.files()) == {"a"}


async def test_a_marker_ends_the_run_of_its_folder_after_its_files_and_once(lab: Lab) -> None:
    rule = order("{path[0]}", endMarker="END", settle={"quiet": "100ms"})
    for run in ("one", "two"):
        (lab.folder / run).mkdir()
        for name in ("a", "b"):
            (lab.folder / run / name).write_text(run)
    (lab.folder / "one" / "END").touch()
    async with lab.running(rule):
        await until(lambda: len(lab.files()) == 4)
        await until(lambda: any(e.end_of_run for e in lab.envelopes()))
        (lab.folder / "two" / "c").write_text("more")
        await until(lambda: "two/c" in lab.files())
    ends = [(e.dataset, e.readings) for e in lab.envelopes() if e.end_of_run]
    assert ends == [("one", ())]
    numbers = {e.number: e for e in lab.envelopes() if e.dataset == "one"}
    assert numbers[max(numbers)].end_of_run


async def test_a_run_ends_by_itself_when_no_file_came_for_long_enough(lab: Lab) -> None:
    (lab.folder / "a").write_text("a")
    async with lab.running(order(spec={"endOfRun": {"idle": "200ms"}})):
        await until(lambda: [e.end_of_run for e in lab.envelopes()] == [False, True])


@pytest.mark.parametrize("afterwards", ["Keep", "Delete", "Move"])
async def test_a_file_is_touched_only_when_it_is_in_its_dataset(lab: Lab, afterwards: str) -> None:
    (lab.folder / "raw").mkdir()
    file = lab.folder / "raw" / "a"
    file.write_text("a")
    async with lab.running(order(afterwards=afterwards)):
        await until(lab.files)
        assert file.exists()
        lab.commit_all()
        await until(lambda: lab.status().committed == 1 and (afterwards == "Keep" or not file.exists()))
        assert (lab.folder / ".atoll-sent" / "raw" / "a").exists() == (afterwards == "Move")
        (lab.folder / "b").write_text("b")
        await until(lambda: "b" in lab.files())
    assert set(lab.files()) == {"raw/a", "b"}, "what was moved aside is no new file"


async def test_a_file_that_has_changed_since_is_not_deleted(lab: Lab) -> None:
    file = lab.folder / "a"
    file.write_text("first")
    async with lab.running(order(afterwards="Delete", settle={"quiet": "1h"})):
        lab.intake.follow([order(afterwards="Delete")])
        await until(lab.files)
        lab.intake.follow([order(afterwards="Delete", settle={"quiet": "1h"})])
        file.write_text("second")
        lab.commit_all()
        await until(lambda: lab.status().committed == 1 and lab.status().sent == 0)
        lab.intake.follow([order()])
        await until(lambda: len(lab.envelopes()) == 2)
    assert file.read_text() == "second"


async def test_announced_files_are_sent_and_no_others(lab: Lab, home: Path) -> None:
    (lab.folder / "a.tif").write_text("a")
    (lab.folder / "b.tif").write_text("b")
    (home / "secret").write_text("secret")
    rule = order(announcements={"topic": "lab/files", "field": "path"})
    said = [b'{"path": "a.tif"}', b'{"path": "../secret"}', b'{"path": 7}', b"\xff", b'{"path": "late.tif"}']
    absolute = b'{"path": "%s"}' % os.fsencode(home / "secret")
    lab.intake.follow([rule])
    lab.intake.hear(Packed(announcements=[(KEY, payload) for payload in (*said, absolute)]))
    async with lab.running(rule):
        await until(lab.files)
        assert lab.status().problems >= 4
        (lab.folder / "late.tif").write_text("late")
        await until(lambda: "late.tif" in lab.files())
    assert set(lab.files()) == {"a.tif", "late.tif"}


async def test_a_message_that_ends_the_run_ends_it_after_the_files_announced_before(lab: Lab) -> None:
    rule = order(announcements={"topic": "lab/files"})
    lab.intake.follow([rule])
    lab.intake.hear(Packed(announcements=[(KEY, b"a")], ended=[KEY]))
    async with lab.running(rule):
        (lab.folder / "a").write_text("a")
        await until(lambda: [e.end_of_run for e in lab.envelopes()] == [False, True])


async def test_what_cannot_be_read_or_named_is_said_and_the_rest_goes_on(lab: Lab) -> None:
    (lab.folder / "---").write_text("no name comes of this")
    (lab.folder / "good.csv").write_text("good")
    async with lab.running(order("scan.{file}")):
        await until(lab.files)
        await until(lambda: "no valid name" in lab.status().last_problem)
    assert set(lab.files()) == {"good.csv"}


async def test_a_root_that_is_not_allowed_is_not_read_whatever_the_hub_says(lab: Lab) -> None:
    (lab.folder / "a").write_text("a")
    async with lab.running(order(root="etc")):
        await until(lambda: "no root etc; it was started with lab" in lab.status().last_problem)
    assert lab.envelopes() == []


def test_roots_have_names_and_folders_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "Data Out").mkdir()
    (tmp_path / "other").mkdir()
    assert Roots.parse([str(tmp_path / "Data Out"), f"scope={tmp_path / 'other'}"]).folders.keys() == {
        "data-out",
        "scope",
    }
    for texts, problem in (
        ([str(tmp_path / "absent")], "not a folder"),
        ([f"x={tmp_path / 'other'}", f"x={tmp_path}"], "called x too"),
        (["/"], "give it a name"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            Roots.parse(texts)


async def test_a_damaged_catalogue_is_set_aside_and_said(lab: Lab, home: Path) -> None:
    (lab.folder / "a").write_text("a")
    async with lab.running(order()):
        await until(lab.files)
    lab.intake.close()
    (home / "state" / DATABASE).write_bytes(b"not a database" * 1000)
    lab.start_again()
    assert "go again" in lab.intake.problem
    assert (home / "state" / f"{DATABASE}.damaged").exists()


def test_files_that_several_threads_find_committed_are_counted_once(home: Path) -> None:
    catalogue, together = Catalogue(home / "files.db"), Barrier(8)

    def commit(envelope: int) -> int:
        together.wait()
        return catalogue.committed(KEY, outbox="o", envelope=envelope)

    with ThreadPoolExecutor(8) as threads:
        for number in range(1, 21):
            catalogue.add(KEY, [(b"%d" % number, Signature(10, number, number), "run")], now=0.0)
            (entry,) = catalogue.entries("Waiting")
            catalogue.announced([entry.id], outbox="o", envelope=number)
            assert sum(threads.map(commit, [number] * 8)) == 1
    assert (catalogue.counts()[KEY].committed, catalogue.counts()[KEY].committed_bytes) == (20, 200)
    catalogue.close()
