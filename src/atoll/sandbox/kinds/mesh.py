"""Kinds by which services are offered beyond one cluster: EndpointSlices, and ServiceExports of the MCS API.

Owns schemas deep enough for apply. Nobody here makes slices of pods: no traffic flows between simulated clusters.
"""

from __future__ import annotations

from atoll.kubeapi.resource import Column
from atoll.sandbox.kinds.native import Names, native
from atoll.sandbox.kinds.shape import ANY, CONDITIONS, INTEGER, STRING, STRINGS, array, struct

ENDPOINT_SLICE = native(
    Names("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    {
        "addressType": STRING,
        "endpoints": array(
            struct(
                {
                    "addresses": STRINGS,
                    "conditions": ANY,
                    "hostname": STRING,
                    "nodeName": STRING,
                    "targetRef": ANY,
                    "zone": STRING,
                    "hints": ANY,
                    "deprecatedTopology": ANY,
                },
                required=("addresses",),
            )
        ),
        "ports": array(struct({"name": STRING, "protocol": STRING, "port": INTEGER, "appProtocol": STRING})),
    },
    columns=(Column("AddressType", "string", ".addressType"),),
)
SERVICE_EXPORT = native(
    Names("multicluster.x-k8s.io/v1alpha1", "ServiceExport", "serviceexports", short=("svcex", "svcexport")),
    {"spec": ANY, "status": struct({"conditions": CONDITIONS})},
)
