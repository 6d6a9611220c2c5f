"""Who needs a dataset's files: runs that read a version, jobs that wait for it, streams that write it.

Owns the reading of them. It is asked before something is deleted, never else: it looks at all unfinished work.
"""

from collections.abc import Iterable

from atoll.federation.bus.data_messages import DatasetReport
from atoll.federation.placement import input_keys
from atoll.federation.resources import FINISHED_JOB_PHASES, FINISHED_RUN_PHASES, Dataset, Job, Run, Stream
from atoll.hub.client import Client
from atoll.hub.controllers.dataset_scope import Needs


class DatasetNeeds:
    """Looks up who needs a dataset."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def of(self, dataset: Dataset) -> Needs:
        """Tell what unfinished runs have pinned, and which unfinished jobs name the dataset."""
        key = (dataset.metadata.namespace or "", dataset.metadata.name)
        runs = await self._client.list_unfinished(Run, FINISHED_RUN_PHASES, all_or_none=True)
        pinned = {
            (run.spec.cluster, given.version)
            for run in runs
            for given in run.spec.inputs
            if (given.namespace, given.dataset) == key
        }
        jobs = await self._client.list_unfinished(Job, FINISHED_JOB_PHASES, all_or_none=True)
        readers = [job.key for job in jobs if key in input_keys(job.spec, job.metadata.namespace or "")]
        return Needs(frozenset(pinned), tuple(readers))

    async def feeders(self, dataset: Dataset, reports: Iterable[DatasetReport]) -> tuple[str, ...]:
        """Name the streams that exist and have written to a version that still grows."""
        rows = [(row.gateway, row.stream) for report in reports if not report.complete for row in report.ledger.sources]
        streams = await self._client.list(Stream, dataset.metadata.namespace, all_or_none=True)
        return tuple(
            stream.metadata.name
            for stream in streams
            if any(
                gateway == stream.spec.gateway and name in (stream.metadata.name, stream.key) for gateway, name in rows
            )
        )
