"""A campaign: seeds that follow each other on one federation, each a storm, then calm, then the questions.

Owns the order of things. Nothing is judged here: what was collected goes to `invariants.py`, and what that says into
the report.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from campaign.building import open_federation
from campaign.evidence import Evidence, SubmittedJob, read_attempts
from campaign.invariants import judge
from campaign.load import jobs, registers
from campaign.load.jobs import Submitter
from campaign.load.labs import Bench
from campaign.load.policies import FOREIGN, Repository, Watcher
from campaign.load.probes import Strangers
from campaign.load.registers import Writer
from campaign.report import Report
from campaign.scene import Scene
from campaign.schedule import Planned, draw
from campaign.whole import Federation, Size
from campaign.wreaking import wreak
from hub.support import manifest, path_of
from rig.hosts import Centre

_READY_SECONDS, _LOOK_SECONDS = 120.0, 0.5
_COMMIT_EVERY_SECONDS = 25.0


@dataclass(frozen=True)
class Plan:
    """How long and how hard.

    Attributes:
        storm_seconds: of one seed.
        calm_seconds: what everything may take at most to come to its end afterwards.
        script: these faults, and none that are drawn.
        work_seconds: what the work of a job takes, from and to.
        deadline: in monotonic seconds; no seed begins that would hardly end by then, but for the first.
    """

    seeds: Sequence[int]
    storm_seconds: float
    calm_seconds: float
    faults_per_second: float
    script: Sequence[Planned] | None = None
    work_seconds: tuple[float, float] = (3.0, 25.0)
    deadline: float = float("inf")

    def planned(self, seed: int, scene: Scene) -> Sequence[Planned]:
        if self.script is not None:
            return self.script
        return draw(seed, scene.places, seconds=self.storm_seconds, faults_per_second=self.faults_per_second)


@dataclass
class Storm:
    """One seed: who works meanwhile, and where what was seen before it ends."""

    seed: int
    submitter: Submitter
    writer: Writer
    strangers: Strangers
    began_at: float = field(default_factory=time.time)

    @property
    def prefix(self) -> str:
        return f"s{self.seed}"


@dataclass
class Campaign:
    """One federation under load, and what was found."""

    federation: Federation
    plan: Plan
    report: Report
    benches: list[Bench]
    watcher: Watcher
    say: Callable[[str], None]
    _lines: list[str] = field(default_factory=list)

    @property
    def tally(self) -> Path:
        """Where the processes of jobs write down that they are alive."""
        return self.federation.home / "tally"

    def run(self) -> None:
        """Run the seeds."""
        for seed in self.plan.seeds:
            begun = time.monotonic()
            if self.report.seeds and begun + self.plan.storm_seconds + self.plan.calm_seconds / 2 > self.plan.deadline:
                return
            self.report.seeds.append(seed)
            self._lines = []
            self.say(f"seed {seed}")
            self._judge(seed, self._seed(seed))
            self.say(f"seed {seed}: {time.monotonic() - begun:.0f} s, {len(self.report.failures)} failures by now")

    def _judge(self, seed: int, evidence: Evidence) -> None:
        for verdict in judge(evidence):
            self.report.count(verdict.guarantee, verdict.observations)
            self.report.fail(seed, verdict.findings, tuple(self._lines))
            for finding in verdict.findings:
                self.say(f"  FAILED {finding.guarantee}: {finding.text}")

    def _seed(self, seed: int) -> Evidence:
        federation = self.federation
        writer, strangers = Writer(federation, f"s{seed}"), Strangers(federation, seed)
        submitter = Submitter(federation, self.tally, seed, seconds=self.plan.work_seconds)
        storm = Storm(seed, submitter, writer, strangers)
        scene = Scene(federation, storm.submitter, self.watcher)
        planned = self.plan.planned(seed, scene)
        with self._under_load(storm):
            failed = wreak(scene, planned, seconds=self.plan.storm_seconds, say=self._tell)
        self.report.count_faults(fault.kind for fault in planned)
        settled, unsettled = self._settle(storm)
        return self._collect(storm, settled, [*failed, *unsettled])

    def _tell(self, line: str) -> None:
        self._lines.append(line)
        self.say(f"  {line}")

    @contextlib.contextmanager
    def _under_load(self, storm: Storm) -> Iterator[None]:
        """Let everybody work during the context; return when all that they have begun is acknowledged."""
        enough = threading.Event()
        committer = threading.Thread(target=self._commit, args=(enough,), name="committer", daemon=True)
        workers = (storm.submitter, storm.writer, storm.strangers)
        for each in (*workers, committer):
            each.start()
        for bench in self.benches:
            bench.start(storm.prefix)
        try:
            yield
        finally:
            enough.set()
            for stopped in (*workers, *self.benches):
                stopped.stop()
            committer.join(60)

    def _commit(self, enough: threading.Event) -> None:
        while not enough.wait(_COMMIT_EVERY_SECONDS):
            self.watcher.repository.commit()

    def _settle(self, storm: Storm) -> tuple[int, list[str]]:
        """Wait until everything has come to its end; give how much has, and what has not."""
        end = time.monotonic() + self.plan.calm_seconds
        while (unsettled := self._unsettled(storm)) and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
        runs = sum(len(self._runs(bench, storm)) for bench in self.benches)
        total = len(self.federation.clusters) * 2 + len(storm.submitter.submitted) + runs * 2
        return total - len(unsettled), unsettled

    def _unsettled(self, storm: Storm) -> list[str]:
        found = [problem for each in self.federation.clusters if (problem := self._not_ready(each.name))]
        found += [f"job {name} has not ended" for name in storm.submitter.unfinished()]
        found += [f"{name} does not hold the newest policies" for name in self.watcher.behind()]
        for bench in self.benches:
            for run in self._runs(bench, storm):
                if not bench.status(run).get("complete"):
                    found.append(f"dataset run.{run} of {bench.name} is not complete")
                elif bench.analysis(run)[1] != "Succeeded":
                    found.append(f"the analysis of run.{run} of {bench.name} is {bench.analysis(run)[1] or 'missing'}")
        return found

    def _not_ready(self, cluster: str) -> str:
        status = self.federation.get(path_of(manifest("Cluster", cluster))).get("status", {})
        if status.get("phase") == "Ready":
            return ""
        return f"cluster {cluster} is not Ready but {status.get('phase')}: {status.get('message')}"

    @staticmethod
    def _runs(bench: Bench, storm: Storm) -> list[str]:
        return [run for run in bench.published if run.startswith(f"{storm.prefix}-")]

    def _collect(self, storm: Storm, settled: int, unsettled: list[str]) -> Evidence:
        names, since = {job.name for job in self._jobs(storm)}, storm.began_at
        submitter, writer, watcher = storm.submitter, storm.writer, self.watcher
        hubs = range(len(self.federation.hubs))
        read = [each for hub in hubs for each in (*writer.read(self.federation, hub), *submitter.read(hub))]
        runs = [run for bench in self.benches for run in bench.files(storm.prefix)]
        self.report.note("readings", sum(len(sent) for run in runs for sent in run.published.values()))
        self.report.note("datasets", len(runs))
        self.report.note("jobs", len(names))
        self.report.note("writes acknowledged", writer.acknowledged)
        return Evidence(
            attempts=[attempt for attempt in read_attempts(self.tally) if attempt.job in names],
            jobs=self._jobs(storm),
            runs=runs,
            samples=[sample for sample in watcher.samples if sample.at >= since],
            claims=[claim for claim in watcher.claims if claim.said_at >= since],
            tamperings=[tampering for tampering in watcher.tamperings if tampering.at >= since],
            versions=watcher.repository.versions,
            foreign=FOREIGN,
            reads=[*writer.reads, *read],
            trespasses=storm.strangers.trespasses,
            bad_requests=storm.strangers.bad_requests,
            unsettled=unsettled,
            settled=settled,
        )

    def _jobs(self, storm: Storm) -> list[SubmittedJob]:
        analyses = [bench.analysis(run)[0] for bench in self.benches for run in self._runs(bench, storm)]
        return [*storm.submitter.submitted.values(), *analyses]


@contextlib.contextmanager
def open_campaign(
    home: Path, size: Size, plan: Plan, *, report: Report, say: Callable[[str], None], centre: Centre | None = None
) -> Iterator[Campaign]:
    """Start a federation and what works on it, around a centre if there is one."""
    with contextlib.ExitStack() as stack:
        federation = stack.enter_context(open_federation(home, size, centre=centre))
        (home / "tally").mkdir()
        names = (jobs.NAMESPACE, registers.NAMESPACE)
        federation.create(*(manifest("Namespace", name) for name in names), manifest("Queue", jobs.QUEUE, {}))
        watcher = Watcher(federation, Repository(home / "repository"))
        watcher.set_up()
        stack.callback(watcher.close)
        homes = [cluster.name for cluster in federation.clusters]
        benches = [
            Bench(federation, lab, homes[number % len(homes)], home / "tally")
            for number, lab in enumerate(federation.labs)
        ]
        for bench in benches:
            stack.callback(bench.close)
            bench.set_up()
        _wait_until_ready(benches, watcher)
        say(f"{size.text}: ready")
        campaign = Campaign(federation, plan, report, benches, watcher, say)
        yield campaign
        report.note("processes that ended by themselves", len(federation.tender.ended))


def _wait_until_ready(benches: Sequence[Bench], watcher: Watcher) -> None:
    end = time.monotonic() + _READY_SECONDS
    while late := [*(bench.name for bench in benches if not bench.is_subscribed()), *watcher.behind()]:
        assert time.monotonic() < end, f"not ready after {_READY_SECONDS:g} s: {', '.join(late)}"
        time.sleep(_LOOK_SECONDS)
