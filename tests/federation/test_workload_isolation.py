"""A job may not take what is its node's or its neighbours': Kubernetes' Pod Security Standards, in any workload."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.workloads import breaches, level_of


def pod(**fields: Any) -> dict[str, Any]:
    """Make a pod spec with one container."""
    return {"containers": [{"name": "main", "image": "busybox"}], **fields}


def container(**context: Any) -> dict[str, Any]:
    """Make a pod spec whose container has a security context."""
    return {"containers": [{"name": "main", "image": "busybox", "securityContext": context}]}


def fields(manifest: Any, level: str = "baseline") -> list[str]:
    return [field for field, _ in breaches(manifest, level, "spec")]


BASELINE = {
    "the node's network": (pod(hostNetwork=True), "spec.hostNetwork"),
    "the node's processes": (pod(hostPID=True), "spec.hostPID"),
    "as Spark's operator writes it": ({"driver": {"hostNetwork": True}}, "spec.driver.hostNetwork"),
    "a folder of the node": (pod(volumes=[{"name": "x", "hostPath": {"path": "/"}}]), "spec.volumes[0].hostPath"),
    "a port of the node": (
        {"containers": [{"name": "a", "ports": [{"hostPort": 80}]}]},
        "spec.containers[0].ports[0].hostPort",
    ),
    "everything": (container(privileged=True), "spec.containers[0].securityContext.privileged"),
    "a capability": (
        container(capabilities={"add": ["SYS_ADMIN"]}),
        "spec.containers[0].securityContext.capabilities.add",
    ),
    "no seccomp": (
        pod(securityContext={"seccompProfile": {"type": "Unconfined"}}),
        "spec.securityContext.seccompProfile.type",
    ),
    "an unmasked /proc": (container(procMount="Unmasked"), "spec.containers[0].securityContext.procMount"),
    "the node's kernel settings": (
        pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        "spec.securityContext.sysctls",
    ),
    "another SELinux role": (
        container(seLinuxOptions={"role": "r"}),
        "spec.containers[0].securityContext.seLinuxOptions.role",
    ),
    "Windows' host process": (
        pod(securityContext={"windowsOptions": {"hostProcess": True}}),
        "spec.securityContext.windowsOptions.hostProcess",
    ),
    "an init container": (
        {"initContainers": [{"name": "i", "securityContext": {"privileged": True}}]},
        "spec.initContainers[0].securityContext.privileged",
    ),
    "deep in a kind that nobody mapped": (
        {"groups": {"a": [{"tpl": {"spec": pod(hostIPC=True)}}]}},
        "spec.groups.a[0].tpl.spec.hostIPC",
    ),
    "a patch that nobody reads": (
        {"templates": [{"podSpecPatch": "hostNetwork: true"}]},
        "spec.templates[0].podSpecPatch",
    ),
    "a volume in Spark's words": (
        {"sparkConf": {"spark.kubernetes.driver.volumes.hostPath.x.mount.path": "/"}},
        "spec.sparkConf['spark.kubernetes.driver.volumes.hostPath.x.mount.path']",
    ),
    "no AppArmor": (
        {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/main": "unconfined"}}},
        "spec.metadata.annotations['container.apparmor.security.beta.kubernetes.io/main']",
    ),
}


@pytest.mark.parametrize("case", BASELINE.values(), ids=BASELINE)
def test_baseline_refuses_by_field_and_privileged_does_not(case: tuple[dict[str, Any], str]) -> None:
    manifest, field = case
    assert fields(manifest) == [field]
    assert fields(manifest, "privileged") == []


ORDINARY = pod(
    volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}],
    hostNetwork=False,
    securityContext={"runAsUser": 1000, "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]},
)
RESTRICTED = {
    "containers": [
        {
            "name": "main",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            },
        }
    ],
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
}


def test_what_most_jobs_ask_for_is_no_breach() -> None:
    """Nothing of an ordinary pod is the node's."""
    assert fields(ORDINARY) == []


def test_restricted_wants_every_container_to_give_up_what_it_does_not_need() -> None:
    """Each field that is missing is named at once; a pod that has them all passes, the pod's own context counting."""
    assert fields(RESTRICTED, "restricted") == []
    at = "spec.template.spec.containers[0].securityContext"
    assert fields({"template": {"spec": pod()}}, "restricted") == [
        f"{at}.allowPrivilegeEscalation", f"{at}.runAsNonRoot", f"{at}.seccompProfile.type", f"{at}.capabilities.drop",
    ]  # fmt: skip
    assert "spec.volumes[0].nfs" in fields({**RESTRICTED, "volumes": [{"name": "n", "nfs": {}}]}, "restricted")


LEVELS = {
    "nothing is said": (None, "baseline"),
    "stricter": ({"pod-security.kubernetes.io/enforce": "restricted"}, "restricted"),
    "lifted": ({"pod-security.kubernetes.io/enforce": "privileged"}, "privileged"),
    "a word that is no level": ({"pod-security.kubernetes.io/enforce": "Privileged "}, "baseline"),
}


@pytest.mark.parametrize("case", LEVELS.values(), ids=LEVELS)
def test_a_namespace_says_its_level_by_kubernetes_own_label(case: tuple[dict[str, str] | None, str]) -> None:
    labels, level = case
    assert level_of(labels) == level


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "containers",
                    "securityContext",
                    "volumes",
                    "capabilities",
                    "add",
                    "sysctls",
                    "hostPath",
                    "annotations",
                    "x",
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


pods = st.fixed_dictionaries({"containers": st.lists(values, max_size=2)}, optional={"volumes": values, "x": values})


@given(values | pods, st.sampled_from(("baseline", "restricted")))
def test_whatever_stands_there_is_judged_and_never_an_error(manifest: Any, level: str) -> None:
    """Kinds that nobody knows may have anything under these names."""
    assert all(isinstance(field, str) and words for field, words in breaches(manifest, level, "spec"))
