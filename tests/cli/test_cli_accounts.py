"""Accounts on the command line: what is summed up, how it is exported, and what is said where that cannot be."""

import csv
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from atoll.cli.accounts import Wanted, history, show
from atoll.cli.exporting import Table, write_csv, write_parquet
from atoll.cli.options import AccountOutput, By, Output
from atoll.federation.errors import InvalidInput, NotFound

QUEUES = {
    "items": [
        {"metadata": {"name": "lab"}},
        {"metadata": {"name": "lab.a"}, "spec": {"parent": "lab"}},
        {"metadata": {"name": "other"}},
    ]
}


def record(job: str, queue: str, *, final: bool = True, **more: Any) -> dict[str, Any]:
    taken = {"gpuSeconds": 3600.0, "cpuSeconds": 60.0, "cost": 2.0}
    whose = {"namespace": "ns", "user": "ada", "day": "2026-11-23", "run": f"{job}-1"}
    return {"job": job, "queue": queue, "isFinal": final, **whose, **taken, **more}


RECORDS = [
    record("a", "lab.a", final=False, day="2026-11-22"),
    record("a", "lab.a", isEstimated=True),
    record("b", "other", user="=cmd()", cost=9.0),
]


class Hub:
    """Answers what the hub answers, in chunks that end within lines."""

    asked: list[tuple[str, dict[str, str]]]

    def __init__(self) -> None:
        self.asked = []

    def get(self, _path: str) -> dict[str, Any]:
        return QUEUES

    def chunks(self, path: str, query: dict[str, str]) -> Any:
        self.asked.append((path, query))
        lines = RECORDS if path.endswith("records") else [{**row, "runs": int(row["isFinal"])} for row in RECORDS]
        body = b"\n".join(map(orjson.dumps, lines))
        yield from (body[at : at + 50] for at in range(0, len(body), 50))


def shown(capsys: pytest.CaptureFixture[str], wanted: Wanted, by: By) -> list[dict[str, Any]]:
    show(Hub(), wanted, by, AccountOutput.JSON, None)  # type: ignore[arg-type] - a hub of which nothing else is asked
    return [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_jobs_are_summed_over_their_days_and_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The dearest first; a queue stands for those below it."""
    rows = shown(capsys, Wanted(), By.JOB)
    assert [(row["job"], row["runs"], row["gpuSeconds"], row["cost"]) for row in rows] == [
        ("b", 1, 3600, 9), ("a", 1, 7200, 4)
    ]  # fmt: skip
    assert [row["queue"] for row in shown(capsys, Wanted(queue="lab"), By.QUEUE)] == ["lab.a"]
    with pytest.raises(NotFound, match="queue 'gone' does not exist"):
        shown(capsys, Wanted(queue="gone"), By.QUEUE)


def test_only_jobs_and_runs_need_the_records() -> None:
    """The hub's sums are few, its records many."""
    for by, path in ((By.JOB, "records"), (By.RUN, "records"), (By.USER, "days"), (By.DAY, "days")):
        hub = Hub()
        show(hub, Wanted(user="me"), by, AccountOutput.TABLE, None)  # type: ignore[arg-type] - as above
        assert hub.asked == [(f"/accounts/{path}", {"since": "30d", "user": "me"})]


def test_history_goes_by_days_and_is_of_no_single_runs(capsys: pytest.CaptureFixture[str]) -> None:
    history(Hub(), Wanted(), By.USER, Output.TABLE)  # type: ignore[arg-type] - as above
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["DAY", "USER", "RUNS", "GPU-HOURS", "CPU-HOURS", "STAGED", "COST"]
    assert [line[:2] for line in lines[1:]] == [["2026-11-22", "ada"], ["2026-11-23", "=cmd()"], ["2026-11-23", "ada"]]
    with pytest.raises(InvalidInput, match="atoll queue accounts --by run"):
        history(Hub(), Wanted(), By.RUN, Output.TABLE)  # type: ignore[arg-type] - as above


def test_a_csv_has_a_header_and_no_formulas(tmp_path: Path) -> None:
    """A user may be called as a spreadsheet calls a function."""
    file = tmp_path / "a.csv"
    show(Hub(), Wanted(), By.RUN, AccountOutput.CSV, file)  # type: ignore[arg-type] - as above
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["user"] for row in rows] == ["ada", "ada", "'=cmd()"]
    assert [row["isEstimated"] for row in rows] == ["", "True", ""]
    with pytest.raises(InvalidInput, match="choose another --file"):
        write_csv(Table({"a": str}, iter([])), tmp_path)


def test_parquet_has_types_and_reads_back(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    file = tmp_path / "a.parquet"
    show(Hub(), Wanted(), By.RUN, AccountOutput.PARQUET, file)  # type: ignore[arg-type] - as above
    table = parquet.read_table(file)
    assert table.column("cost").to_pylist() == [2.0, 2.0, 9.0]
    assert str(table.schema.field("isFinal").type) == "bool" and str(table.schema.field("epoch").type) == "int64"
    write_parquet(Table({"a": int}, iter([])), file)
    assert parquet.read_table(file).num_rows == 0, "an empty table has its columns"


def test_without_pyarrow_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match=r"pip install 'atoll\[parquet\]', or choose -o csv"):
        write_parquet(Table({"a": str}, iter([])), None)
