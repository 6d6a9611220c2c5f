"""A backup is whole, or it is refused before anything of it is used; a home takes it over at once, whatever happens."""

import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from atoll.federation.errors import Conflict, InvalidInput
from atoll.local import restored
from atoll.local.backup_file import END, HEAD, Head, Writer, home_files, verify
from atoll.local.home import Home

HEAD_OF_NOW = Head("0.1.0", datetime(2026, 11, 23, tzinfo=UTC), "https://hub:8700")


def written(path: Path, *more: tuple[str, bytes], head: bytes = b"", end: bool = True) -> Path:
    """Write a small backup."""
    with Writer(path, replace=False) as writer:
        writer.add(HEAD, head or HEAD_OF_NOW.wire())
        writer.add("streams/STATE/stream.json", b"{}")
        writer.add("streams/STATE/000001", b"x" * 5000)
        for name, content in more:
            writer.add(name, content)
        if end:
            writer.add(END, orjson.dumps({"messages": {"STATE": 3}}))
        writer.finish()
    return path


def test_a_whole_backup_tells_what_is_in_it(tmp_path: Path) -> None:
    contents = verify(written(tmp_path / "b.tar", ("home/pki/ca.crt", b"pem")))
    assert (contents.head, contents.messages) == (HEAD_OF_NOW, {"STATE": 3})
    assert contents.home == ("home/pki/ca.crt",)


def test_every_byte_counts(tmp_path: Path) -> None:
    """Cut anywhere or with any bit turned it is refused; only the filling between parts says nothing."""
    path = written(tmp_path / "b.tar")
    whole = path.read_bytes()
    damaged = tmp_path / "damaged.tar"
    with tarfile.open(path) as tar:
        spans = [(info.offset_data, info.size) for info in tar]
    for length in range(0, sum(spans[-1]), 509):
        damaged.write_bytes(whole[:length])
        with pytest.raises(InvalidInput, match="cannot be restored"):
            verify(damaged)
    for start, size in spans:
        for offset in range(start, start + size, 97):
            damaged.write_bytes(whole[:offset] + bytes([whole[offset] ^ 4]) + whole[offset + 1 :])
            with pytest.raises(InvalidInput, match="cannot be restored"):
                verify(damaged)


@pytest.mark.parametrize(
    ("more", "head", "end", "expected"),
    [
        ((), b"", False, "its end is missing"),
        ((("../../etc/passwd", b""),), b"", True, "which no backup does"),
        ((("home/pki/../../x", b""),), b"", True, "which no backup does"),
        ((("home/nats/store", b""),), b"", True, "which no backup does"),
        ((), b"{}", True, "is none of a backup"),
        ((), HEAD_OF_NOW.wire().replace(b'"version": 1', b'"version": 2'), True, "use the atoll that made it"),
    ],
    ids=["no end", "a path upwards", "a path within", "the store", "another file", "a newer form"],
)
def test_what_is_no_backup_is_refused(
    tmp_path: Path, more: tuple[tuple[str, bytes], ...], head: bytes, end: bool, expected: str
) -> None:
    with pytest.raises(InvalidInput, match=expected):
        verify(written(tmp_path / "b.tar", *more, head=head, end=end))


def test_a_link_or_a_huge_part_is_not_followed_or_read(tmp_path: Path) -> None:
    for info in (tarfile.TarInfo("link"), tarfile.TarInfo("streams/STATE/000001")):
        info.type, info.linkname = (tarfile.SYMTYPE, "/etc") if info.name == "link" else (tarfile.REGTYPE, "")
        info.size = 0 if info.name == "link" else 10**11
        buffer = io.BytesIO(info.tobuf(tarfile.USTAR_FORMAT if info.size < 8**11 else tarfile.GNU_FORMAT))
        (tmp_path / "b.tar").write_bytes(buffer.getvalue())
        with pytest.raises(InvalidInput, match="which no backup does"):
            verify(tmp_path / "b.tar")


def test_a_backup_replaces_no_file_unasked_and_leaves_none_that_is_not_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "b.tar")
    with pytest.raises(Conflict, match="--force"):
        Writer(path, replace=False)
    with pytest.raises(RuntimeError), Writer(tmp_path / "half.tar", replace=False) as writer:
        writer.add(HEAD, HEAD_OF_NOW.wire())
        raise RuntimeError
    assert [each.name for each in tmp_path.iterdir()] == ["b.tar"]


def home_with(root: Path, mark: str) -> Home:
    for name in ("pki/ca.crt", "nats-keys/hub.nk", "nats/store", "ports.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(mark)
    return Home(root)


def test_a_home_gives_its_keys_and_not_its_store(tmp_path: Path) -> None:
    names = [name for name, _ in home_files(home_with(tmp_path / "h", "a"))]
    assert names == ["home/pki/ca.crt", "home/nats-keys/hub.nk", "home/ports.json"]


def marks(home: Home) -> set[str]:
    """Read which state each of the parts of a home is of."""
    return {(home.root / name).read_text() for name in ("pki/ca.crt", "nats-keys/hub.nk", "nats/store", "ports.json")}


@pytest.mark.parametrize("moved", range(5))
def test_a_restore_that_is_killed_while_it_takes_over_is_ended_by_the_next_start(tmp_path: Path, moved: int) -> None:
    """However many parts had been put aside and put in place, all of them are the new ones afterwards."""
    home = home_with(tmp_path / "h", "old")
    home_with(home.root / "restored", "new")
    aside = home.root / "replaced-earlier"
    for name in ("pki", "nats-keys", "ports.json", "nats")[:moved]:
        aside.mkdir(exist_ok=True)
        (home.root / name).rename(aside / name)
        if moved % 2:  # killed behind the second of its two steps, or between them
            (home.root / "restored" / name).rename(home.root / name)
    restored.adopt(home)
    assert marks(home) == {"new"}
    assert not (home.root / "restored").exists()
    assert restored.adopt(home) is None, "there is nothing more to take over"
    assert marks(home) == {"new"}


def test_a_restore_that_was_killed_before_it_counted_has_changed_nothing(tmp_path: Path) -> None:
    home = home_with(tmp_path / "h", "old")
    part = restored.begin(home, [("home/pki/ca.crt", b"new"), ("home/ports.json", b"{}")])
    assert (part / "pki" / "ca.crt").stat().st_mode & 0o777 == 0o600
    assert restored.adopt(home) is None
    assert marks(home) == {"old"}
    restored.begin(home, [("home/pki/ca.crt", b"newer")])
    aside = restored.commit(home)
    assert (home.root / "pki" / "ca.crt").read_text() == "newer"
    assert aside is not None
    assert (aside / "pki" / "ca.crt").read_text() == "old"
    assert restored.is_empty(Home(tmp_path / "other"))
    assert not restored.is_empty(home)
