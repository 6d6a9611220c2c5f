"""What lies around a pod: how it reaches its own API server, as which account, and what its network translates.

Owns the variables and files that a real kubelet gives a container for it (kubernetes.io: Accessing the API from a Pod).
Pods of the account `default` get no token: a mount namespace for each of them would be paid for and never used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atoll.kubeapi.resource import Object
from atoll.sandbox.kubelet.paths import Mount

ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Surroundings:
    """What a cluster gives its pods.

    Attributes:
        port: of the API server's secure port on loopback; None gives no pod an account.
        ca: of its certificate, PEM.
        token: gives the token of an account by its namespace and name.
        variables: more variables for every container.
    """

    port: int | None = None
    ca: bytes = b""
    token: Callable[[str, str], str] = lambda _namespace, _name: ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Give the variables that every container has."""
        if self.port is None:
            return dict(self.variables)
        port = str(self.port)
        service = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
        return {**service, "KUBERNETES_SERVICE_PORT_HTTPS": port, **self.variables}

    def account_mount(self, pod: Object, folder: Path) -> tuple[Mount, ...]:
        """Write the files of a pod's account below its folder; give how they are mounted, nothing if it has none."""
        spec, namespace = pod["spec"], str(pod["metadata"]["namespace"])
        name = str(spec.get("serviceAccountName", "default"))
        if self.port is None or name == "default" or spec.get("automountServiceAccountToken") is False:
            return ()
        place = folder / "account"
        place.mkdir(parents=True, exist_ok=True)
        files = {"token": self.token(namespace, name).encode(), "ca.crt": self.ca, "namespace": namespace.encode()}
        for file, content in files.items():
            (place / file).write_bytes(content)
            (place / file).chmod(0o600)
        return (Mount(place, ACCOUNT_PATH, is_read_only=True),)
