"""API servers in bad times: what an informer holds is the truth as soon as it can be heard again."""

import asyncio
import random

import pytest

from atoll.edge.member import informer as informer_module
from atoll.edge.member import kube as kube_door
from atoll.edge.member.informer import Informer
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Kind, Object
from atoll.kubeapi.resource import ResourceType
from member.config_maps import CONFIG_MAP, LAB, config_map
from member.test_member_informer import data_of, following, has
from member.world import Cluster, eventually

FIRST, SECOND = Kind("x.dev/v1", "Thing"), Kind("x.dev/v1beta1", "Thing")


def thing(version: str) -> ResourceType:
    return ResourceType("x.dev", version, "Thing", "things", "thing", namespaced=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes in life takes a second here."""
    monkeypatch.setattr(kube_door, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(kube_door, "WATCH_SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(kube_door, "PAGE_SIZE", 3)


async def live(cluster: Cluster) -> dict[str, str]:
    return {name: data_of(obj) for name, obj in (await cluster.objects("ConfigMap", "lab")).items()}


@pytest.mark.faults
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_after_bad_times_an_informer_holds_what_is(lab: Cluster, kube: Kube, impatient: None, seed: int) -> None:
    """Errors, throttling, hanging, nonsense, expiry and cut connections amid changes: nothing is lost or left over."""
    chance = random.Random(seed)
    for number in range(10):
        await lab.create(config_map(f"c{number}", a="0"))
    informer = Informer(kube, CONFIG_MAP, project=data_of, selection=LAB)
    async with following(informer) as heard:
        lab.faults.chaos = random.Random(seed)
        for step in range(40):
            await change(lab, chance, step)
            if step % 10 == 9:
                lab.cut()
            await asyncio.sleep(0.05)
        lab.faults.chaos = None
        truth = await live(lab)
        await has(informer, truth)
        assert {f"lab/{name}" for name, data in truth.items() if data != "a=0"} <= set(heard)


async def change(lab: Cluster, chance: random.Random, step: int) -> None:
    """Create, change or delete something."""
    names = sorted(await live(lab))
    what = chance.choice(("create", "edit", "delete")) if names else "create"
    if what == "create":
        await lab.create(config_map(f"new{step}", a="0"))
    elif what == "edit":
        await lab.edit("ConfigMap", chance.choice(names), {"data": {"a": str(step + 1)}}, namespace="lab")
    else:
        await lab.delete("ConfigMap", chance.choice(names), namespace="lab")


async def test_a_list_whose_continue_token_expires_is_read_again_from_its_start(
    lab: Cluster, kube: Kube, impatient: None
) -> None:
    """410 in the middle of the pages: the list is complete all the same, and each object is there once."""
    for number in range(7):
        await lab.create(config_map(f"c{number}", a="1"))
    lab.faults.expire_next_pages = 2
    listing = await kube.list(CONFIG_MAP, LAB, project=lambda obj: obj["metadata"]["name"])
    assert sorted(listing.items) == [f"c{number}" for number in range(7)]
    assert lab.faults.expire_next_pages == 0


async def test_loss_and_recovery_are_told_once_each(lab: Cluster, kube: Kube, impatient: None) -> None:
    """While nothing is heard `problem` says why; however many attempts fail, it is one loss."""
    informer = Informer(kube, CONFIG_MAP, project=data_of, selection=LAB)
    told: list[str] = []
    informer.on_loss(lambda: told.append("lost"))
    informer.on_recovery(lambda: told.append("recovered"))
    async with following(informer):
        lab.faults.fail_next = 4
        lab.cut()

        async def is_over() -> bool:
            return "recovered" in told

        await eventually(lambda: _is("InternalError" in informer.problem))
        await eventually(is_over)
        assert (told, informer.problem) == (["lost", "recovered"], "")


async def _is(claim: bool) -> bool:
    return claim


async def test_a_missing_right_is_asked_for_rarely_and_noticed_when_granted(
    lab: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """403 is a person's to mend: no request a second for ever."""
    monkeypatch.setattr(informer_module, "REFUSED_RETRY_SECONDS", 1.0)
    path = "/api/v1/namespaces/lab/configmaps"
    lab.faults.forbidden.add(path)
    informer = Informer(kube, CONFIG_MAP, project=data_of, selection=LAB)
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.sleep(2.5)
        assert 2 <= lab.faults.requests.count(("GET", path)) <= 3
        assert "Forbidden" in informer.problem
        assert not informer.has_synced.is_set()
        lab.faults.forbidden.clear()
        await asyncio.wait_for(informer.has_synced.wait(), 5)
        assert informer.problem == ""
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_kind_is_read_in_the_version_that_is_served_and_found_when_it_comes(lab: Cluster, kube: Kube) -> None:
    """Not served at first, then in an old version: looked for again, and followed from then on."""
    informer: Informer[str] = Informer(
        kube, FIRST, project=lambda obj: str(obj["apiVersion"]), alternatives=[SECOND], look_again_seconds=0.2
    )
    async with following(informer):
        assert dict(informer.items) == {}
        lab.serve(thing("v1beta1"))
        await lab.create({"apiVersion": "x.dev/v1beta1", "kind": "Thing", "metadata": {"name": "one"}})
        await eventually(lambda: _is(dict(informer.items) == {"one": "x.dev/v1beta1"}))
        await lab.create({"apiVersion": "x.dev/v1beta1", "kind": "Thing", "metadata": {"name": "two"}})
        await eventually(lambda: _is(set(informer.items) == {"one", "two"}))


async def test_a_kind_that_is_served_in_both_versions_is_read_in_the_first(lab: Cluster, kube: Kube) -> None:
    """The order of the versions is the order of preference."""
    lab.serve(thing("v1"), thing("v1beta1"))
    await lab.create({"apiVersion": "x.dev/v1", "kind": "Thing", "metadata": {"name": "one"}})
    informer: Informer[str] = Informer(
        kube, FIRST, project=lambda obj: str(obj["apiVersion"]), alternatives=[SECOND], look_again_seconds=0.2
    )
    async with following(informer):
        assert dict(informer.items) == {"one": "x.dev/v1"}


async def test_only_what_is_kept_of_an_object_makes_news(lab: Cluster, kube: Kube) -> None:
    """Every change is told to who follows objects; who follows what is kept hears of that alone."""
    await lab.create(config_map("one", a="1"))
    informer = Informer(kube, CONFIG_MAP, project=data_of, selection=LAB)
    news: list[str] = []
    informer.on_news(news.append)
    async with following(informer) as heard:
        await lab.edit("ConfigMap", "one", {"metadata": {"annotations": {"seen": "yes"}}}, namespace="lab")
        await eventually(lambda: _is(len(heard) == 2))
        assert news == ["lab/one"]
        await lab.edit("ConfigMap", "one", {"data": {"a": "2"}}, namespace="lab")
        await lab.delete("ConfigMap", "one", namespace="lab")
        await eventually(lambda: _is(len(heard) == 4))
        assert news == ["lab/one"] * 3


async def test_only_objects_that_are_to_be_kept_take_memory(lab: Cluster, kube: Kube) -> None:
    """An object that stops to qualify is let go, and told as gone."""

    def is_kept(obj: Object) -> bool:
        return (obj.get("data") or {}).get("keep") == "yes"

    await lab.create(config_map("mine", keep="yes"))
    await lab.create(config_map("other", keep="no"))
    informer = Informer(kube, CONFIG_MAP, project=data_of, selection=LAB, keep=is_kept)
    async with following(informer) as heard:
        await has(informer, {"mine": "keep=yes"})
        await lab.edit("ConfigMap", "other", {"data": {"keep": "yes"}}, namespace="lab")
        await lab.edit("ConfigMap", "mine", {"data": {"keep": "no"}}, namespace="lab")
        await has(informer, {"other": "keep=yes"})
        assert heard == ["lab/mine", "lab/other", "lab/mine"]
