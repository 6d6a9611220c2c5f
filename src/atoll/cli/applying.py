"""What `apply` does to manifests, and the words for each outcome."""

from collections.abc import Iterator, Sequence

from atoll.cli.api import Api, Json
from atoll.cli.manifests import Manifest
from atoll.cli.output import hint, plural, say
from atoll.federation.errors import AtollError, Conflict, InvalidInput, NotFound, Unavailable
from atoll.policies.yamldoc import line_of


def apply_all(
    api: Api, manifests: Sequence[Manifest], *, namespace: str, dry_run: bool = False, force: bool = False
) -> bool:
    """Apply every manifest and tell what came of each; one that the hub refuses does not keep the others from it.

    Returns:
        Whether the hub took all of them.

    Raises:
        Unavailable: the hub does not answer; what was not told was not tried.
    """
    refused = 0
    for manifest in manifests:
        try:
            say(apply(api, manifest, namespace=namespace, dry_run=dry_run, force=force))
        except Unavailable:
            raise
        except AtollError as error:
            refused += 1
            for line in _refusal(manifest, error):
                hint(f"error: {line}")
    if refused:
        hint(f"{refused} of {plural(len(manifests), 'manifest')} not applied")
    return refused == 0


def apply(api: Api, manifest: Manifest, *, namespace: str, dry_run: bool = False, force: bool = False) -> str:
    """Apply one manifest; give the line that tells what came of it.

    Raises:
        AtollError: the hub refused it.
    """
    target = manifest.namespace(namespace)
    body = _placed(manifest.body, target)
    note = " (dry run)" if dry_run else ""
    if not manifest.name:
        made = api.create(manifest.ref.collection(target), body, dry_run=dry_run)
        return f"{manifest.ref.qualified}/{made['metadata']['name']} created{note}"
    path = manifest.ref.path(target, manifest.name)
    before = api.find(path)
    after = api.apply(path, body, dry_run=dry_run, force=force)
    return f"{manifest.ref.qualified}/{manifest.name} {_outcome(before, after)}{note}"


def _refusal(manifest: Manifest, error: AtollError) -> Iterator[str]:
    """Say why the hub refused a manifest: file, line, object, and each field where the hub names it."""
    who = f"{manifest.ref.name}/{manifest.name or '(no name)'}"
    if isinstance(error, InvalidInput) and error.problems:
        for problem in error.problems:
            field = str(problem).partition(": ")[0]
            yield f"{manifest.file}:{line_of(manifest.lines, field)}: {who} {problem}"
        return
    yield f"{manifest.place}: {who}: {error}{_remedy(error)}"


def _remedy(error: AtollError) -> str:
    if isinstance(error, NotFound):
        return ": create it first"
    return " (--force-conflicts takes the fields over)" if isinstance(error, Conflict) else ""


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
