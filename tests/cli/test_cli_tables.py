"""Tables: what fits a terminal of 80 columns, what a pipe gets, and that nothing is cut off."""

import io

import pytest

from atoll.cli.tables import TablePrinter, lay_out

HEADERS = ("POLICYSET", "CLUSTER", "PHASE", "COMMIT", "OBJECTS", "HEALED", "PROVEN", "MESSAGE")
LONG = "drift put back: NetworkPolicy seismology/default-deny-ingress was changed by kubectl-edit"
ROWS = (
    ("seismology", "lab-kubeedge", "Applied", "12232d4abcde", "2", "0", "3s", "-"),
    ("seismology", "lab-k3s", "Applied", "12232d4abcde", "2", "1", "3s", LONG),
)


def written(headers: tuple[str, ...], rows: tuple[tuple[str, ...], ...], width: int | None) -> list[str]:
    layout = lay_out(headers, rows, width=width)
    return ["".join(pieces).rstrip() for row in rows for pieces in layout.lines(row)]


def test_at_80_columns_names_stay_whole_and_the_message_goes_below() -> None:
    """No line is longer than the terminal, and every word of every cell is there."""
    lines = written(HEADERS, ROWS, 80)
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["seismology", "lab-kubeedge", "Applied", "12232d4abcde", "2", "0", "3s"]
    assert " ".join(line.strip() for line in lines[2:]) == LONG
    assert all(line.startswith("    ") for line in lines[2:])


def test_at_80_columns_a_list_of_gpu_models_becomes_a_stack() -> None:
    """Version and GPUs of a cluster stay readable."""
    headers = ("NAME", "PHASE", "VERSION", "NODES", "GPUS", "PROVEN", "AGE")
    gpus = "NVIDIA-A100-SXM4-40GB,NVIDIA-H100-80GB-HBM3"
    lines = written(headers, (("onprem-gpu", "Ready", "v1.33.4+k3s1", "3", gpus, "3s", "5m"),), 80)
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["onprem-gpu", "Ready", "v1.33.4+k3s1", "3", "NVIDIA-A100-SXM4-40GB", "3s", "5m"]
    assert lines[1].split() == ["NVIDIA-H100-80GB-HBM3"]


def test_a_column_that_has_no_room_beside_its_row_keeps_its_header() -> None:
    """The header goes below, too, and no dash stands beside the row under no name."""
    lines = written(HEADERS, (HEADERS, *ROWS), 80)
    assert lines[1] == "    MESSAGE"
    assert lines[2].split()[-1] == "3s"


def test_at_80_columns_a_wide_table_has_rows_of_two_lines() -> None:
    """All columns are there, with their headers above them."""
    headers = (
        "NAME", "PHASE", "REASON", "VERSION", "NODES", "GPUS", "PROVEN", "LOST", "MESH", "DISTRIBUTION", "AGE",
    )  # fmt: skip
    row = ("onprem-gpu", "Unreachable", "HeartbeatStale", "v1.33.4+k3s1", "3", "A,B", "2m", "2m30s", "2", "k3s", "5m")
    header, more, first, second, third = written(headers, (headers, row), 60)
    assert max(map(len, (header, more, first, second, third))) <= 60
    assert [*header.split(), *more.split()] == list(headers)
    assert header.index("VERSION") == first.index("v1.33.4")
    assert more.index("MESH") == second.index("2  ", second.index("2m30s") + 5)
    assert third.split() == ["B"]


@pytest.mark.parametrize("width", range(40, 140, 7))
def test_however_wide_a_row_is_no_line_is_longer_than_the_terminal(width: int) -> None:
    """Rows take as many lines as they need, and no cell is lost."""
    headers = (*(f"COLUMN-{number:02}" for number in range(11)), "MESSAGE")
    rows = (headers, (*(f"cell-{number:02}-of-it" for number in range(11)), LONG))
    for count in range(2, len(headers) + 1):
        chosen = tuple((*row[: count - 1], row[-1]) for row in rows)
        lines = written(chosen[0], chosen, width)
        assert max(map(len, lines)) <= width
        assert " ".join(lines).split() == " ".join(cell for row in chosen for cell in row).split()


def test_a_pipe_gets_one_line_per_row() -> None:
    """However long they are: what reads them counts lines."""
    lines = written(HEADERS, ROWS, None)
    assert len(lines) == len(ROWS)
    assert lines[1].endswith(LONG)


def test_rows_that_come_later_keep_the_columns_of_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """`get -w` stays a table: one header, aligned cells, a dash for what is empty."""
    shown = io.StringIO()
    monkeypatch.setattr("sys.stdout", shown)
    printer = TablePrinter(("NAME", "PHASE", "CLUSTER"))
    printer.print([("a-rather-long-name", "Pending", None)])
    printer.print([("short", "Running", "")])
    header, first, second = shown.getvalue().splitlines()
    assert header.index("PHASE") == first.index("Pending") == second.index("Running")
    assert header.index("CLUSTER") == first.rindex("-") == second.rindex("-")


@pytest.mark.parametrize("width", [None, 80])
def test_a_later_cell_that_is_longer_than_its_column_does_not_touch_the_next_one(width: int | None) -> None:
    """With --watch the columns are those of the first rows, and a name that comes later may be longer."""
    layout = lay_out(("NAME", "VERSION", "AGE"), [("readings", "-", "5s")], width=width)
    late = ["".join(pieces) for pieces in layout.lines(("warmest.readings.2026", "1", "0s"))]
    assert [line.split() for line in late] == [["warmest.readings.2026", "1", "0s"]]
