"""What a pod has mounted of a Secret or a ConfigMap becomes what that holds by now, while the pod runs."""

import base64
from pathlib import Path
from typing import Any

from atoll.kubeapi.patch import Patch
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import SECRET, registry
from atoll.sandbox.kubelet.volumes import Volumes

POD: dict[str, Any] = {
    "metadata": {"name": "sink", "namespace": "lab"},
    "spec": {"volumes": [{"name": "credentials", "secret": {"secretName": "c"}}, {"name": "scratch", "emptyDir": {}}]},
}


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


async def test_a_renewed_secret_comes_into_the_folder_of_a_pod_that_runs(tmp_path: Path) -> None:
    """A campaign found it: data services of a sandbox were shut out for good once their first credentials had ended."""
    store = Store(registry(()), MemoryStorage())
    await store.start()
    secret = {"metadata": {"name": "c"}, "data": {"user.creds": encoded(b"old"), "ca.crt": encoded(b"ca")}}
    await store.create(SECRET, secret, namespace="lab")
    volumes = Volumes(store)
    folder = (await volumes.prepare(POD, tmp_path))["credentials"][0]
    kept = (folder / "ca.crt").stat().st_ino
    await store.patch(SECRET, "lab", "c", Patch("merge", {"data": {"user.creds": encoded(b"new")}}))
    await volumes.refresh(POD, tmp_path)
    assert (folder / "user.creds").read_bytes() == b"new"
    assert (folder / "ca.crt").stat().st_ino == kept, "what is right already is left alone"
    await store.delete(SECRET, "lab", "c")
    await volumes.refresh(POD, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"user.creds", "ca.crt"}, "what was there stays for who runs"
    await store.close()
