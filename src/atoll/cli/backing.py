"""What `backup` does: takes what the hub streams, adds what its home has, and writes one file with checksums."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from atoll import __version__
from atoll.cli.api import Api
from atoll.cli.choosing import HubChoice
from atoll.cli.hub import find, open_context
from atoll.cli.output import bytes_shown, hint, plural, say
from atoll.cli.progress import Advance, byte_bar
from atoll.federation.errors import InvalidInput, Unavailable
from atoll.local.backup_file import END, HEAD, Head, Writer, home_files, parts
from atoll.local.home import Home

_NOT_IN_IT = "not in it: datasets' files, and readings that are not in files yet, which gateways keep until they are"


def backup(choice: HubChoice, path: Path, *, force: bool) -> None:
    """Write a backup.

    Raises:
        Conflict: the file is there. Forbidden: we are no Admin. Unavailable: the hub stopped in the middle.
    """
    context = find(choice)
    home = Home(Path(context.home)) if context.home else None
    with open_context(context) as api, Writer(path, replace=force) as writer, byte_bar("backup") as advance:
        writer.add(HEAD, Head(__version__, datetime.now(UTC), api.server).wire())
        count = 0
        for name, content in home_files(home) if home is not None else ():
            writer.add(name, content)
            count += 1
        _copy(api, writer, advance)
        size = writer.finish()
    say(f"{path} written: {bytes_shown(size)}")
    keys = f"with {plural(count, 'file')} of keys and certificates" if home is not None else "without NATS's keys"
    hint(f"it is secret, and readable by you alone: {keys}")
    if home is None:
        hint("keep the Secret with NATS's keys, too: without them every member has to be enrolled again")
    hint(_NOT_IN_IT)


def _copy(api: Api, writer: Writer, advance: Advance) -> None:
    is_whole = False
    try:
        for name, content in parts(Source(api.chunks("/backup"))):
            writer.add(name, content)
            advance(len(content))
            is_whole = name == END
    except InvalidInput as error:
        raise Unavailable(f"the backup ended in the middle ({error}): see the hub's log, and try again") from error
    if not is_whole:
        raise Unavailable("the backup ended in the middle: see the hub's log, and try again")


class Source:
    """An answer that comes in chunks, as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int, /) -> bytes:
        """Give so many bytes, less at the end only."""
        found = [self._rest]
        length = len(self._rest)
        while length < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            found.append(chunk)
            length += len(chunk)
        content = b"".join(found)
        self._rest = content[size:]
        return content[:size]
