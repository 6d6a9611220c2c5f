"""Data services are reconciled when their order or their Deployment changes."""

from atoll.edge.member.desired import SERVICES
from atoll.edge.member.informer import Informer
from atoll.edge.member.objects import Selection
from atoll.edge.member.services import DEPLOYMENT, SERVICE_SELECTOR, ServiceController
from atoll.edge.member.wiring.parts import Parts, all_of, now
from atoll.edge.member.work import Worker


async def keep_services(parts: Parts) -> None:
    """Keep what is ordered, for ever."""
    orders, records = parts.orders, parts.service_records
    credentials = parts.data_credentials if parts.settings.enrolment.hub_url else None
    controller = ServiceController(
        parts.kube, orders, records=records, reports=parts.reporter, now=now, credentials=credentials
    )
    worker = Worker("services", controller.reconcile)
    orders.on_change(SERVICES, worker.add)

    def on_deployment(key: str) -> None:
        namespace = key.partition("/")[0]
        if orders.has(SERVICES, namespace):
            worker.add(namespace)

    selection = Selection(label_selector=SERVICE_SELECTOR)
    deployments = Informer(parts.kube, DEPLOYMENT, project=lambda _obj: None, selection=selection)
    deployments.on_change(on_deployment)
    deployments.on_list(lambda: parts.add_all(SERVICES, worker))
    await all_of(worker.run(), deployments.run(), parts.end_leftovers(records, worker))
