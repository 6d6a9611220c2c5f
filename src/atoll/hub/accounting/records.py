"""Account records: what one run took on one day. Owns their form."""

from datetime import date, datetime

from pydantic import ValidationError

from atoll.federation.errors import Internal
from atoll.federation.resources import Model
from atoll.hub.accounting.amounts import Amounts, of_record


class AccountRecord(Model):
    """What one run took on one day (UTC). The last one of a run `is_final`, and says how the run ended.

    `is_estimated`: no agent has told what the run took, as where its cluster was lost, or its cluster's prices are not
    known any more; it is reckoned from what it asked for and for how long it was believed to run.
    """

    uid: str
    day: date
    namespace: str
    job: str
    run: str
    epoch: int
    user: str = ""
    queue: str = ""
    cluster: str = ""
    gpu_model: str = ""
    gpus: int = 0
    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_byte_seconds: float = 0.0
    staged_bytes: float = 0.0
    egress_bytes: float = 0.0
    cost: float = 0.0
    started_at: datetime | None = None
    ended_at: datetime
    phase: str = ""
    reason: str = ""
    is_final: bool = True
    is_estimated: bool = False

    @property
    def key(self) -> str:
        """Under which it is stored, once: one final record of a run, and one of each day that was over before."""
        return final_key(self.uid) if self.is_final else day_key(self.uid, self.day)

    @property
    def amounts(self) -> Amounts:
        """What it adds to sums."""
        return of_record(self, runs=1.0 if self.is_final else 0.0)

    @classmethod
    def read(cls, payload: bytes) -> "AccountRecord":
        """Read a stored record.

        Raises:
            Internal: the bytes are none.
        """
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            raise Internal(f"not an account record: {error.errors(include_url=False)[0]['msg']}") from error


def final_key(uid: str) -> str:
    """Name the last record of a run; not by its day, which may be another one when a hub tries again."""
    return f"final/{uid}"


def day_key(uid: str, day: date) -> str:
    """Name the record of a day on which a run went on."""
    return f"{day.isoformat()}/{uid}"
