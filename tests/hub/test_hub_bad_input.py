"""Bad input is refused with each field's path and the reason, all in one answer, and nothing is stored."""

from typing import Any

from hub.support import API, LAB, HubClient, collection, job_spec, manifest

STREAM = {"gateway": "lab-a", "topics": ["seis/+/raw"], "dataset": "anmo.{date}", "home": "onprem"}


def workload(resources: dict[str, Any]) -> dict[str, Any]:
    """Give a workload whose one container asks for these resources."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "resources": resources}]}}}}


POD = "spec.workload.spec.template.spec"
OF_THE_NODE: dict[str, Any] = {
    "spec": {
        "template": {"spec": {"containers": [{"name": "a"}], "volumes": [{"name": "n", "hostPath": {"path": "/"}}]}}
    }
}
CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "an unknown field": (
        manifest("Queue", "q", {"wieght": 3}),
        {"spec.wieght": "unknown field"},
    ),
    "an unknown field deep inside": (
        manifest("Job", "j", job_spec(gpu={"cuont": 1}), LAB),
        {"spec.gpu.cuont": "unknown field"},
    ),
    "a wrong type": (
        manifest("Queue", "q", {"weight": "heavy"}),
        {"spec.weight": "'heavy': must be a whole number"},
    ),
    "a bad quantity": (
        manifest("Job", "j", job_spec(gpu={"memory": "40 gigs"}), LAB),
        {"spec.gpu.memory": "'40 gigs': must be a quantity"},
    ),
    "a bad quantity in the pod template": (
        manifest("Job", "j", job_spec(workload=workload({"limits": {"memory": "4Gx"}})), LAB),
        {"spec.workload.spec.template.spec.containers[0].resources.limits.memory": "'4Gx' is no quantity"},
    ),
    "a bad quantity in a trigger's pod template": (
        manifest(
            "Trigger", "t", {"job": {"name": "x", "spec": job_spec(workload=workload({"limits": {"cpu": "-1"}}))}}, LAB
        ),
        {"spec.job.spec.workload.spec.template.spec.containers[0].resources.limits.cpu": "'-1' is negative"},
    ),
    "a folder of the node": (
        manifest("Job", "j", job_spec(workload=OF_THE_NODE), LAB),
        {f"{POD}.volumes[0].hostPath": "namespace 'seismology' has the pod security level baseline"},
    ),
    "a folder of the node in a trigger's job": (
        manifest("Trigger", "t", {"job": {"name": "x", "spec": job_spec(workload=OF_THE_NODE)}}, LAB),
        {f"spec.job.{POD}.volumes[0].hostPath": "mounts a folder of the node"},
    ),
    "a topic level that no topic has": (
        manifest("Stream", "s", STREAM | {"dataset": "{topic[7]}"}, LAB),
        {"spec.dataset": "{topic[7]} is no level of seis/+/raw, which has 3"},
    ),
    "a topic level that one of two topics has": (
        manifest("Stream", "s", STREAM | {"dataset": "{topic[2]}", "topics": ["a/#", "a/b"]}, LAB),
        {"spec.dataset": "{topic[2]} is no level of a/b, which has 2"},
    ),
    "a bad duration": (
        manifest("Job", "j", job_spec(timeLimit="soon"), LAB),
        {"spec.timeLimit": "'soon'"},
    ),
    "a queue that does not exist": (
        manifest("Job", "j", job_spec(queue="nobody"), LAB),
        {"spec.queue": "queue 'nobody' does not exist: create the Queue first"},
    ),
    "an input that does not exist": (
        manifest("Job", "j", job_spec(inputs=[{"dataset": "ghost", "mountPath": "/d"}]), LAB),
        {"spec.inputs[0].dataset": "dataset 'ghost' does not exist in namespace 'seismology'"},
    ),
    "an input of another namespace": (
        manifest("Job", "j", job_spec(inputs=[{"dataset": "default/shared", "mountPath": "/d"}]), LAB),
        {"spec.inputs[0].dataset": "is in another namespace"},
    ),
    "a gateway and a cluster that do not exist": (
        manifest("Stream", "s", {**STREAM, "gateway": "nowhere", "home": "nowhere"}, LAB),
        {"spec.gateway": "gateway 'nowhere' does not exist", "spec.home": "cluster 'nowhere' does not exist"},
    ),
    "a home that does not exist": (
        manifest("Dataset", "d", {"home": "nowhere"}, LAB),
        {"spec.home": "cluster 'nowhere' does not exist"},
    ),
    "a bad topic filter": (
        manifest("Stream", "s", {**STREAM, "topics": ["seis/#/raw"]}, LAB),
        {"spec.topics[0]": "'#' must be the whole last level"},
    ),
    "a trigger's job with an unknown field and without a workload": (
        manifest("Trigger", "t", {"job": {"name": "x", "spec": {"queue": "lab", "prioritty": 1}}}, LAB),
        {"spec.job.spec.prioritty": "unknown field", "spec.job.spec.workload": "is required"},
    ),
    "a trigger's queue that does not exist": (
        manifest("Trigger", "t", {"job": {"name": "x", "spec": job_spec(queue="nobody")}}, LAB),
        {"spec.job.spec.queue": "queue 'nobody' does not exist"},
    ),
    "a workload without containers": (
        manifest("Job", "j", {"queue": "lab", "workload": {"spec": {}}}, LAB),
        {"spec.workload.spec.template.spec.containers": "must name at least one container"},
    ),
    "a cluster name that is longer than Cilium allows": (
        manifest("Cluster", "c" * 33),
        {"metadata.name": "a Cluster's name has at most 32 characters"},
    ),
    "a cluster name with a dot": (
        manifest("Cluster", "eu.west"),
        {"metadata.name": "a Cluster's name is a DNS label"},
    ),
    "a mesh id out of range": (
        manifest("Cluster", "c", {"mesh": {"id": 512}}),
        {"spec.mesh.id": "512"},
    ),
    "a repository that would run a helper": (
        manifest("PolicySet", "p", {"source": {"repository": "ext::sh -c id"}}),
        {"spec.source.repository": "'ext::sh -c id'"},
    ),
    "a copy from a cluster to itself": (
        manifest("Transfer", "t", {"dataset": "d", "version": 1, "source": "a", "destination": "a"}, LAB),
        {"spec": "source and destination are the same cluster"},
    ),
    "three things at once": (
        manifest("Job", "j", {"priority": "high", "retries": -1, "colour": "red"}, LAB),
        {
            "spec.priority": "'high'",
            "spec.retries": "-1",
            "spec.queue": "is required",
            "spec.workload": "is required",
        },
    ),
}


def _stored(hub: HubClient) -> set[str]:
    """Name every object of Atoll's kinds."""
    store = hub.hub.store
    types = [rt for rt in store.registry.all() if rt.group == "atoll.dev"]
    return {key for rt in types for key in store.cache.bucket(rt.prefix).entries}


