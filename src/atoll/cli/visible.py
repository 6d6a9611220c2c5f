"""Text of others on a terminal: characters that would steer it are written as escapes. Pure.

Owns which characters those are. Names, labels, messages and lines of logs come from people whom the reader need not
trust: an escape sequence among them could clear the screen, forge a line or fill the clipboard (CWE-150), and marks of
writing direction make text read otherwise than it is (CVE-2021-42574). An escape is JSON's and YAML's own, `\\u001b`,
so what is printed as data still says the same.
"""

import codecs
import re

# C0 but tab and newline, DEL, C1; line and paragraph separator; marks and overrides of direction; lone surrogates.
_HIDDEN = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_STEERING = re.compile(f"[{_HIDDEN}]")
_BREAKING = re.compile(rf"[{_HIDDEN}\t\n]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# What programs colour their output with (ECMA-48, 8.3.117), and the end of a line that a progress bar erases (8.3.41).
_LONGEST_COLOUR = 64
_COLOUR = rf"\x1b\[[0-9;:]{{0,{_LONGEST_COLOUR}}}[mK]"
_OUTPUT = re.compile(rf"({_COLOUR}|\r)|[{_HIDDEN}]")
_BEGUN = re.compile(rf"\x1b(?:\[[0-9;:]{{0,{_LONGEST_COLOUR}}})?\Z")


def visible(text: str) -> str:
    """Write what would steer a terminal as escapes; the text keeps its lines and tabs."""
    return text if text.isascii() and text.isprintable() else _STEERING.sub(_escaped, text)


def visible_line(text: str) -> str:
    """Write what would steer a terminal, or end the line, as escapes."""
    return text if text.isascii() and text.isprintable() else _BREAKING.sub(_escaped, text)


def is_hidden(text: str) -> bool:
    """Tell whether a text has characters that `visible` writes as escapes."""
    return _STEERING.search(text) is not None


class VisibleOutput:
    """Makes the output of programs fit for a terminal as it comes: their colours stay, and nothing else that steers.

    What comes next may begin within a character or a colour: it is kept back until it is whole.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._begun = ""

    def add(self, chunk: bytes) -> bytes:
        """Give what can be printed now."""
        return self._shown(self._decoder.decode(chunk))

    def rest(self) -> bytes:
        """Give what was kept back, at the end of all."""
        text = self._shown(self._decoder.decode(b"", final=True)) + visible(self._begun).encode()
        self._begun = ""
        return text

    def _shown(self, more: str) -> bytes:
        text = self._begun + more
        begun = _BEGUN.search(text)
        end = begun.start() if begun is not None else len(text)
        self._begun = text[end:]
        return _OUTPUT.sub(lambda found: found[1] or _escaped(found), text[:end]).encode()


def _escaped(found: re.Match[str]) -> str:
    return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}"
