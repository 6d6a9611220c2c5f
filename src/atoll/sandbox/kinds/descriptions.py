"""What `kubectl explain` says of the kinds that a simulated cluster serves, and of the parts that every object has.

Owns the words only. Single fields are not described: Kubernetes' own reference does that.
"""

from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    "CSIDriver": "What a volume driver of the cluster can do.",
    "CSIStorageCapacity": "Room that a volume driver has left for one storage class.",
    "CiliumCIDRGroup": "Networks that Cilium's policies name together.",
    "CiliumClusterwideNetworkPolicy": "A policy of Cilium for all namespaces and for nodes.",
    "CiliumEndpoint": "A pod as Cilium sees it, with its identity.",
    "CiliumIdentity": "A set of labels that Cilium's policies know by a number.",
    "CiliumNetworkPolicy": "A policy of Cilium for the pods of its namespace.",
    "CiliumNode": "A node as Cilium sees it.",
    "ClusterNetworkPolicy": "A policy of the cluster's administrators, before or after those of the namespaces.",
    "ClusterRole": "What those who are bound to it may do, everywhere or where a RoleBinding says.",
    "ClusterRoleBinding": "Who has a ClusterRole everywhere.",
    "ConfigMap": "Settings that pods read.",
    "Deployment": "Pods that are kept running and replaced one by one when their template changes.",
    "EndpointSlice": "Addresses behind a Service.",
    "Event": "Something that happened to another object; it is forgotten after a while.",
    "Job": "Pods that run to their end.",
    "Lease": "A claim that somebody renews as long as he lives.",
    "Namespace": "A room for names: what is in it goes with it.",
    "NetworkPolicy": "Who may reach the pods of its namespace, and whom they may reach.",
    "Node": "A machine that pods run on; here it is simulated.",
    "PersistentVolume": "A volume of the cluster; here it is a folder of this machine.",
    "PersistentVolumeClaim": "A pod's wish for a volume.",
    "Pod": "Containers that run together on a node; here they are processes of this machine.",
    "PodDisruptionBudget": "How many pods of a kind may be away on purpose at once; here nobody asks it.",
    "PodMetrics": "What the containers of a pod use, measured when it is asked for.",
    "Role": "What those who are bound to it may do in one namespace.",
    "RoleBinding": "Who has a Role, or a ClusterRole, in one namespace.",
    "Secret": "Settings that pods read and others should not.",
    "Service": "A name for pods. It is stored; nothing forwards traffic for it here.",
    "ServiceAccount": "A name that pods act under.",
    "ServiceExport": "A Service that other clusters of the mesh may use.",
    "StatefulSet": "Pods with a number, a name and a volume each, which stay theirs.",
    "StorageClass": "A sort of volumes, and who makes them.",
}
PARTS: Mapping[str, str] = {
    "spec": "What should be.",
    "status": "What is, as the controllers of the cluster see it.",
}
