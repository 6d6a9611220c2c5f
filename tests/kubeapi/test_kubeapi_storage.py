"""The storage in memory keeps the contract of storages."""

from collections.abc import AsyncIterator

import pytest

from atoll.kubeapi.storage import MemoryStorage, Storage
from kubeapi.storage_contract import StorageContract


class TestMemoryStorage(StorageContract):
    """The contract, on memory."""

    @pytest.fixture
    async def storage(self) -> AsyncIterator[Storage]:
        """An empty storage."""
        yield MemoryStorage()
