"""What the hub adds to the API: logs, files of datasets, metrics, readiness."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import ManifestFile, ManifestPage, ReadRequest, VerifyReport, VerifyRequest
from atoll.federation.bus.datasets import failure, result
from atoll.federation.bus.messages import LogsRequest
from atoll.federation.bus.subjects import data_subject, rpc_subject, verify_subject
from atoll.federation.errors import Internal, NotFound
from hub.support import API, HubClient, Member, eventually, job_spec, manifest, path_of, running_hub

LAB = "seismology"
PICKS = f"{API}/namespaces/{LAB}/datasets/picks.1"


@pytest.fixture
async def hub(bus: Bus, nats_server: Any, tmp_path: Path, member: Member) -> AsyncIterator[HubClient]:
    """A hub with a Ready cluster, a namespace and a queue."""
    async with running_hub(nats_server.url, tmp_path) as client:
        await client.apply(manifest("Namespace", LAB), manifest("Queue", "lab"), manifest("Cluster", "onprem"))
        await client.phase(f"{API}/clusters/onprem", "Ready")
        yield client


async def test_a_jobs_log_is_streamed_from_the_agent_of_its_cluster(hub: HubClient, bus: Bus) -> None:
    asked: list[LogsRequest] = []

    async def logs(payload: bytes) -> AsyncIterator[bytes]:
        asked.append(LogsRequest.decode(payload))
        for line in (b"one\n", b"two\n"):
            yield line

    service = await bus.serve_many(rpc_subject("onprem", "logs"), logs)
    job = manifest("Job", "talks", job_spec(), LAB)
    await hub.apply(job)
    await hub.phase(path_of(job), "Succeeded")
    answer = await hub.http.get(f"{path_of(job)}/log", params={"tailLines": "2", "follow": "true"})
    assert (answer.status_code, answer.text) == (200, "one\ntwo\n")
    assert asked == [LogsRequest(namespace=LAB, run="talks-1", follow=True, tail_lines=2)]
    await service.stop()


async def test_a_log_that_cannot_be_read_says_why(hub: HubClient) -> None:
    waits = manifest("Job", "waits", job_spec(placement={"clusters": {"matchLabels": {"no": "such"}}}), LAB)
    runs = manifest("Job", "runs", job_spec(), LAB)
    await hub.apply(waits, runs)
    await hub.phase(path_of(runs), "Succeeded")
    cases = {
        f"{API}/namespaces/{LAB}/jobs/ghost/log": (404, 'jobs.atoll.dev "ghost" not found'),
        f"{path_of(waits)}/log": (400, "has no run yet"),
        f"{path_of(runs)}/log": (503, "the agent of cluster 'onprem' gives no log"),
        f"{path_of(runs)}/log?tailLines=few": (400, "tailLines: Invalid value: 'few'"),
    }
    for path, (code, text) in cases.items():
        answer = await hub.http.get(path)
        assert answer.status_code == code, (path, answer.text)
        assert text in answer.json()["message"]


async def test_files_of_a_dataset_are_listed_read_and_proven_where_they_are(
    hub: HubClient, bus: Bus, member: Member
) -> None:
    content = bytes(range(256)) * 3000
    file = ManifestFile(path="day/one.bin", bytes=len(content), sha256="ab" * 32)

    async def read(payload: bytes) -> bytes:
        question = ReadRequest.decode(payload)
        if question.version != 1:
            return failure(NotFound(f"no version {question.version} here"))
        if question.file is not None:
            return result(content[question.offset : question.offset + question.length])
        page = ManifestPage(
            dataset="picks.1", version=1, complete=True, total_files=1, total_bytes=len(content),
            manifest_sha256="ab" * 32, files=(file,),
        )  # fmt: skip
        return result(page.encode())

    async def verify(payload: bytes) -> AsyncIterator[bytes]:
        question = VerifyRequest.decode(payload)
        yield b""
        report = VerifyReport(
            dataset=question.dataset, version=question.version, complete=True, bytes=len(content), files=1,
            received=3, gaps=0, duplicates=0, manifest_sha256="ab" * 32,
        )  # fmt: skip
        yield result(report.encode())

    services = [
        await bus.serve(data_subject("onprem", LAB), read),
        await bus.serve_many(verify_subject("onprem", LAB), verify),
    ]
    await member.dataset(LAB, "picks.1", bytes=len(content))

    async def is_known() -> bool:
        answer = await hub.http.get(PICKS)
        return answer.status_code == 200 and answer.json().get("status", {}).get("complete", False)

    assert await eventually(is_known)
    listed = await hub.get(f"{PICKS}/files")
    assert [entry["path"] for entry in listed["files"]] == ["day/one.bin"]
    got = await hub.http.get(f"{PICKS}/files/day/one.bin")
    assert got.content == content
    assert (await hub.get(f"{PICKS}/verify"))["problems"] == []
    missing = await hub.http.get(f"{PICKS}/files/day/two.bin")
    assert (missing.status_code, "has no file 'day/two.bin'" in missing.json()["message"]) == (404, True)
    assert (await hub.http.get(f"{PICKS}/files?version=7")).status_code == 404
    assert (await hub.http.get(f"{PICKS}/files?version=new")).status_code == 400
    for service in services:
        await service.stop()
    silent = await hub.http.get(f"{PICKS}/files")
    assert silent.status_code == 503
    assert "onprem" in silent.json()["message"]


async def test_a_file_that_is_gone_from_the_volume_is_an_error_and_no_broken_body(
    hub: HubClient, bus: Bus, member: Member
) -> None:
    file = ManifestFile(path="day/one.bin", bytes=700_000, sha256="ab" * 32)

    async def read(payload: bytes) -> bytes:
        if ReadRequest.decode(payload).file is not None:
            return failure(Internal("file 'day/one.bin' is gone from the volume"))
        page = ManifestPage(
            dataset="picks.1", version=1, complete=True, total_files=1, total_bytes=file.bytes,
            manifest_sha256="ab" * 32, files=(file,),
        )  # fmt: skip
        return result(page.encode())

    service = await bus.serve(data_subject("onprem", LAB), read)
    await member.dataset(LAB, "picks.1", bytes=file.bytes)

    async def is_known() -> bool:
        answer = await hub.http.get(f"{PICKS}/files")
        return answer.status_code == 200

    assert await eventually(is_known)
    answer = await hub.http.get(f"{PICKS}/files/day/one.bin")
    assert (answer.status_code, answer.json()["kind"]) == (500, "Status")
    assert "'day/one.bin' is gone" in answer.json()["message"]
    await service.stop()


async def test_a_namespace_is_created_as_kubectl_writes_it(hub: HubClient) -> None:
    """`kubectl create namespace` sends Kubernetes' protobuf."""
    meta, name = b"\x0a\x0f\x0a\x02v1\x12\x09Namespace", b"astronomy"
    raw = b"\x0a\x0d\x0a\x09" + name + b"\x12\x00" + b"\x12\x00\x1a\x00"
    body = b"k8s\x00" + meta + b"\x12" + bytes([len(raw)]) + raw + b"\x1a\x00\x22\x00"
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf", "Accept": "application/json"}
    answer = await hub.http.post("/api/v1/namespaces", content=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert (await hub.get("/api/v1/namespaces/astronomy"))["status"]["phase"] == "Active"


async def test_metrics_name_controllers_and_results(hub: HubClient) -> None:
    async def is_counted() -> bool:
        text = (await hub.http.get("/metrics")).text
        return 'atoll_controller_reconciles_total{controller="clusters",result="done"}' in text and (
            "atoll_hub_leader 1.0" in text
        )

    assert await eventually(is_counted)


async def test_metrics_tell_of_what_is_there_when_they_are_asked_for(hub: HubClient) -> None:
    """Of objects that were made a moment ago, and of those that are counted only."""
    await hub.apply(manifest("Gateway", "seismo", {"outboxBytes": 5_000_000}))
    text = (await hub.http.get("/metrics")).text
    assert 'atoll_gateway_outbox_limit_bytes{gateway="seismo"} 5e+06' in text
    assert 'atoll_gateway_phase{gateway="seismo",phase="Pending"} 1.0' in text
    assert 'atoll_transfers{phase="Failed"} 0.0' in text


async def test_a_hub_that_lets_everybody_in_serves_no_page_of_another_site(hub: HubClient) -> None:
    """A name that was made to lead here does not help one, nor does a form that is sent to the right address."""
    queues, port = f"{API}/queues", hub.http.base_url.port
    for headers in ({"host": f"evil.example:{port}"}, {"origin": "https://evil.example"}):
        refused = await hub.http.post(queues, json=manifest("Queue", "stolen"), headers=headers)
        assert (refused.status_code, refused.json()["reason"]) == (403, "Forbidden")
        assert (await hub.http.get("/dashboard", headers=headers)).status_code == 403
    assert (await hub.http.get(f"{queues}/stolen", headers={"host": f"localhost:{port}"})).status_code == 404


@pytest.mark.faults
async def test_the_hub_is_not_ready_while_nats_is_away(hub: HubClient, nats_server: Any) -> None:
    assert (await hub.http.get("/readyz")).text == "ok"
    nats_server.kill9()

    async def is_not_ready() -> bool:
        return (await hub.http.get("/readyz")).status_code == 503

    assert await eventually(is_not_ready)
    assert (await hub.http.get("/livez")).status_code == 200
    nats_server.start()
