"""A small store of typed objects, as the scheduler reads and writes them; its hub can die between two writes."""

from atoll.federation.errors import Conflict, Unavailable


class Store:
    """The hub's store: guarded writes, durable at once. `writes_left` None: the hub lives."""

    def __init__(self):
        self.objects = {}
        self.revision = 0
        self.writes_left = None

    def put(self, resource):
        self.revision += 1
        kept = resource.metadata.model_copy(update={"resource_version": str(self.revision)})
        resource = resource.model_copy(update={"metadata": kept})
        self.objects[type(resource), resource.metadata.namespace, resource.metadata.name] = resource
        return resource

    def all(self, model):
        return [each for (kind, _, _), each in self.objects.items() if kind is model]

    async def get(self, model, namespace, name):
        return self.objects.get((model, namespace, name))

    async def list(self, model, namespace=None, *, name_prefix=""):
        return [
            each
            for each in self.all(model)
            if (namespace is None or each.metadata.namespace == namespace)
            and each.metadata.name.startswith(name_prefix)
        ]

    async def list_unfinished(self, model, ends):
        return [each for each in self.all(model) if each.status.phase not in ends]

    async def create(self, resource):
        self._spend()
        if (type(resource), resource.metadata.namespace, resource.metadata.name) in self.objects:
            raise Conflict(f"{resource.metadata.name} exists")
        return self.put(resource)

    async def update_status(self, resource):
        self._spend()
        held = self.objects.get((type(resource), resource.metadata.namespace, resource.metadata.name))
        if held is None or held.metadata.resource_version != resource.metadata.resource_version:
            raise Conflict(f"{resource.metadata.name} has changed")
        return self.put(held.model_copy(update={"status": resource.status}))

    def _spend(self):
        if self.writes_left is None:
            return
        if self.writes_left == 0:
            raise Unavailable("the hub was killed")
        self.writes_left -= 1
