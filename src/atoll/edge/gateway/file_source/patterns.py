"""Which names and paths a pattern means. Pure; on bytes, as a file system has them."""

import re
from collections.abc import Iterable
from functools import lru_cache

SENT_FOLDER = b".atoll-sent"
_TOKENS = re.compile(rb"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|[^*?\[]+|\[")


def is_meant(path: bytes, patterns: Iterable[str]) -> bool:
    """Tell whether one of the patterns means a path below the folder.

    Without a slash a pattern is of the name, whatever the folder; with one it is of the whole path. `*` and `?` do not
    reach over a slash, `**` does. No wildcard means a dot at the start of a name, as in a shell.
    """
    name = path.rpartition(b"/")[2]
    return any(_compiled(pattern).fullmatch(path if "/" in pattern else name) is not None for pattern in patterns)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[bytes]:
    raw, parts, at_start = pattern.encode(), [], True
    for token in _TOKENS.findall(raw):
        hidden = rb"(?!\.)" if at_start else b""
        match token:
            case b"**/":
                parts.append(rb"(?:(?!\.)[^/]+/)*")
            case b"**":
                parts.append(hidden + rb"(?:[^/]|/(?!\.))*")
            case b"*":
                parts.append(hidden + rb"[^/]*")
            case b"?":
                parts.append(hidden + rb"[^/]")
            case _ if token.startswith(b"[") and len(token) > 1:
                inverted = token[1:2] == b"!"
                inner = token[2:-1] if inverted else token[1:-1]
                # A range such as a-z stays one; what else means something to a regular expression does not here.
                body = re.sub(rb"([\\^\]\[&~|])", rb"\\\1", inner)
                parts.append(hidden + b"[" + (b"^/" if inverted else b"") + body + b"]")
            case _:
                parts.append(re.escape(token))
        at_start = token.endswith(b"/")
    return re.compile(b"".join(parts), re.DOTALL)
