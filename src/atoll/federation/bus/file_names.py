"""Names of files that come from elsewhere: made safe to use, once at the gateway and once more where they are made.

Pure. A safe path is relative, has `/` between names, is valid UTF-8 that can be printed, and names nothing of Atoll's.
What must change is written %XX per byte, so that people still recognise it; a safe path stays as it is.
"""

import hashlib

# File systems allow 255 bytes; the rest is for `~2` of a name that is taken, and for what a copy puts behind it.
LONGEST_NAME_BYTES = 200
LONGEST_PATH_BYTES = 1000
_HASH_DIGITS = 12
_LONGEST_SUFFIX = 16
_RESERVED = ".atoll"


def safe_path(raw: bytes) -> str:
    """Give the path under which a file is kept.

    Args:
        raw: the path as the file system has it, relative.
    """
    names = [_safe_name(name) for name in raw.split(b"/")]
    if names[0].lower() == _RESERVED:
        names[0] = f"%2E{names[0][1:]}"
    path = "/".join(names)
    if len(path.encode()) <= LONGEST_PATH_BYTES:
        return path
    return f"~{hashlib.sha256(raw).hexdigest()[:_HASH_DIGITS]}/{names[-1]}"


def original_of(raw: bytes, path: str) -> str | None:
    """Say what a file was called if its path had to change: every byte that is no printable ASCII as %XX."""
    if raw == path.encode():
        return None
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x25 else f"%{byte:02X}" for byte in raw)


def numbered(path: str, number: int) -> str:
    """Give the path of another file that wants the same one: `scan.tif` becomes `scan~2.tif`."""
    folder, slash, name = path.rpartition("/")
    stem, suffix = _split_suffix(name)
    return f"{folder}{slash}{stem}~{number}{suffix}"


def _safe_name(raw: bytes) -> str:
    if raw in (b"", b".", b".."):
        return "%2E" * len(raw) or "%"
    text = raw.decode(errors="surrogateescape")
    name = text if text.isprintable() else "".join(map(_escaped, text))
    return name if len(name.encode()) <= LONGEST_NAME_BYTES else _shortened(name, raw)


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    return "".join(f"%{byte:02X}" for byte in char.encode(errors="surrogateescape"))


def _shortened(name: str, raw: bytes) -> str:
    stem, suffix = _split_suffix(name)
    mark = f"~{hashlib.sha256(raw).hexdigest()[:_HASH_DIGITS]}{suffix}"
    kept = stem.encode()[: LONGEST_NAME_BYTES - len(mark.encode())].decode(errors="ignore")
    return f"{kept}{mark}"


def _split_suffix(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    is_suffix = stem and suffix and len(suffix.encode()) <= _LONGEST_SUFFIX
    return (stem, f"{dot}{suffix}") if is_suffix else (name, "")
