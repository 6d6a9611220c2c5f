"""What `apply` does to one manifest, and the words for its outcome."""

from atoll.cli.api import Api, Json
from atoll.cli.manifests import Manifest
from atoll.federation.errors import Conflict, InvalidInput


def apply(api: Api, manifest: Manifest, *, namespace: str, dry_run: bool = False, force: bool = False) -> str:
    """Apply one manifest; give the line that tells what came of it.

    Raises:
        InvalidInput: the hub refused it; the message names the file.
        Conflict: others manage fields that it sets; the message says which and what to do.
    """
    target = manifest.namespace(namespace)
    body = _placed(manifest.body, target)
    note = " (dry run)" if dry_run else ""
    try:
        if not manifest.name:
            made = api.create(manifest.ref.collection(target), body, dry_run=dry_run)
            return f"{manifest.ref.qualified}/{made['metadata']['name']} created{note}"
        path = manifest.ref.path(target, manifest.name)
        before = api.find(path)
        after = api.apply(path, body, dry_run=dry_run, force=force)
    except InvalidInput as error:
        raise InvalidInput(f"{manifest.place}: {error}", error.problems) from error
    except Conflict as error:
        raise Conflict(f"{manifest.place}: {error} (--force-conflicts takes the fields over)") from error
    return f"{manifest.ref.qualified}/{manifest.name} {_outcome(before, after)}{note}"


def _placed(body: Json, namespace: str | None) -> Json:
    """Fill in the namespace that the manifest leaves to the command line."""
    return {**body, "metadata": {**body.get("metadata", {}), "namespace": namespace}} if namespace else body


def _outcome(before: Json | None, after: Json) -> str:
    if before is None:
        return "created"
    return "unchanged" if _meaning(before) == _meaning(after) else "configured"


def _meaning(found: Json) -> Json:
    """Give an object without what each write changes by itself."""
    metadata = {
        k: v for k, v in found["metadata"].items() if k not in ("managedFields", "resourceVersion", "generation")
    }
    return {**{k: v for k, v in found.items() if k != "status"}, "metadata": metadata}
