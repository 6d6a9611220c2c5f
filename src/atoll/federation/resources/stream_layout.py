"""What a Stream says of its files: their form, when one is closed and the next begun, the columns of tables.

Owns these parts of Stream.spec. It must not know how a sink writes them.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from atoll.federation.resources.base import Duration, Model
from atoll.federation.resources.stream_reading import FieldPath

StreamFormat = Literal["raw", "jsonl", "parquet"]
Compression = Literal["None", "Zstd"]
Partitions = Literal["None", "Hour", "Day"]
ColumnType = Literal["Boolean", "Integer", "Number", "String"]


class Roll(Model):
    """When a file is closed and the next one begun.

    What can be appended to (raw, plain JSON lines) is rolled only if this says so. What cannot (Parquet, Zstd) is held
    back until then, 64 MB or a minute if nothing is said; its readings stay in the gateway's log meanwhile.
    """

    bytes: Annotated[int, Field(ge=1024, le=1 << 32)] | None = Field(
        default=None, description="Size at which it is closed; absent: 64 MB, of what is held back before compression."
    )
    age: Duration | None = Field(
        default=None, description="How long after its first reading it is closed; absent: 1m, where one has to be."
    )


class Column(Model):
    """One column of a table, and the field of the payload that it takes its values from."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.]*$", max_length=128)] = Field(
        description="The column's name: a letter, then letters, digits, '_' or '.'."
    )
    field: FieldPath | None = Field(
        default=None, description="Path of the field, such as channels[0].value; the column's name if unset."
    )
    type: ColumnType = Field(
        description="Integer: 64 bits with sign; Number: 64 bits floating. A value that is none of it is kept beside."
    )
