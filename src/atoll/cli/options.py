"""The options that many commands share, spelled once."""

from enum import StrEnum
from typing import Annotated

import typer

from atoll.cli import completing


class Output(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class RecordOutput(StrEnum):
    """What `-o` takes where there is one record without a name or wide columns."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class LogOutput(StrEnum):
    """What `-o` takes where there are records without names, one after the other."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


class ManifestOutput(StrEnum):
    """What `-o` takes where manifests are printed that are for kubectl."""

    YAML = "yaml"
    JSON = "json"


class ObjectOutput(StrEnum):
    """What `-o` takes where a table has no wide columns."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class AccountOutput(StrEnum):
    """What `-o` takes where there are accounts, which may go to a file."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class By(StrEnum):
    """What `--by` takes: what is told apart in accounts."""

    RUN = "run"
    JOB = "job"
    USER = "user"
    QUEUE = "queue"
    DAY = "day"


class LossPolicy(StrEnum):
    """What `--loss-policy` takes: what becomes of a job whose cluster is lost or drained."""

    WAIT = "Wait"
    FAILOVER = "Failover"
    DUPLICATE = "Duplicate"


Namespace = Annotated[
    str,
    typer.Option(
        "--namespace", "-n", envvar="ATOLL_NAMESPACE", help="Namespace.", autocompletion=completing.of("namespaces")
    ),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Every namespace.")]
Selector = Annotated[str, typer.Option("--selector", "-l", metavar="LABELS", help="Label selector, as kubectl's.")]
OutputFormat = Annotated[Output, typer.Option("--output", "-o", help="Form of the output.")]
RecordFormat = Annotated[RecordOutput, typer.Option("--output", "-o", help="Form of the output.")]
LogFormat = Annotated[LogOutput, typer.Option("--output", "-o", help="Form of the output.")]
ObjectFormat = Annotated[ObjectOutput, typer.Option("--output", "-o", help="Form of the output.")]
ShowManagedFields = Annotated[bool, typer.Option("--show-managed-fields", help="With who manages which field.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Keep printing changes until Ctrl-C.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Let the hub check it and change nothing.")]
HomeFolder = Annotated[
    str | None, typer.Option("--home", metavar="FOLDER", help="Home folder; default: $ATOLL_HOME or ~/.atoll.")
]
NoContext = Annotated[
    bool, typer.Option("--no-context", help="Leave the kubeconfig alone: add no context, make none current.")
]

DatasetName = Annotated[
    str, typer.Argument(metavar="NAME", help="The dataset.", autocompletion=completing.of("datasets"))
]
DatasetVersion = Annotated[
    int | None, typer.Option("--version", min=1, metavar="N", help="This version; default: the newest one.")
]
JobName = Annotated[str, typer.Argument(metavar="NAME", help="The job.", autocompletion=completing.of("jobs"))]
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What the container runs.")]
