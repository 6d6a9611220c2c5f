"""A copy goes on whoever gives it: another replica takes over from one that dies, rots or lies; none leaves a trace."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.sink.index import INDEX
from atoll.edge.sink.ledger import Index, load, save
from atoll.edge.sink.verify import verify
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import TransferSource
from mover.mover_site import Site, make_dataset, until

BIG = {f"part-{number}": random.Random(number).randbytes(5_000_000) for number in range(4)}
OTHERS = (TransferSource(cluster="other"),)


class Sites:
    def __init__(self, far: Site, other: Site, near: Site) -> None:
        self.far, self.other, self.near = far, other, near


@pytest.fixture
async def sites(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[Sites]:
    made = [Site(bus, nats_server.url, tmp_path / name, name) for name in ("far", "other", "near")]
    for site in made[:2]:
        make_dataset(site.root, BIG)
    for site in made:
        site.start()
    for site in made:
        await until(site.volume)
    yield Sites(*made)
    for site in made:
        await site.stop()


async def test_another_replica_takes_over_from_one_that_dies_in_the_middle(sites: Sites) -> None:
    near = sites.near
    # Slow enough to be seen half way.
    await near.order(others=OTHERS, bytes_per_second=8_000_000)

    async def is_half_way() -> bool:
        report = await near.transfer()
        return report is not None and report.copied_bytes > 4_000_000

    await until(is_half_way)
    await sites.far.stop()
    # What is here is not fetched again: the new source is asked for the rest only.
    report = await near.outcome("Succeeded")
    assert (report.source, report.copied_bytes) == ("other", 20_000_000)
    assert verify(near.root, "picks", 1).problems == ()


async def test_a_source_that_rotted_is_left_for_one_that_has_not(sites: Sites) -> None:
    place = sites.far.root / "picks/v1/part-2"
    data = bytearray(place.read_bytes())
    data[4_500_000] ^= 1
    place.write_bytes(data)
    await sites.near.order(others=OTHERS)
    assert (await sites.near.outcome("Succeeded")).source == "other"
    assert verify(sites.near.root, "picks", 1).problems == ()


async def test_when_no_source_is_sound_each_is_named(sites: Sites) -> None:
    for site in (sites.far, sites.other):
        (site.root / "picks/v1/part-1").write_bytes(bytes(5_000_000))
    await sites.near.order(others=OTHERS)
    message = (await sites.near.outcome("Failed")).message
    assert "far: part-1" in message
    assert "other: part-1" in message
    assert not (sites.near.root / "picks").exists()


async def test_a_source_that_has_something_else_under_the_same_version_is_not_believed(sites: Sites) -> None:
    await sites.near.order(others=OTHERS, manifest_sha256="00" * 32)
    assert "is not what others have" in (await sites.near.outcome("Failed")).message


async def test_the_index_that_the_merkle_root_is_over_is_copied_with_the_files(sites: Sites) -> None:
    content = bytes(range(256))
    for site in (sites.far, sites.other):
        folder = site.root / "picks/v1"
        (folder / INDEX).write_bytes(content)
        ledger = load(folder)
        assert ledger is not None
        index = Index(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        save(folder, ledger.model_copy(update={"index": index}))
    await sites.near.order()
    await sites.near.outcome("Succeeded")
    assert (sites.near.root / "picks/v1" / INDEX).read_bytes() == content


async def test_a_copy_that_is_not_wanted_any_more_leaves_nothing(sites: Sites) -> None:
    near = sites.near
    await near.order(bytes_per_second=2_000_000)

    async def has_begun() -> bool:
        report = await near.transfer()
        return report is not None and report.copied_bytes > 0

    await until(has_begun)
    assert (near.root / ".transfers/picks/v1").exists()
    await near.withdraw("transfer/ns/copy")

    async def is_clean() -> bool:
        return not (near.root / ".transfers/picks").exists()

    assert await until(is_clean)


async def test_what_was_left_of_copies_before_a_restart_is_cleaned(sites: Sites) -> None:
    near = sites.near
    await near.stop()
    stale = near.root / ".transfers/gone/v3/.atoll/parts"
    stale.mkdir(parents=True)
    (stale / "x").write_bytes(b"1")
    await near.order()
    near.start()
    await near.outcome("Succeeded")

    async def is_clean() -> bool:
        return not (near.root / ".transfers/gone").exists()

    assert await until(is_clean)


async def test_a_rate_bounds_a_copy_and_may_be_changed_while_it_runs(sites: Sites) -> None:
    """20 MB at 1 MB a second would take long: it is there soon because the order was changed."""
    near = sites.near
    await near.order(bytes_per_second=1_000_000)

    async def has_begun() -> bool:
        report = await near.transfer()
        return report is not None and report.copied_bytes > 0

    await until(has_begun)
    await asyncio.sleep(0.5)
    report = await near.transfer()
    assert report is not None
    assert report.copied_bytes < 20_000_000
    await near.order(bytes_per_second=0)
    await near.outcome("Succeeded")
    assert verify(near.root, "picks", 1).problems == ()
