"""What the `dataset` commands do: list, download and verify files, through the hub from where they are."""

import hashlib
import tempfile
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.cli.output import hint, plural, say
from atoll.cli.tables import print_table
from atoll.federation.bus.data_messages import ManifestFile, ManifestPage, VerifyReport
from atoll.federation.errors import Conflict, Internal

M = TypeVar("M", ManifestPage, VerifyReport)
_HASH_SHOWN = 12


def print_files(api: Api, namespace: str, name: str) -> None:
    """Print the files of the newest version."""
    manifest = _manifest(api, namespace, name)
    print_table(
        ("FILE", "BYTES", "SHA-256"), [(f.path, f"{f.bytes:,}", f.sha256[:_HASH_SHOWN]) for f in manifest.files]
    )
    state = "complete" if manifest.complete else "still growing"
    hint(f"{plural(manifest.total_files, 'file')}, {manifest.total_bytes:,} bytes, version {manifest.version}, {state}")


def download(api: Api, namespace: str, name: str, target: Path) -> None:
    """Copy every file of the newest version into a folder.

    Raises:
        Conflict: a file here would be overwritten, or what arrived is not what the manifest says.
    """
    manifest = _manifest(api, namespace, name)
    for file in manifest.files:
        place = target / _inside(file.path)
        if place.exists():
            raise Conflict(f"{place} is there already: choose another folder")
        place.parent.mkdir(parents=True, exist_ok=True)
        _fetch(api, f"{_path(namespace, name)}/files/{quote(file.path)}", file, place)
    say(f"{plural(manifest.total_files, 'file')}, {manifest.total_bytes:,} bytes in {target}, SHA-256 checked")


def verify(api: Api, namespace: str, name: str) -> bool:
    """Let every file be read again where it is; print what was found; tell whether all of it agrees with the ledger."""
    report = _read(VerifyReport, api.get(f"{_path(namespace, name)}/verify"))
    for problem in report.problems:
        say(problem)
    verdict = "agrees with its ledger" if not report.problems else "does not agree with its ledger"
    size = f"{plural(report.files, 'file')}, {report.bytes:,} bytes read"
    say(f"dataset.atoll.dev/{name} version {report.version} {verdict}: {size}")
    say(f"{plural(report.received, 'reading')} received, gaps {report.gaps}, duplicates {report.duplicates}")
    return not report.problems


def _path(namespace: str, name: str) -> str:
    return kinds.atoll("Dataset").path(namespace, name)


def _manifest(api: Api, namespace: str, name: str) -> ManifestPage:
    return _read(ManifestPage, api.get(f"{_path(namespace, name)}/files"))


def _read(model: type[M], answer: Json) -> M:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise Internal(f"the hub's answer is no {model.__name__}") from error


def _inside(path: str) -> PurePosixPath:
    """Refuse a path that would leave the folder: it comes from a ledger that others write."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise Conflict(f"the dataset holds a file named {path!r}, which no folder may hold")
    return parts


def _fetch(api: Api, url: str, file: ManifestFile, place: Path) -> None:
    """Write one file under its name only when its hash agrees."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as folder:
        part = Path(folder) / place.name
        with part.open("wb") as output:
            for chunk in api.chunks(url):
                digest.update(chunk)
                output.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise Conflict(f"{file.path}: what arrived has SHA-256 {digest.hexdigest()}, the ledger says {file.sha256}")
        part.replace(place)
