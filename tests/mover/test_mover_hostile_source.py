"""A source that lies: another cluster's mover that was taken over says what it likes, and this one stays well."""

from pathlib import Path
from typing import Any, cast

import pytest

from atoll.edge.mover import copying
from atoll.edge.mover.copying import Copy, SourceDamaged
from atoll.edge.sink.ledger import VersionLedger, manifest_sha256
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.data_messages import ManifestFile, ReadRequest, TransferOrder
from atoll.federation.bus.datasets import DatasetReader
from atoll.federation.errors import InvalidInput

ORDER = TransferOrder(namespace="ns", transfer="t", dataset="picks", version=1, source="evil")


class Liar:
    """Gives one ledger, or the same piece for ever."""

    def __init__(self, *, ledger: bytes = b"", endless: bytes = b"") -> None:
        self._ledger, self._endless, self.given_bytes = ledger, endless, 0

    async def chunk(self, request: ReadRequest) -> bytes:
        piece = self._endless or self._ledger[request.offset : request.offset + request.length]
        self.given_bytes += len(piece)
        return piece


async def copied(root: Path, liar: Liar) -> Any:
    return await Copy(Volume(root), ORDER).run(cast(DatasetReader, liar), "evil")


async def test_a_ledger_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_LARGEST_LEDGER_BYTES", 4 * copying.CHUNK_BYTES)
    liar = Liar(endless=b" " * copying.CHUNK_BYTES)
    with pytest.raises(SourceDamaged, match="larger than any"):
        await copied(tmp_path, liar)
    assert liar.given_bytes <= 6 * copying.CHUNK_BYTES


async def test_a_ledger_that_cannot_be_written_here_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    ledger = VersionLedger(
        dataset="picks", version=1, complete=True, manifest_sha256=manifest_sha256(()), numbered=2**70
    )
    with pytest.raises(SourceDamaged, match="cannot be written here"):
        await copied(tmp_path, Liar(ledger=ledger.model_dump_json(by_alias=True).encode()))
    assert not (tmp_path / "picks").exists()


@pytest.mark.parametrize("size", [2**62, 2**80])
async def test_a_file_larger_than_the_volume_is_refused_before_room_is_made(tmp_path: Path, size: int) -> None:
    """Only to list the ranges of such a file would take all memory."""
    files = (ManifestFile(path="a", bytes=size, sha256="0" * 64),)
    ledger = VersionLedger(
        dataset="picks", version=1, complete=True, files=files, manifest_sha256=manifest_sha256(files)
    )
    with pytest.raises(InvalidInput, match="all of this volume"):
        await copied(tmp_path, Liar(ledger=ledger.model_dump_json(by_alias=True).encode()))
    assert not (tmp_path / "picks").exists()
