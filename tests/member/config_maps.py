"""ConfigMaps in the namespace `lab`: the plainest objects there are, for the tests of door and informer."""

from atoll.edge.member.objects import Kind, Object, Selection

CONFIG_MAP = Kind("v1", "ConfigMap")
LAB = Selection("lab")


def config_map(name: str, **data: str) -> Object:
    metadata = {"name": name, "namespace": "lab", "labels": {"app": "x"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])
