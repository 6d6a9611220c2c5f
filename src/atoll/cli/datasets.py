"""What the `dataset` commands do: list, download and verify files, through the hub from where they are."""

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import quote

import orjson
from pydantic import ValidationError

from atoll.cli import kinds
from atoll.cli.ages import age
from atoll.cli.api import Api, Json
from atoll.cli.options import Output
from atoll.cli.output import hint, plural, print_objects, say
from atoll.cli.tables import print_table
from atoll.federation.bus.data_messages import ManifestFile, ManifestPage, VerifyReport
from atoll.federation.bus.datasets import INDEX_PATH, LEDGER_PATH
from atoll.federation.errors import Conflict, Internal, NotFound
from atoll.federation.resources import Dataset
from atoll.federation.resources.dataset import VersionStatus

M = TypeVar("M", ManifestPage, VerifyReport)
_HASH_SHOWN = 12


@dataclass(frozen=True)
class Wanted:
    """A version of a dataset, and a copy of it; None means the newest version, and the copy that is nearest."""

    namespace: str
    name: str
    version: int | None = None
    cluster: str | None = None

    @property
    def path(self) -> str:
        """Give the URL path of the dataset."""
        return kinds.atoll("Dataset").path(self.namespace, self.name)

    @property
    def query(self) -> dict[str, str]:
        """Give what the hub is asked with."""
        chosen = {"version": self.version, "cluster": self.cluster}
        return {name: str(value) for name, value in chosen.items() if value is not None}


def print_files(api: Api, wanted: Wanted, output: Output) -> None:
    """Print the files of a version."""
    manifest = manifest_of(api, wanted)
    if output is not Output.TABLE:
        print_objects(manifest.wire(), output, kinds.atoll("Dataset"))
        return
    print_table(
        ("FILE", "BYTES", "SHA-256"), [(f.path, f"{f.bytes:,}", f.sha256[:_HASH_SHOWN]) for f in manifest.files]
    )
    state = "complete" if manifest.complete else "still growing"
    hint(f"{plural(manifest.total_files, 'file')}, {manifest.total_bytes:,} bytes, version {manifest.version}, {state}")


def print_versions(api: Api, namespace: str, name: str, output: Output) -> None:
    """Print the versions of a dataset, and where they are."""
    dataset = Dataset.model_validate(api.get(kinds.atoll("Dataset").path(namespace, name)))
    versions = dataset.status.versions
    if output is not Output.TABLE:
        print_objects({"versions": [each.wire() for each in versions]}, output, kinds.atoll("Dataset"))
        return
    rows = [(each.version, _state(each), each.files, f"{each.bytes:,}", each.clusters,
             age(each.completed_at) if each.completed_at else None)
            for each in versions]  # fmt: skip
    print_table(("VERSION", "STATE", "FILES", "BYTES", "WHERE", "AGE"), rows)
    if not versions:
        hint(f"dataset.atoll.dev/{name} has no version yet: nothing has been written to it")


def _state(version: VersionStatus) -> str:
    if not version.complete:
        return "Growing"
    return "Obsolete" if version.obsolete_since is not None else "Complete"


def download(api: Api, wanted: Wanted, target: Path, *, needs_ledger: bool = False) -> ManifestPage:
    """Copy every file of a version into a folder, and if it is complete its ledger and index; give what it is.

    The ledger of a version that grows would not be that of the files which were listed, so it stays away.

    Raises:
        Conflict: a file here would be overwritten, or what arrived is not what the manifest says.
        NotFound: the version still grows, and `needs_ledger`.
    """
    manifest = manifest_of(api, wanted)
    if needs_ledger and not manifest.complete:
        raise NotFound(f"version {manifest.version} of dataset {wanted.name} still grows: read it where it is mounted")
    # Of the version that was listed: the next one may begin before the last file is here.
    query = {**wanted.query, "version": str(manifest.version)}
    proofs = _free_place(target, LEDGER_PATH).parent
    places = [_free_place(target, file.path) for file in manifest.files]
    for file, place in zip(manifest.files, places, strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        _fetch(api.chunks(f"{wanted.path}/files/{quote(file.path)}", query), file, place)
    if manifest.complete:
        _fetch_proofs(api, wanted, manifest, proofs)
    return manifest


def print_download(api: Api, wanted: Wanted, target: Path) -> None:
    """Copy a version into a folder, and say what came."""
    copied = download(api, wanted, target)
    say(f"{plural(copied.total_files, 'file')}, {copied.total_bytes:,} bytes in {target}, SHA-256 checked")
    if not copied.complete:
        hint(f"version {copied.version} still grows: its ledger comes with a copy that is made when it is complete")


def verify(api: Api, wanted: Wanted, output: Output) -> bool:
    """Let every file be read again where it is; print what was found; tell whether all of it agrees with the ledger."""
    report = _read(VerifyReport, api.get(f"{wanted.path}/verify", wanted.query))
    if output is not Output.TABLE:
        print_objects(report.wire(), output, kinds.atoll("Dataset"))
        return not report.problems
    for problem in report.problems:
        say(problem)
    verdict = "agrees with its ledger" if not report.problems else "does not agree with its ledger"
    size = f"{plural(report.files, 'file')}, {report.bytes:,} bytes read"
    say(f"dataset.atoll.dev/{wanted.name} version {report.version} {verdict}: {size}")
    more = "".join(f", {name} {count}" for name, count in (("shed", report.shed), ("late", report.late)) if count)
    say(f"{plural(report.received, 'reading')} received, gaps {report.gaps}, duplicates {report.duplicates}{more}")
    if report.merkle_root:
        hint(f"{plural(report.readings, 'reading')} counted in the files, Merkle root {report.merkle_root}")
    return not report.problems


def manifest_of(api: Api, wanted: Wanted) -> ManifestPage:
    """Ask for the files of a version."""
    return _read(ManifestPage, api.get(f"{wanted.path}/files", wanted.query))


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


def _free_place(target: Path, path: str) -> Path:
    place = target / _inside(path)
    if place.exists():
        raise Conflict(f"{place} is there already: choose another folder")
    return place


def _fetch_proofs(api: Api, wanted: Wanted, manifest: ManifestPage, folder: Path) -> None:
    """Copy the index and the ledger, which comes last of all: it is what makes a folder a version."""
    query = {**wanted.query, "version": str(manifest.version)}
    data = b"".join(api.chunks(f"{wanted.path}/files/{LEDGER_PATH}", query))
    ledger = orjson.loads(data)
    if ledger.get("manifestSha256") != manifest.manifest_sha256:
        raise Conflict(f"the ledger of dataset {wanted.name} is not that of its manifest: try again")
    folder.mkdir(parents=True, exist_ok=True)
    if index := ledger.get("index"):
        file = ManifestFile(path=INDEX_PATH, bytes=index["bytes"], sha256=index["sha256"])
        _fetch(api.chunks(f"{wanted.path}/files/{INDEX_PATH}", query), file, folder / PurePosixPath(INDEX_PATH).name)
    (folder / PurePosixPath(LEDGER_PATH).name).write_bytes(data)


def _fetch(chunks: Iterable[bytes], file: ManifestFile, place: Path) -> None:
    """Write one file under its name only when its hash agrees."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as folder:
        part = Path(folder) / place.name
        with part.open("wb") as output:
            for chunk in chunks:
                digest.update(chunk)
                output.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise Conflict(f"{file.path}: what arrived has SHA-256 {digest.hexdigest()}, the ledger says {file.sha256}")
        part.replace(place)
