"""What happens, in order: objects, data and policies at once, then the job; every wait has a limit and a reason."""

from concurrent.futures import ThreadPoolExecutor

from atoll.cli import kinds
from atoll.federation.errors import AtollError
from atoll.federation.resources import FINISHED_JOB_PHASES, Dataset, Gateway, Job, Trigger
from atoll.sandbox.demo import drift, instruments, objects
from atoll.sandbox.demo.instruments import Published
from atoll.sandbox.demo.screen import Screen
from atoll.sandbox.demo.waiting import DemoFailed, Patience
from atoll.sandbox.demo.world import Outcome, PolicyOutcome, World
from atoll.sandbox.federation import GATEWAY

_SUBSCRIBE_SECONDS, _LANDING_SECONDS, _JOB_SECONDS = 30.0, 60.0, 90.0
_OBJECTS, _DATA, _POLICIES, _JOB = "objects on the hub", "data", "policies", "job"


def create_objects(world: World, screen: Screen, patience: Patience) -> None:
    """Create the demo's objects and wait until the gateway listens for the instruments."""
    with screen.step(_OBJECTS):
        for manifest in objects.all_objects(GATEWAY, world.repository.path):
            ref = kinds.of_manifest(manifest)
            assert ref is not None
            metadata = manifest["metadata"]
            world.hub.apply(ref.path(metadata.get("namespace"), metadata["name"]), manifest)
        claim = "the gateway has subscribed to the seismometers' topics"
        look = f"{world.logs}/gateway.log"
        patience.until(claim, lambda: _is_subscribed(world), seconds=_SUBSCRIBE_SECONDS, look=look)


def play(world: World, screen: Screen, patience: Patience, *, speed: float) -> Outcome:
    """Let the instruments measure, while policies are applied and broken; then see the job through.

    Raises:
        DemoFailed: something did not come true in time.
    """
    with ThreadPoolExecutor(1) as pool:
        policies = pool.submit(_policies, world, screen, patience)
        try:
            published, dataset = _data(world, screen, patience, speed=speed)
            job = _job(world, screen, patience)
            return Outcome(published, dataset, job, policies.result())
        except BaseException:
            patience.stop()
            raise


def _data(world: World, screen: Screen, patience: Patience, *, speed: float) -> tuple[Published, Dataset]:
    total = world.recording.readings
    with screen.step(_DATA):
        published = instruments.play(
            world.recording,
            world.state.mqtt_url,
            speed=speed,
            patience=patience,
            on_progress=lambda count: screen.detail(_DATA, f"{count} of {total} records acknowledged by the broker"),
        )
        screen.detail(_DATA, f"{published.readings} published, waiting for the dataset to be complete")
        path = kinds.atoll("Dataset").path(objects.NAMESPACE, objects.DATASET)
        dataset = patience.until(
            f"the dataset {objects.DATASET} is complete",
            lambda: _complete(world.hub.find(path)),
            seconds=_LANDING_SECONDS,
            look=f"atoll describe dataset {objects.DATASET} -n {objects.NAMESPACE}; logs in {world.logs}",
        )
        screen.detail(_DATA, f"{dataset.status.ledger.received} readings in {dataset.status.files} files, complete")
    return published, dataset


def _policies(world: World, screen: Screen, patience: Patience) -> PolicyOutcome:
    with screen.step(_POLICIES):
        outcome = drift.edit_and_watch(world, patience)
        screen.detail(_POLICIES, f"edited by hand in {outcome.cluster}, put back")
    return outcome


def _job(world: World, screen: Screen, patience: Patience) -> Job:
    look = f"atoll describe trigger picks -n {objects.NAMESPACE}; logs in {world.logs}"
    with screen.step(_JOB):
        path = patience.until("the trigger created a job", lambda: _triggered(world), seconds=_JOB_SECONDS, look=look)
        job = patience.until(
            "the job has finished", lambda: _finished(world, screen, path), seconds=_JOB_SECONDS, look=look
        )
    if job.status.phase != "Succeeded":
        said = f"{job.status.reason} {job.status.message}; its log ends with: {_last_words(world, path)}"
        raise DemoFailed(f"the job {job.status.phase}: {said}", look)
    return job


def _last_words(world: World, path: str) -> str:
    """Read the end of a job's log while there is still an agent to ask."""
    try:
        return b"".join(world.hub.chunks(f"{path}/log", {"tailLines": "5"})).decode(errors="replace").strip()
    except AtollError as error:
        return f"({error})"


def _is_subscribed(world: World) -> bool:
    gateway = Gateway.model_validate(world.hub.get(kinds.atoll("Gateway").path(None, GATEWAY)))
    wanted = f"{objects.NAMESPACE}/{objects.STREAM}"
    return gateway.status.broker_connected and any(row.stream == wanted for row in gateway.status.ledger)


def _complete(found: dict[str, object] | None) -> Dataset | None:
    dataset = Dataset.model_validate(found) if found else None
    return dataset if dataset and dataset.status.complete else None


def _triggered(world: World) -> str | None:
    found = Trigger.model_validate(world.hub.get(kinds.atoll("Trigger").path(objects.NAMESPACE, "picks")))
    return kinds.atoll("Job").path(objects.NAMESPACE, found.status.last_job) if found.status.last_job else None


def _finished(world: World, screen: Screen, path: str) -> Job | None:
    found = world.hub.find(path)
    job = Job.model_validate(found) if found else None
    if job is None:
        return None
    where = f" on {job.status.cluster}" if job.status.cluster else ""
    screen.detail(_JOB, f"{job.metadata.name} {job.status.phase}{where}")
    return job if job.status.phase in FINISHED_JOB_PHASES else None


def describe_failure(error: AtollError) -> str:
    """Say what failed and where to look."""
    look = f"\n  look at: {error.look}" if isinstance(error, DemoFailed) else ""
    return f"the demo failed: {error}{look}"