async def test_each_bad_manifest_is_refused_with_every_wrong_field_named_and_nothing_is_stored(hub: HubClient) -> None:
    for name, (bad, expected) in CASES.items():
        before = _stored(hub)
        answer = await hub.http.post(collection(bad), json=bad)
        body = answer.json()
        said = {cause["field"]: cause["message"] for cause in (body.get("details") or {}).get("causes", ())}
        assert answer.status_code == 422, (name, body)
        for field, text in expected.items():
            assert text in said.get(field, ""), (name, said)
        assert _stored(hub) == before, f"{name}: something was stored"


async def test_a_namespace_that_does_not_exist_is_not_found(hub: HubClient) -> None:
    answer = await hub.http.post(f"{API}/namespaces/nowhere/jobs", json=manifest("Job", "j", job_spec(), "nowhere"))
    assert (answer.status_code, answer.json()["message"]) == (404, 'namespaces "nowhere" not found')


async def test_immutable_fields_stay_and_mutable_ones_change(hub: HubClient) -> None:
    await hub.apply(manifest("Job", "j", job_spec(), LAB))
    merge = {"Content-Type": "application/merge-patch+json"}
    path = f"{API}/namespaces/{LAB}/jobs/j"
    await hub.apply(manifest("Queue", "other"))
    answer = await hub.http.patch(path, json={"spec": {"queue": "other", "priority": 7}}, headers=merge)
    assert answer.status_code == 422
    assert [cause["field"] for cause in answer.json()["details"]["causes"]] == ["spec.queue"]
    assert (await hub.get(path))["spec"]["priority"] == 0
    answer = await hub.http.patch(path, json={"spec": {"priority": 7}}, headers=merge)
    assert answer.json()["spec"]["priority"] == 7


