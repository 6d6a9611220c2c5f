"""The options of the store's methods, as keyword arguments.

Owns their names and types only; what they mean is said where they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from atoll.kubeapi.deletion import Propagation
from atoll.kubeapi.writing import Admit, FieldValidation


class WriteArguments(TypedDict, total=False):
    """The options of every write; see WriteOptions."""

    subresource: str
    dry_run: bool
    field_manager: str
    field_validation: FieldValidation
    force: bool
    warn: Callable[[str], None]
    admit: Admit
    takes_status: bool


class ListArguments(TypedDict, total=False):
    """The options of a list; see Query."""

    label_selector: str
    field_selector: str
    limit: int
    continue_token: str
    resource_version: str
    resource_version_match: str
    send_initial: bool | None


class WatchArguments(TypedDict, total=False):
    """The options of a watch.

    `resource_version`: empty or "0" begins with the current state as ADDED events, a number continues after it.
    `send_initial`: True sends the current state and then a bookmark that ends it; False sends none of it.
    `marks_initial`: sends that bookmark where no others are wanted: it costs nothing while the watch is quiet.
    """

    label_selector: str
    field_selector: str
    resource_version: str
    bookmarks: bool
    send_initial: bool | None
    marks_initial: bool


class DeleteArguments(TypedDict, total=False):
    """The options of a deletion; see DeleteRequest."""

    uid: str
    resource_version: str
    propagation: Propagation
    grace_seconds: int | None
    dry_run: bool
