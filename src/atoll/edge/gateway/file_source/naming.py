"""Which dataset a file belongs to: the Stream's template, filled with the file's names and times. Pure."""

from pathlib import PurePosixPath

from atoll.edge.gateway.file_source.roots import Signature
from atoll.edge.gateway.naming import resolve
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.bus.file_names import safe_path
from atoll.federation.resources.dataset_template import Placeholder, parse_template


def dataset_of(order: StreamOrder, path: bytes, signature: Signature) -> str | None:
    """Give the dataset's name; None if the template makes none of this file.

    Times are those at which the file was changed last, so that it keeps its dataset however late it is sent.
    """
    *folders, name = safe_path(path).split("/")

    def value(part: Placeholder) -> str:
        match part.kind:
            case "stream":
                return order.name
            case "file":
                return PurePosixPath(name).stem
            case "path" if part.index < len(folders):
                return folders[part.index]
        return ""

    named = resolve(parse_template(order.spec.dataset), signature.mtime_ns, value)
    return named.dataset if named is not None else None
