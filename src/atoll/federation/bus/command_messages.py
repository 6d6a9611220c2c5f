"""What hub and agent say to each other while somebody runs a command in a container of a run. No I/O.

The call `exec` is answered by frames: the first byte of each is the number of its channel, as in Kubernetes' remote
command protocol (k8s.io/apimachinery/pkg/util/remotecommand). An empty frame on OPENED comes first; the Status of the
command's end, on RESULT, comes last. What is typed comes by calls `exec-input`, each answered when it was written.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import ConfigDict, Field

from atoll.federation.bus.messages import Message

STDIN, STDOUT, STDERR, RESULT, RESIZE = range(5)
OPENED = 255
# A frame stays well below the longest message of NATS (max_payload, 1 MiB), and base64 adds a third to what is typed.
LONGEST_FRAME_BYTES = 256 * 1024
WRITTEN, GONE = b"written", b"gone"
"""The answers to `exec-input`: the command took it, or there is no such command any more."""


class ExecRequest(Message):
    """rpc exec. Runs a command in a container of a run's pod; `session` is the secret by which input finds it."""

    namespace: str
    run: str
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    pod: str | None = Field(default=None, description="Unset: the run's first pod that runs.")
    container: str | None = Field(default=None, description="Unset: the one that kubectl would take.")
    has_stdin: bool = False
    has_terminal: bool = False
    session: Annotated[str, Field(min_length=16)]


class ExecInput(Message):
    """rpc exec-input. Something that was typed, the terminal's new size, or the end of what is typed."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    session: str
    channel: Annotated[int, Field(ge=STDIN, le=RESIZE)]
    data: bytes = b""
    is_last: bool = False


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut data into what fits into a frame."""
    for start in range(0, len(data), LONGEST_FRAME_BYTES):
        yield data[start : start + LONGEST_FRAME_BYTES]
