"""What followers of a table are given: changes of keys, and the moment when all that was there has been given."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Change:
    """A key's newest value; None says that the key is gone.

    `stored_at` is when the server stored it, by the server's clock, in seconds since 1970; a follower gives it.
    """

    key: str
    value: bytes | None
    revision: int
    stored_at: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Synced:
    """All that was there has been given; what follows is live. A key not given since the snapshot began is gone.

    `keys` names what is there, if the table is a member's own. `damaged` names keys that are there, but whose newest
    value cannot be read: what was known of them stands. `has_gone_back`: the stream has not come to a revision that the
    follower has seen, as after a restore of an older copy; what is missing was lost and not deleted.
    """

    revision: int
    keys: frozenset[str] = field(default=frozenset(), compare=False)
    damaged: frozenset[str] = field(default=frozenset(), compare=False)
    has_gone_back: bool = field(default=False, compare=False)
