"""How a gateway speaks with its broker. Secrets are no part of it: they lie on the gateway's own machine."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from atoll.federation.resources.base import Duration, Model


def _topic(value: str) -> str:
    if {"+", "#", "\x00"} & set(value) or value.startswith("$"):
        raise ValueError("a topic to publish to has no + and no #, and does not begin with $")
    return value


class MqttSpec(Model):
    """The session that the gateway asks its broker for."""

    version: Literal["Auto", "5", "3.1.1"] = Field(
        default="Auto", description="Version of MQTT; Auto: 5, and 3.1.1 if the broker does not speak it."
    )
    client_id: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$")] | None = Field(
        default=None, description="Name of the session at the broker; atoll-gateway-NAME if unset."
    )
    receive_maximum: Annotated[int, Field(ge=1, le=8000)] = Field(
        default=2000,
        description="Messages that may be unacknowledged at once (MQTT 5): what comes again after a lost connection.",
    )
    keep_alive: Duration = Field(default="15s", description="After so long without a word the connection is checked.")
    session_expiry: Duration = Field(
        default="7d", description="How long the broker keeps what comes while the gateway is away (MQTT 5)."
    )
    shared_group: Annotated[str, StringConstraints(pattern=r"^[^/+#\s]{1,100}$")] | None = Field(
        default=None,
        description="Subscribe as a member of this group, so that the broker gives each message to one of several "
        "gateways. A member that is away keeps its share waiting for it: this divides load, it is no standby.",
    )
    status_topic: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_topic)] | None = Field(
        default=None,
        description="Topic that holds `online`, retained, while the gateway is connected, and `offline` by its last "
        "will when it is gone.",
    )
