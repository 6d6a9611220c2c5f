"""What a hub and its NATS are given in a cluster: names, the accounts that NATS starts with, the Secrets. Pure.

Keys and certificates are made elsewhere and are files in one folder; here it is decided what they are called there and
how `kubectl apply -k` makes Secrets of them. The manifests that use the Secrets are in deploy/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from atoll.federation.bus.nats_keys import ACCOUNTS, OPERATOR, SYSTEM, Keys

HUB, NATS = "atoll-hub", "atoll-nats"
# Of the two services of NATS, the one whose name stands for any of its servers.
MEMBERS = f"{NATS}-members"
NAMESPACE = "atoll"
KEYS_FOLDER, ACCOUNTS_FILE = "nats-keys", "accounts.conf"
# The server's environment says where it keeps accounts: in a volume, for the hub tells it who was revoked.
ACCOUNTS_STORE = "$ACCOUNTS_STORE"
_KEY_FILES = tuple(f"{name.lower()}.nk" for name in (OPERATOR, *ACCOUNTS))


@dataclass(frozen=True)
class Addresses:
    """The names by which a hub and its NATS are reached from outside; those inside the cluster follow."""

    hub: tuple[str, ...] = ()
    nats: tuple[str, ...] = ()
    namespace: str = NAMESPACE

    @property
    def hub_names(self) -> frozenset[str]:
        """Every name that the hub's certificate has to hold; localhost is for `kubectl port-forward`."""
        return frozenset((*self.hub, *_in_cluster(HUB, self.namespace), "localhost", "127.0.0.1"))

    @property
    def nats_names(self) -> frozenset[str]:
        """Every name that NATS's certificate has to hold: of the members' service, and of each server."""
        servers = (f"*.{name}" for name in _in_cluster(NATS, self.namespace) if "." in name)
        return frozenset((*self.nats, *_in_cluster(MEMBERS, self.namespace), *servers, "localhost"))


def _in_cluster(service: str, namespace: str) -> tuple[str, ...]:
    """Name a service as pods of its cluster do (Kubernetes DNS specification, section 2.3)."""
    return (
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
    )


def accounts_config(keys: Keys) -> str:
    """Give the part of NATS's configuration by which it knows the accounts.

    A server that has an account already keeps the newer of the two, so that a restart forgets nobody who was revoked
    (nats-server, `server/dirstore.go`, saveIfNewer).
    """
    accounts = "\n".join(f'  {keys.public(name)}: "{keys.account_jwt(name)}"' for name in ACCOUNTS)
    return (
        f'operator: "{keys.operator_jwt()}"\n'
        f'system_account: "{keys.public(SYSTEM)}"\n'
        f"resolver: {{ type: full, dir: {ACCOUNTS_STORE} }}\n"
        f"resolver_preload: {{\n{accounts}\n}}\n"
    )


def kustomization(namespace: str) -> str:
    """Give the kustomization that makes Secrets of a folder of credentials."""
    described: Mapping[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        # Their names stand in deploy/: a new certificate is read at the next start of a pod.
        "generatorOptions": {"disableNameSuffixHash": True},
        "secretGenerator": [
            _tls_secret(HUB),
            _tls_secret(NATS),
            {"name": f"{NATS}-keys", "files": [f"{KEYS_FOLDER}/{name}" for name in _KEY_FILES]},
            {"name": f"{NATS}-accounts", "files": [ACCOUNTS_FILE]},
        ],
    }
    return "# Written by 'atoll hub credentials'. The CA's key stays out of the cluster.\n" + yaml.safe_dump(
        described, sort_keys=False
    )


def _tls_secret(name: str) -> Mapping[str, Any]:
    short = name.removeprefix("atoll-")
    files = [f"tls.crt={short}.crt", f"tls.key={short}.key", "ca.crt=ca.crt"]
    return {"name": f"{name}-tls", "type": "kubernetes.io/tls", "files": files}
