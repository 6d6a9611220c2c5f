"""What printed text is cut into: its end, and lines that say whose they are. Pure."""

from collections import deque


class Tail:
    """Keeps the last bytes of what is added, and knows how many there were."""

    def __init__(self, longest_bytes: int) -> None:
        self._longest = longest_bytes
        self._chunks: deque[bytes] = deque()
        self._held = self.total_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Take in what was printed next."""
        self._chunks.append(chunk)
        self._held += len(chunk)
        self.total_bytes += len(chunk)
        while self._held - len(self._chunks[0]) >= self._longest:
            self._held -= len(self._chunks.popleft())

    @property
    def is_cut(self) -> bool:
        """Whether something was left out."""
        return self.total_bytes > self._longest

    def text(self) -> bytes:
        """Give what is kept; where something was left out it begins with a whole line, if it holds one."""
        text = b"".join(self._chunks)[-self._longest :]
        if not self.is_cut:
            return text
        _, newline, rest = text.partition(b"\n")
        return rest if newline and rest else text


def last_lines(text: bytes, count: int | None) -> bytes:
    """Give the last lines of a text; None: all."""
    if count is None:
        return text
    return b"".join(text.splitlines(keepends=True)[-count:]) if count else b""


class Lines:
    """Cuts chunks into whole lines, each behind a prefix, so that those of several writers can stand in one text."""

    # A line that is longer is handed on in parts: who prints dots for hours should be seen to.
    LONGEST_BYTES = 8192

    def __init__(self, prefix: bytes = b"") -> None:
        self._prefix, self._open = prefix, b""

    def add(self, chunk: bytes) -> bytes:
        """Give the lines that are whole now; a carriage return ends one, too, as progress bars have it."""
        text = self._open + chunk
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        if not end and len(text) > self.LONGEST_BYTES:
            text, end = text + b"\n", len(text) + 1
        self._open = text[end:]
        return self._marked(text[:end])

    def rest(self) -> bytes:
        """Give what has no end of line at the end of all."""
        text, self._open = self._open, b""
        return self._marked(text + b"\n") if text else b""

    def _marked(self, text: bytes) -> bytes:
        if not self._prefix:
            return text
        return b"".join(self._prefix + line for line in text.splitlines(keepends=True))