async def test_a_reference_is_checked_only_when_the_spec_changes(hub: HubClient) -> None:
    await hub.apply(manifest("Trigger", "t", {"job": {"name": "x", "spec": job_spec()}}, LAB))
    await hub.http.delete(f"{API}/queues/lab")
    merge = {"Content-Type": "application/merge-patch+json"}
    path = f"{API}/namespaces/{LAB}/triggers/t"
    labelled = await hub.http.patch(path, json={"metadata": {"labels": {"a": "b"}}}, headers=merge)
    assert labelled.status_code == 200, labelled.text
    changed = await hub.http.patch(path, json={"spec": {"job": {"name": "y"}}}, headers=merge)
    assert changed.status_code == 422


async def test_a_queue_stays_while_unfinished_jobs_name_it(hub: HubClient) -> None:
    """The refusal says how many there are and what to do; once they have ended the queue may go."""
    await hub.apply(manifest("Job", "one", job_spec(), LAB), manifest("Job", "two", job_spec(), LAB))
    refused = await hub.http.delete(f"{API}/queues/lab")
    assert refused.status_code == 409
    assert "2 unfinished jobs name it in spec.queue" in refused.json()["message"]
    merge = {"Content-Type": "application/merge-patch+json"}
    for name in ("one", "two"):
        path = f"{API}/namespaces/{LAB}/jobs/{name}"
        await hub.http.patch(path, json={"spec": {"cancelled": True}}, headers=merge)
        await hub.phase(path, "Cancelled")
    assert (await hub.http.delete(f"{API}/queues/lab")).status_code == 200


async def test_scalar_defaults_are_written_and_empty_lists_are_not(hub: HubClient) -> None:
    await hub.apply(manifest("Job", "j", job_spec(gpu={}), LAB))
    spec = (await hub.get(f"{API}/namespaces/{LAB}/jobs/j"))["spec"]
    assert (spec["priority"], spec["lossPolicy"], spec["gpu"], spec["cancelled"]) == (0, "Wait", {"count": 1}, False)
    assert "inputs" not in spec
    assert spec["workload"]["spec"] == job_spec()["workload"]["spec"], "a workload is the user's, word for word"


async def test_the_schema_explains_fields_and_lets_appliers_own_single_items(hub: HubClient) -> None:
    document = await hub.get("/openapi/v3/apis/atoll.dev/v1alpha1")
    job = next(
        s for n, s in document["components"]["schemas"].items() if n.endswith("Job") and "spec" in s["properties"]
    )
    spec = job["properties"]["spec"]
    assert spec["properties"]["inputs"]["x-kubernetes-list-map-keys"] == ["mountPath"]
    assert "$ref" not in str(spec)
    assert spec["properties"]["cancelled"]["description"].startswith("Set by cancel")
    assert job["properties"]["status"]["properties"]["conditions"]["x-kubernetes-list-type"] == "map"


async def test_a_namespaces_label_says_what_pods_of_its_jobs_may_have(hub: HubClient) -> None:
    """Kubernetes' own label, as in any cluster; what was stored before stays and may be cancelled."""
    place, merge = f"{API}/namespaces/{LAB}/jobs", {"Content-Type": "application/merge-patch+json"}
    job = manifest("Job", "needs-the-node", job_spec(workload=OF_THE_NODE), LAB)
    for level, code in (("privileged", 201), ("restricted", 422)):
        label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}
        await hub.http.patch(f"/api/v1/namespaces/{LAB}", json=label, headers=merge)
        answer = await hub.http.post(place, json=job)
        assert answer.status_code == code, answer.text
        job = manifest("Job", "another", job_spec(), LAB)
    assert f"{POD}.containers[0].securityContext.runAsNonRoot" in answer.text
    cancelled = await hub.http.patch(f"{place}/needs-the-node", json={"spec": {"cancelled": True}}, headers=merge)
    assert cancelled.status_code == 200, cancelled.text
