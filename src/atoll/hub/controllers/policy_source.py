"""The policies of a set as Git has them: read again when it is time, and by commit while one is in force.

Owns readings. Git is slow and may be away: what was read last is given on, and why the newest attempt failed.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from atoll.federation.capacity import parse_duration
from atoll.federation.errors import AtollError
from atoll.federation.resources import PolicySet
from atoll.hub.controllers.context import Context
from atoll.policies.bundle import Bundle, GitSource, SignatureRefused, load_bundle
from atoll.policies.features import DEFAULT_FEATURES, Features
from atoll.policies.git import NOBODY, Signers
from atoll.policies.remotes.reach import AddressRefused
from atoll.policies.remotes.url import public_url

log = structlog.get_logger(__name__)

# Below this, a busy repository is fetched all the time; the interval of a set may not be shorter.
_SHORTEST_POLL_SECONDS = 1.0
_LEAST_SECONDS = 0.05
_PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class Reading:
    """The newest good bundle of a set, and how the newest attempt to read went."""

    source: GitSource
    bundle: Bundle | None
    read_at: datetime
    reason: str = "Read"
    message: str = ""

    @property
    def is_fresh(self) -> bool:
        """Whether the newest attempt gave the bundle."""
        return self.reason == "Read"


class PolicyReader:
    """Reads the repositories of policy sets."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._readings: dict[str, Reading] = {}
        self._by_commit: dict[str, dict[str, Bundle]] = {}
        self._features = DEFAULT_FEATURES

    def forget(self, name: str) -> None:
        """Drop what was read for a set."""
        self._readings.pop(name, None)
        self._by_commit.pop(name, None)

    def due_seconds(self, policyset: PolicySet, reading: Reading) -> float:
        """Give the seconds until the repository is looked at again."""
        interval = max(_SHORTEST_POLL_SECONDS, parse_duration(policyset.spec.source.interval))
        age = (self._context.clock() - reading.read_at).total_seconds()
        if age < 0:  # this machine's clock was set back: how old the reading is, nobody knows
            return _LEAST_SECONDS
        return max(_LEAST_SECONDS, interval - age)

    async def read(self, policyset: PolicySet, features: Features = DEFAULT_FEATURES) -> Reading:
        """Give the last reading while it is young enough, else read again.

        Args:
            policyset: the set.
            features: what the agents of some clusters have switched on: policies may say what only they enforce.
        """
        self._features = features
        source, name = source_of(policyset), policyset.metadata.name
        known = self._readings.get(name)
        if known is not None and known.source == source and self.due_seconds(policyset, known) > _LEAST_SECONDS:
            return known
        last = known.bundle if known is not None and known.source.repository == source.repository else None
        last = last or await self.bundle(policyset, policyset.status.commit)
        reading = await self._read_again(source, last)
        self._readings[name] = reading
        if last is not None and reading.bundle is not last:
            self._by_commit.setdefault(name, {})[last.commit] = last
        return reading

    async def bundle(self, policyset: PolicySet, commit: str) -> Bundle | None:
        """Give the policies of a commit that was accepted before; None if it is not to be had.

        It is in the mirror on disk, so that no network is needed; its signers are those of its day.
        """
        name = policyset.metadata.name
        known, reading = self._by_commit.setdefault(name, {}), self._readings.get(name)
        if not commit:
            return None
        if reading is not None and reading.bundle is not None and reading.bundle.commit == commit:
            return reading.bundle
        if commit not in known:
            try:
                source = replace(source_of(policyset), revision=commit, signers=NOBODY)
                alike = reading.bundle if reading is not None else next(iter(known.values()), None)
                known[commit] = await self._load(source, alike)
            except AtollError:
                return None
        return known[commit]

    async def _load(self, source: GitSource, last: Bundle | None) -> Bundle:
        context = self._context
        return await load_bundle(
            source, context.policies_dir, reach=context.git_reach, features=self._features, last=last
        )

    def keep(self, name: str, commits: frozenset[str]) -> None:
        """Drop bundles of commits that are in force nowhere any more, but for the newest: it is compared with."""
        known = self._by_commit.get(name, {})
        others = [commit for commit in known if commit not in commits]
        for commit in others[:-1]:
            del known[commit]

    async def _read_again(self, source: GitSource, last: Bundle | None) -> Reading:
        now = self._context.clock()
        try:
            bundle = await self._load(source, last)
        except (SignatureRefused, AddressRefused) as error:
            return Reading(source, last, now, error.reason, str(error))
        except AtollError as error:
            log.info(
                "a policy repository could not be read", repository=public_url(source.repository), reason=error.reason
            )
            return Reading(source, last, now, "SourceUnreadable", str(error))
        if not bundle.is_valid:
            shown = "; ".join(str(problem) for problem in bundle.problems[:_PROBLEMS_SHOWN])
            message = f"commit {bundle.commit[:12]} has {len(bundle.problems)} problems and is not rolled out: {shown}"
            return Reading(source, last, now, "InvalidPolicies", message)
        return Reading(source, bundle, now)


def source_of(policyset: PolicySet) -> GitSource:
    """Give what a set reads; a pinned commit stands before the branch."""
    spec, pinned = policyset.spec.source, policyset.spec.pinned_commit
    signers = Signers(spec.signed_by.ssh_keys, spec.signed_by.gpg_keys) if spec.signed_by is not None else NOBODY
    return GitSource(spec.repository, pinned or spec.revision, spec.path, signers)
