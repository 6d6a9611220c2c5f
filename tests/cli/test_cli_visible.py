"""What others wrote cannot steer the terminal of who reads it: in tables, messages, YAML, JSON and the logs of jobs."""

import io
import json
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from atoll.cli.failure import report
from atoll.cli.output import hint, say, to_yaml
from atoll.cli.tables import print_table
from atoll.cli.visible import VisibleOutput, visible
from atoll.federation.errors import InvalidInput

CLEAR, TITLE, CLIPBOARD, C1, OVERRIDE = "\x1b[2J", "\x1b]0;root\x07", "\x1b]52;c;cm0gLXJm\x07", "\x9b2J", "\u202e"
HOSTILE = f"a{CLEAR}{TITLE}{CLIPBOARD}{C1}{OVERRIDE}\x7f\x00\r\ud800b"
STEERING = frozenset(map(chr, (*range(9), *range(11, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), 0xD800)))


def test_no_line_of_any_kind_has_what_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Data, hints, errors, cells and headers."""
    say(f"Name: {HOSTILE}")
    hint(f"waiting: {HOSTILE}")
    report(InvalidInput(HOSTILE, [HOSTILE]))
    print_table(("NAME", HOSTILE), [(HOSTILE, [HOSTILE, "c"])])
    out, err = capsys.readouterr()
    assert not STEERING & set(out + err)
    assert out.count("\n") == 3 and err.count("\n") == 3
    assert "a\\u001b[2J\\u001b]0;root\\u0007" in out


def test_a_cell_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Else a message could end its row and begin another that nobody wrote."""
    print_table(("JOB", "MESSAGE"), [("a", "lost\nb   Succeeded\tx")])
    assert capsys.readouterr().out.splitlines()[1:] == ["a     lost\\nb   Succeeded\\tx"]


TEXT = st.text(st.sampled_from("a \n\t:#'\"\\\x1b\x7f\x85\x9b\u2028\u202e\u00e9\x00"), max_size=12)


@given(TEXT, TEXT)
def test_what_is_printed_as_data_still_says_the_same(key: str, value: str) -> None:
    """The escapes are JSON's and YAML's own."""
    written = to_yaml({f"k{key}": [value], "plain": "x"})
    assert not STEERING & set(written)
    assert yaml.safe_load(written) == {f"k{key}": [value], "plain": "x"}
    assert json.loads(visible(json.dumps({key: value}, ensure_ascii=False))) == {key: value}


def shown(*chunks: bytes) -> str:
    output = VisibleOutput()
    return (b"".join(map(output.add, chunks)) + output.rest()).decode()


def test_the_output_of_a_job_keeps_its_colours_and_loses_what_steers() -> None:
    colours = "\x1b[1;31mred\x1b[0m 10%\r20%\x1b[K\n\ttab\n"
    assert shown(colours.encode()) == colours
    for sequence in (CLEAR, TITLE, CLIPBOARD, C1, "\x1bc", "\x1b[?1049h", "\x1b[6n", "\x1bP+q\x1b\\"):
        assert not STEERING & set(shown(f"a{sequence}b".encode()).replace("\r", ""))
    assert shown(b"\xff\x9b") == "\\xff\\x9b"


@given(st.lists(st.sampled_from([b"\x1b", b"[", b"3", b"1;", b"m", b"\xc3", b"\xa9", b"x", b"\n", b"]0;", b"\x07"])))
def test_wherever_output_is_cut_the_same_is_shown(pieces: list[bytes]) -> None:
    assert shown(*pieces) == shown(b"".join(pieces))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_pipe_gets_the_bytes_of_a_job_and_a_terminal_what_is_fit_for_it(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atoll.cli.job_logs import for_reader

    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    raw = f"a{CLEAR}b\n".encode()
    assert b"".join(for_reader([raw])) == (b"a\\u001b[2Jb\n" if is_terminal else raw)


def test_the_name_of_a_file_is_no_markup_for_the_progress_of_its_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich would make a link, or nothing at all, of what stands in brackets."""
    from atoll.cli.progress import byte_bar

    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with byte_bar(f"[link=x]a[/link]{TITLE}", 10) as advance:
        advance(10)
    assert "[link=x]a[/link]" in screen.getvalue() and TITLE not in screen.getvalue()
