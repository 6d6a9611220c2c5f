"""What `version` says of a hub."""

from atoll.cli.api import Api
from atoll.cli.choosing import HubChoice
from atoll.cli.hub import find
from atoll.cli.output import hint, say
from atoll.federation.errors import AtollError
from atoll.local.kubeconfig import Context

_PATIENCE_SECONDS = 5.0


def of_hub(choice: HubChoice) -> None:
    """Print the version of a hub. That none is found or answers is an error only where one was asked for."""
    try:
        _print(find(choice))
    except AtollError as error:
        if choice != HubChoice():
            raise
        hint(str(error))


def _print(context: Context) -> None:
    with Api(context.server, context.credentials, timeout_seconds=_PATIENCE_SECONDS) as api:
        shown = str(api.get("/version").get("gitVersion", ""))
    say(f"hub {shown.rpartition('+atoll-')[2] or 'of an unknown version'} at {context.server}")
