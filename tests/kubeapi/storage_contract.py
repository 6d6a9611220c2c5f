"""What every Storage must do, as a suite: subclass StorageContract, give it a `storage` fixture, and it runs.

From another room's tests: `from kubeapi.storage_contract import StorageContract` (tests/ is on the path).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from atoll.kubeapi.storage import Change, RevisionConflict, Storage, Synced

_SECONDS = 20.0  # a generous bound: only a storage that lost a change waits for it


class Follower:
    """Reads follow() in the background and remembers what came."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._moved = asyncio.Event()
        self.seen: list[Change | Synced] = []

    async def run(self) -> None:
        async for item in self._storage.follow():
            self.seen.append(item)
            self._moved.set()

    @property
    def changes(self) -> list[Change]:
        return [item for item in self.seen if isinstance(item, Change)]

    @property
    def state(self) -> dict[str, bytes]:
        state: dict[str, bytes] = {}
        for change in self.changes:
            if change.value is None:
                state.pop(change.key, None)
            else:
                state[change.key] = change.value
        return state

    async def until_revision(self, revision: int) -> None:
        async with asyncio.timeout(_SECONDS):
            while not any(item.revision >= revision for item in self.seen):
                self._moved.clear()
                await self._moved.wait()

    async def until_synced(self) -> None:
        async with asyncio.timeout(_SECONDS):
            while not any(isinstance(item, Synced) for item in self.seen):
                self._moved.clear()
                await self._moved.wait()


