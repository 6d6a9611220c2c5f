"""Roles and their bindings: rbac.authorization.k8s.io/v1.

Owns their schemas and columns; who may do what with them is access.py's.
"""

from __future__ import annotations

from atoll.kubeapi.resource import Column
from atoll.sandbox.kinds.native import Names, native
from atoll.sandbox.kinds.shape import ANY, STRING, STRINGS, array, atomic, struct

_GROUP = "rbac.authorization.k8s.io/v1"
_RULES = array(
    struct(
        {
            "verbs": STRINGS,
            "apiGroups": STRINGS,
            "resources": STRINGS,
            "resourceNames": STRINGS,
            "nonResourceURLs": STRINGS,
        },
        required=("verbs",),
    )
)
_ROLE_REFERENCE = atomic(struct({"apiGroup": STRING, "kind": STRING, "name": STRING}, required=("kind", "name")))
_SUBJECTS = array(
    struct({"kind": STRING, "apiGroup": STRING, "name": STRING, "namespace": STRING}, required=("kind", "name"))
)
_BINDING = {"roleRef": _ROLE_REFERENCE, "subjects": _SUBJECTS}
_BINDING_COLUMNS = (Column("Role", "string", ".roleRef.name"),)

ROLE = native(Names(_GROUP, "Role", "roles"), {"rules": _RULES})
CLUSTER_ROLE = native(
    Names(_GROUP, "ClusterRole", "clusterroles"), {"rules": _RULES, "aggregationRule": ANY}, namespaced=False
)
ROLE_BINDING = native(Names(_GROUP, "RoleBinding", "rolebindings"), _BINDING, columns=_BINDING_COLUMNS)
CLUSTER_ROLE_BINDING = native(
    Names(_GROUP, "ClusterRoleBinding", "clusterrolebindings"), _BINDING, namespaced=False, columns=_BINDING_COLUMNS
)
