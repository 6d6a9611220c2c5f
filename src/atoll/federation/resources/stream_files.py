"""What a Stream says of files that instruments leave in a folder of the gateway's, and what is said of their way.

Owns Stream.spec.files and the counters of it. A folder's name is data: which folders a gateway may read at all is said
on its own command line, never by the hub.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from atoll.federation.resources.base import DnsLabel, Duration, Model, NonNegative
from atoll.federation.resources.stream_reading import FieldPath, TopicFilter

_LONGEST_PATH = 1024


def _folder(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/") or not value.isprintable():
        raise ValueError("a folder below the root, with / between names and no ..; the root itself is .")
    return value


def _pattern(value: str) -> str:
    if value.startswith("/") or not value.isprintable():
        raise ValueError("a pattern of names such as *.tif, or of paths below the folder such as raw/**/*.tif")
    return value


Folder = Annotated[str, AfterValidator(_folder), Field(min_length=1, max_length=_LONGEST_PATH)]
Pattern = Annotated[str, AfterValidator(_pattern), Field(min_length=1, max_length=_LONGEST_PATH)]
AfterCommit = Literal["Keep", "Delete", "Move"]


class Settle(Model):
    """When a file is finished. Instruments write for minutes, and a file is read only when it is whole."""

    quiet: Duration = Field(
        default="10s", description="A file whose size and time of change stayed the same for so long is finished."
    )
    closed: bool = Field(
        default=False,
        description="It is finished as soon as no process of the gateway's machine has it open for writing. For "
        "folders on its own disk; where the system cannot tell (a share, somebody else's file), quiet decides.",
    )
    marker: str | None = Field(
        default=None,
        pattern=r"^[^/\x00]+$",
        max_length=64,
        description="It is finished when a file of the same name with this suffix is beside it, such as .done; quiet "
        "is not waited for. Such markers are not sent.",
    )


class Announcements(Model):
    """MQTT messages that name finished files. Only these are sent then; the folder is not watched."""

    topic: TopicFilter = Field(description="MQTT topic filter of the messages.")
    field: FieldPath | None = Field(
        default=None,
        description="Path of the field that holds the file's path, below the folder; the whole message if unset.",
    )


class FileSource(Model):
    """A folder whose files become files of the dataset, as they were."""

    root: DnsLabel | None = Field(
        default=None,
        description="Name of the root that the gateway was started with (--files-root NAME=DIR); needed if it has "
        "several.",
    )
    folder: Folder = Field(default=".", description="Folder below that root. Nothing outside of it is ever read.")
    patterns: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=100)] = Field(
        default=("*",),
        description="Which files: *.tif is of names in any folder, raw/*.tif of paths, ** stands for folders. A name "
        "that begins with a dot is meant only by a pattern that does.",
    )
    recursive: bool = Field(default=True, description="Files in folders below are meant, too.")
    settle: Settle = Field(default=Settle(), description="When a file is finished.")
    poll: Duration = Field(default="2s", description="How often the folder is looked through, at most.")
    afterwards: AfterCommit = Field(
        default="Keep",
        description="What is done with a file once it is in the dataset, and not before: Move puts it in the folder "
        ".atoll-sent.",
    )
    announcements: Announcements | None = Field(default=None, description="Files are announced over MQTT.")
    end_marker: Pattern | None = Field(
        default=None,
        description="A file of this pattern ends the run: the datasets of the files in its folder and below are "
        "complete with what was there before it. It is not sent.",
    )
    bytes_per_second: Annotated[int, Field(ge=1024)] | None = Field(
        default=None, description="Most that these files take of the link; no limit of their own if unset."
    )


class StreamFiles(Model):
    """Where the files of one Stream are on their way."""

    stream: str = Field(description="Namespace and name of the Stream.")
    waiting: NonNegative = Field(default=0, description="Files that are there and not sent yet, finished or not.")
    sending: str = Field(default="", description="The file that is being sent, and how much of it; empty if none.")
    sent: NonNegative = Field(default=0, description="Files that the hub has and the dataset does not yet.")
    committed: NonNegative = Field(default=0, description="Files that came into their dataset.")
    committed_bytes: NonNegative = Field(default=0, description="Their bytes.")
    bytes_per_second: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Sent, of late.")
    problems: NonNegative = Field(default=0, description="Files that cannot be sent as they are, or never could be.")
    last_problem: str = Field(default="", description="The newest of these problems; empty if there was none.")
