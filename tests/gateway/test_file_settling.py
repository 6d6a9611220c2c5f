"""Which names are meant, which files are finished, which dataset they belong to, and under which name they are kept."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.gateway.file_source.naming import dataset_of
from atoll.edge.gateway.file_source.patterns import is_meant
from atoll.edge.gateway.file_source.roots import Signature
from atoll.edge.gateway.file_source.scanning import is_closed
from atoll.edge.gateway.file_source.settling import Candidate, Settling, settle
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.bus.file_names import numbered, original_of, safe_path
from atoll.federation.resources.stream import StreamSpec
from atoll.federation.resources.stream_files import FileSource

WHOLE = Signature(100, 1_763_800_000_000_000_000, 7)


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("*.tif", b"a.tif", True),
        ("*.tif", b"raw/deep/a.tif", True),
        ("*.tif", b"a.TIF", False),
        ("*", b".hidden", False),
        (".*", b".hidden", True),
        ("*", b"\xff\xfe", True),
        ("scan-?.csv", b"scan-1.csv", True),
        ("scan-?.csv", b"scan-10.csv", False),
        ("scan-[0-9].csv", b"scan-7.csv", True),
        ("scan-[!0-9].csv", b"scan-7.csv", False),
        ("raw/*.csv", b"raw/a.csv", True),
        ("raw/*.csv", b"raw/b/a.csv", False),
        ("raw/*.csv", b"a.csv", False),
        ("raw/**/*.csv", b"raw/b/c/a.csv", True),
        ("raw/**/*.csv", b"raw/a.csv", True),
        ("raw/**", b"raw/x/y", True),
        ("a+(b).txt", b"a+(b).txt", True),
        ("*.tif", b"a.tif\n", False),
        ("[", b"[", True),
    ],
)
def test_a_pattern_means_the_names_that_a_shell_would_mean(pattern: str, path: bytes, meant: bool) -> None:
    assert is_meant(path, (pattern,)) is meant


def settled(
    source: dict[str, Any],
    *looks: dict[bytes, Signature],
    seconds: float = 1.0,
    closed: bool | None = None,
    known: bytes = b"",
) -> Settling:
    """Give what the last of some looks, each a while after the one before, says."""
    before: dict[bytes, Candidate] = {}
    result = Settling(())
    for number, look in enumerate(looks):
        result = settle(
            FileSource.model_validate(source),
            look,
            before,
            is_known=lambda path, _: path == known,
            is_closed=lambda _: closed,
            now=number * seconds,
        )
        before = result.candidates
    return result


GROWN = WHOLE._replace(size=200)
QUIET = {"settle": {"quiet": "3s"}}


@pytest.mark.parametrize(
    ("looks", "ready"),
    [
        pytest.param([WHOLE], (), id="one look says nothing"),
        pytest.param([WHOLE, WHOLE, WHOLE], (), id="not quiet for long enough"),
        pytest.param([WHOLE, WHOLE, WHOLE, WHOLE], (b"a",), id="quiet for three seconds"),
        pytest.param([WHOLE, WHOLE, WHOLE, GROWN], (), id="it has grown"),
        pytest.param([WHOLE, GROWN, GROWN, GROWN, GROWN], (b"a",), id="quiet after it has grown"),
        pytest.param([WHOLE] * 3 + [WHOLE._replace(inode=8)], (), id="another file took its place"),
        pytest.param([WHOLE] * 3 + [WHOLE._replace(mtime_ns=9)], (), id="written to without growing"),
    ],
)
def test_a_file_is_finished_when_it_has_looked_the_same_for_long_enough(
    looks: list[Signature], ready: tuple[bytes, ...]
) -> None:
    assert settled(QUIET, *({b"a": look} for look in looks)).ready == ready


def test_with_a_marker_only_the_marker_counts_and_is_not_sent_itself() -> None:
    source = {"settle": {"marker": ".done"}}
    assert settled(source, {b"a": WHOLE}, {b"a": WHOLE}, seconds=3600).ready == ()
    assert settled(source, {b"a": WHOLE, b"a.done": WHOLE}).ready == (b"a",)


def test_a_file_that_nobody_writes_is_finished_at_the_second_look() -> None:
    source = {"settle": {"closed": True, "quiet": "1h"}}
    look = {b"a": WHOLE}
    assert settled(source, look, look, closed=True).ready == (b"a",)
    assert settled(source, look, look, closed=False, seconds=7200).ready == ()
    assert settled(source, look, look, closed=None, seconds=7200).ready == (b"a",), "where none can tell, quiet decides"


def test_the_system_tells_whether_somebody_has_a_file_open_for_writing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        if is_closed(folder, b"a") is None:
            pytest.skip("this file system has no leases")
        with (tmp_path / "a").open("ab"):
            assert is_closed(folder, b"a") is False
        assert is_closed(folder, b"a") is True
        assert is_closed(folder, b"absent") is None
    finally:
        os.close(folder)


def test_what_is_gone_before_it_was_finished_is_named_unless_it_was_renamed() -> None:
    assert settled(QUIET, {b"a": WHOLE}, {}).vanished == (b"a",)
    assert settled(QUIET, {b"a.tmp": WHOLE}, {b"a": WHOLE}).vanished == ()


def test_what_was_dealt_with_is_not_looked_at_again() -> None:
    assert settled(QUIET, *[{b"a": WHOLE}] * 9, known=b"a") == Settling(())


def test_the_end_of_a_run_waits_for_the_unfinished_files_of_its_folder_and_comes_last() -> None:
    source = QUIET | {"endMarker": "RUN_END"}
    other = {b"other/x": WHOLE}
    end, file = {b"run/RUN_END": WHOLE._replace(mtime_ns=1)}, {b"run/a": WHOLE}
    late = settled(source, end, end, end, end | file | other)
    assert late.ready == ()
    assert settled(source, *[end | file] * 4).ready == (b"run/a", b"run/RUN_END")
    assert settled(source, end, end, end, end | other).ready == (b"run/RUN_END",), "another folder's files do not count"


@pytest.mark.parametrize(
    ("template", "path", "name"),
    [
        ("scan.{file}", b"Bench 4/Scan_001.ome.tif", "scan.scan-001-ome"),
        ("{path[0]}.{date}", b"Bench 4/a.tif", "bench-4.2025-11-22"),
        ("{stream}.{path[1]}", b"a/b/c.tif", "s.b"),
        ("{path[0]}", b"a.tif", None),
        ("{file}", b"\xff", "ff"),
        ("{file}", b"---", None),
    ],
)
def test_a_dataset_is_named_by_the_file_and_its_time_of_change(template: str, path: bytes, name: str | None) -> None:
    spec = StreamSpec.model_validate({"gateway": "lab", "dataset": template, "home": "onprem", "files": {}})
    assert dataset_of(StreamOrder(namespace="ns", name="s", spec=spec), path, WHOLE) == name


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"raw/scan 1.tif", "raw/scan 1.tif"),
        ("Messung/Ölprobe.csv".encode(), "Messung/Ölprobe.csv"),
        (b"50%.csv", "50%.csv"),
        (b"../x", "%2E%2E/x"),
        (b"/etc/passwd", "%/etc/passwd"),
        (b"a//b", "a/%/b"),
        (b"a/./b", "a/%2E/b"),
        (b"a\x00b", "a%00b"),
        (b"a\nb", "a%0Ab"),
        (b"\xff\xfe.tif", "%FF%FE.tif"),
        (b".atoll/ledger.json", "%2Eatoll/ledger.json"),
        (b".ATOLL", "%2EATOLL"),
        (b"a/.atoll", "a/.atoll"),
    ],
)
def test_a_name_that_could_do_harm_is_escaped_and_any_other_stays(raw: bytes, path: str) -> None:
    assert safe_path(raw) == path
    assert (original_of(raw, path) is None) == (raw == path.encode())


@given(st.binary(min_size=1, max_size=2000))
def test_every_path_becomes_one_that_is_safe_and_stays_as_it_is_from_then_on(raw: bytes) -> None:
    path = safe_path(raw)
    names = path.split("/")
    assert safe_path(path.encode()) == path
    assert all(name not in ("", ".", "..") and name.isprintable() and len(name.encode()) <= 200 for name in names)
    assert names[0].lower() != ".atoll"
    assert len(path.encode()) <= 1000


def test_long_names_stay_different_and_keep_their_suffix() -> None:
    left, right = safe_path(b"x" * 300 + b"1.tif"), safe_path(b"x" * 300 + b"2.tif")
    assert left != right
    assert left.endswith(".tif")


def test_a_second_content_of_a_name_gets_a_number_before_its_suffix() -> None:
    assert [numbered(path, 2) for path in ("a/b.tif", "a.b/c", ".profile")] == ["a/b~2.tif", "a.b/c~2", ".profile~2"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "topics"),
        ({"files": {"folder": "../etc"}}, "folder"),
        ({"files": {"folder": "/etc"}}, "folder"),
        ({"files": {"patterns": ["/etc/*"]}}, "patterns"),
        ({"files": {"settle": {"marker": "a/b"}}}, "marker"),
        ({"topics": ["a"], "dataset": "{file}"}, "dataset"),
        ({"topics": ["a"], "files": {}, "dataset": "{path[0]}"}, "dataset"),
    ],
)
def test_a_stream_that_could_not_work_is_refused_with_the_field_named(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        StreamSpec.model_validate({"gateway": "lab", "dataset": "d", "home": "onprem"} | spec)