@contextlib.asynccontextmanager
async def following(storage: Storage) -> AsyncIterator[Follower]:
    """Follow a storage for the time of a block."""
    follower = Follower(storage)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class StorageContract:
    """The suite."""

    @pytest.fixture
    async def storage(self) -> AsyncIterator[Storage]:
        """An empty storage."""
        raise NotImplementedError("give the fixture `storage` in the subclass")
        yield

    async def test_a_new_key_is_written_when_it_is_expected_not_to_exist(self, storage: Storage) -> None:
        revision = await storage.write("core/pods/a/x", b"1", expected=0)
        async with following(storage) as follower:
            await follower.until_synced()
            assert follower.seen[0] == Change("core/pods/a/x", b"1", revision)

    async def test_a_key_that_exists_is_not_created_again(self, storage: Storage) -> None:
        revision = await storage.write("core/pods/a/x", b"1", expected=0)
        with pytest.raises(RevisionConflict) as conflict:
            await storage.write("core/pods/a/x", b"2", expected=0)
        assert conflict.value.current in (revision, None)

    async def test_a_key_is_overwritten_only_at_its_last_revision(self, storage: Storage) -> None:
        first = await storage.write("core/pods/a/x", b"1", expected=0)
        second = await storage.write("core/pods/a/x", b"2", expected=first)
        with pytest.raises(RevisionConflict):
            await storage.write("core/pods/a/x", b"3", expected=first)
        async with following(storage) as follower:
            await follower.until_synced()
            assert follower.state == {"core/pods/a/x": b"2"}
            assert second > first

    async def test_a_key_that_does_not_exist_is_neither_overwritten_nor_deleted(self, storage: Storage) -> None:
        for value in (b"1", None):
            with pytest.raises(RevisionConflict):
                await storage.write("core/pods/a/x", value, expected=7)
        async with following(storage) as follower:
            await follower.until_synced()
            assert follower.changes == []

    async def test_a_deleted_key_can_be_created_again(self, storage: Storage) -> None:
        first = await storage.write("core/pods/a/x", b"1", expected=0)
        gone = await storage.write("core/pods/a/x", None, expected=first)
        again = await storage.write("core/pods/a/x", b"2", expected=0)
        assert first < gone < again

    async def test_a_deleted_key_is_not_overwritten_at_the_revision_of_its_deletion(self, storage: Storage) -> None:
        first = await storage.write("core/pods/a/x", b"1", expected=0)
        gone = await storage.write("core/pods/a/x", None, expected=first)
        with pytest.raises(RevisionConflict):
            await storage.write("core/pods/a/x", b"2", expected=gone)

    async def test_revisions_grow_over_all_keys_and_the_last_one_is_known(self, storage: Storage) -> None:
        revisions = [await storage.write(f"core/pods/a/{index}", b"1", expected=0) for index in range(5)]
        assert revisions == sorted(set(revisions))
        assert await storage.revision() == revisions[-1]

    async def test_a_follower_gets_live_keys_in_revision_order_then_synced(self, storage: Storage) -> None:
        first = await storage.write("core/pods/a/x", b"1", expected=0)
        await storage.write("core/pods/a/y", b"1", expected=0)
        last = await storage.write("core/pods/a/x", b"2", expected=first)
        async with following(storage) as follower:
            await follower.until_synced()
            live = [change for change in follower.changes if change.value is not None]
            assert [change.key for change in live] == ["core/pods/a/y", "core/pods/a/x"]
            assert isinstance(follower.seen[-1], Synced)
            assert follower.seen[-1].revision >= last

    async def test_an_empty_storage_is_synced_at_once(self, storage: Storage) -> None:
        async with following(storage) as follower:
            await follower.until_synced()
            assert follower.changes == []

    async def test_a_follower_gets_every_later_change_once_and_in_order(self, storage: Storage) -> None:
        async with following(storage) as follower:
            await follower.until_synced()
            first = await storage.write("core/pods/a/x", b"1", expected=0)
            second = await storage.write("core/pods/a/x", b"2", expected=first)
            third = await storage.write("core/pods/a/x", None, expected=second)
            await follower.until_revision(third)
            assert follower.changes == [
                Change("core/pods/a/x", b"1", first),
                Change("core/pods/a/x", b"2", second),
                Change("core/pods/a/x", None, third),
            ]

    async def test_followers_that_come_and_go_do_not_disturb_each_other(self, storage: Storage) -> None:
        async with following(storage) as stays:
            await stays.until_synced()
            async with following(storage) as leaves:
                await leaves.until_synced()
            revision = await storage.write("core/pods/a/x", b"1", expected=0)
            await stays.until_revision(revision)
            assert stays.state == {"core/pods/a/x": b"1"}

    async def test_of_concurrent_writers_of_one_key_exactly_one_wins(self, storage: Storage) -> None:
        results = await asyncio.gather(
            *(storage.write("core/pods/a/x", str(index).encode(), expected=0) for index in range(8)),
            return_exceptions=True,
        )
        won = [index for index, result in enumerate(results) if isinstance(result, int)]
        lost = [result for result in results if isinstance(result, RevisionConflict)]
        assert len(won) == 1
        assert len(lost) == 7
        async with following(storage) as follower:
            await follower.until_synced()
            assert follower.state == {"core/pods/a/x": str(won[0]).encode()}

    async def test_concurrent_writers_of_many_keys_all_succeed_with_revisions_of_their_own(
        self, storage: Storage
    ) -> None:
        writes = (storage.write(f"core/pods/a/{index}", b"1", expected=0) for index in range(32))
        revisions = await asyncio.gather(*writes)
        assert len(set(revisions)) == 32
        async with following(storage) as follower:
            await follower.until_revision(max(revisions))
            await follower.until_synced()
            assert {change.key: change.revision for change in follower.changes} == {
                f"core/pods/a/{index}": revision for index, revision in enumerate(revisions)
            }

    async def test_names_with_dots_and_groups_with_dots_come_back_as_they_were(self, storage: Storage) -> None:
        key = "atoll.dev/datasets/lab-one/anmo.2026-11-22"
        revision = await storage.write(key, b"{}", expected=0)
        async with following(storage) as follower:
            await follower.until_synced()
            assert follower.changes == [Change(key, b"{}", revision)]
