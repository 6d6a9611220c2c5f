"""What `make bench` measures: the command of each measure, the figures that are read from what it prints, their aims.

The measures themselves stand in their own rooms and know nothing of this. `aim` is what the project wants of a figure
on two cores; a figure without one is told for comparison. `bound` says what the figure ends at, as profiles show it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Figure:
    """One number of a measure. `at` is a JMESPath expression over what the command prints."""

    name: str
    at: str
    unit: str
    better: Better
    aim: float | None = None

    def is_met(self, value: float) -> bool | None:
        """Tell whether a value reaches the aim; None without one."""
        if self.aim is None:
            return None
        return value >= self.aim if self.better == "higher" else value <= self.aim


@dataclass(frozen=True)
class Measure:
    """A command that prints JSON: arguments for python, those of its two sizes, and what is read from the result."""

    room: str
    name: str
    program: str
    full: str
    small: str
    figures: tuple[Figure, ...]
    bound: str

    def arguments(self, size: str) -> list[str]:
        """Give what stands behind `python`. `size` is `small` or `full`."""
        return [*self.program.split(), *(self.small if size == "small" else self.full).split(), "-o", "json"]


MEASURES: Sequence[Measure] = (
    Measure(
        "kubeapi", "lists", "benchmarks/kubeapi/run.py lists", "--repeats 3", "--count 1000 --repeats 2",
        (
            Figure("list of Jobs", "answer_ms", "ms", "lower"),
            Figure("orjson.dumps of the same ÷ list", "naive_divided_by_answer", "x", "higher", aim=1.0),
        ),
        "joining stored bytes; sockets beyond that",
    ),
    Measure(
        "kubeapi", "creates", "benchmarks/kubeapi/run.py creates", "--repeats 1", "--count 600 --repeats 1",
        (
            Figure("creates through a hub, https", 'per_second."hub, https"', "1/s", "higher"),
            Figure("÷ one synced write after another", 'times_one_after_another."hub, https"', "x", "higher"),
            Figure("CPU per create, https", 'cpu_ms_per_create."hub, https"', "ms", "lower"),
        ),
        "Python's work per request; the store takes ten times as many in groups",
    ),
    Measure(
        "kubeapi", "watches", "benchmarks/kubeapi/run.py watches", "", "--watchers 100 --changes 5",
        (Figure("a change to every watcher, p99", '"hub, https".p99_ms', "ms", "lower", aim=500),),
        "one write per watcher's socket",
    ),
    Measure(
        "kubeapi", "memory", "benchmarks/kubeapi/run.py memory", "", "--count 10000",
        (Figure("memory per stored Job", "bytes_per_job", "B", "lower", aim=1000),),
        "the packed object",
    ),
    Measure(
        "placement", "kernel", "benchmarks/placement/kernel.py", "--clusters 1000", "--clusters 100",
        (
            Figure("decisions", "kernel_per_second", "1/s", "higher"),
            Figure("÷ a plain loop", "ratio", "x", "higher", aim=1.0),
        ),
        "numpy over all clusters for each likeness",
    ),
    Measure(
        "placement", "queue", "benchmarks/placement/million.py",
        "--jobs 100000 --clusters 1000", "--jobs 10000 --clusters 50",
        (
            Figure("cold, CPU", "cold_seconds", "s", "lower"),
            Figure("steady cycle, CPU", "steady_seconds", "s", "lower", aim=1.0),
            Figure("decided when cold", "decided_cold_per_second", "1/s", "higher", aim=50_000),
            Figure("a plain cycle", "plain_per_second", "1/s", "higher"),
            Figure("memory", "peak_mib", "MiB", "lower", aim=3000),
        ),
        "reading every job once when cold; placed jobs, of which each costs a decision record",
    ),
    Measure(
        "placement", "trace", "-m benchmarks.placement.simulator.run",
        "--tasks 600 --shrink 48 --loads 0.9", "--tasks 100 --loads 0.9",
        (
            Figure("mean wait", "[?policy=='atoll'].wait_mean_seconds | [0]", "s", "lower"),
            Figure("mean wait of `locality`", "[?policy=='locality'].wait_mean_seconds | [0]", "s", "lower"),
            Figure("bytes moved", "[?policy=='atoll'].moved_gib | [0]", "GiB", "lower"),
            Figure("bytes moved by `locality`", "[?policy=='locality'].moved_gib | [0]", "GiB", "lower"),
        ),
        "a rule's quality, not a speed",
    ),
    Measure(
        "fleet", "hub", "benchmarks/fleet/thousand_agents.py",
        "--sizes 10 100 1000 --objects 3000",
        "--sizes 3 --objects 20 --waiting 0 --changes 3 --changes-per-second 100 --rest-seconds 0.2 "
        "--quiet-seconds 0.3 --processes 1",
        (
            Figure("hub at rest", "rest.hub_cores", "cores", "lower", aim=1),
            Figure("hub at rest, per cluster", "rest.hub_millicores_per_cluster", "mcores", "lower"),
            Figure("the same, fewest clusters", "values(sizes)[0].rest.hub_millicores_per_cluster", "mcores", "lower"),
            Figure("hub's memory", "rest.hub_rss_mb", "MB", "lower", aim=500),
            Figure("joins", "values(sizes)[-1].joins.joins_per_second", "1/s", "higher", aim=50),
            Figure("joins by CPU", "values(sizes)[-1].joins.joins_per_second_by_cpu", "1/s", "higher"),
            Figure("a change of capacity, p99", "values(sizes)[-1].changes.p99_seconds", "s", "lower", aim=1),
            Figure("a killed hub serves again", "hub_restart.serving_seconds", "s", "lower", aim=15),
        ),
        "joins: one synced write and one signature each; rest: heartbeats",
    ),
    Measure(
        "fleet", "agent", "benchmarks/fleet/agent_memory.py", "", "--nodes 100 --pods 1000 --changes 3",
        (
            Figure("memory beside a large cluster", "agent_rss_mb", "MB", "lower", aim=700),
            Figure("÷ keeping whole objects", "ratio", "x", "lower"),
        ),
        "Python, TLS and clients: some 90 MB of it",
    ),
    Measure(
        "fleet", "dispatch", "benchmarks/fleet/dispatch.py",
        "--rates 20 --seconds 10 --jobs 500 --repeats 1", "--rates 5 --seconds 3 --jobs 30 --repeats 1",
        (
            Figure("jobs at once", '"all at once".dispatched_per_second', "1/s", "higher", aim=500),
            Figure("created without Atoll", '"without Atoll".created_per_second', "1/s", "higher"),
            Figure("submit to member, p99", "values(@)[1].p99_seconds", "s", "lower", aim=1),
            Figure("hub, CPU per job", '"all at once".hub_cpu_ms_per_job', "ms", "lower", aim=6),
        ),
        "CPU of hub and agents: four writes and three requests per job",
    ),
    Measure(
        "ingest", "gateway", "benchmarks/ingest/gateway.py", "", "--readings 4000 --rounds 1",
        (
            Figure("÷ mosquitto_sub > file", '"intake, fast".ratio', "x", "higher", aim=2.5),
            Figure("CPU per reading", '"intake, fast".cpu_us', "µs", "lower", aim=6),
            Figure("with paho ÷ mosquitto_sub > file", '"intake, paho".ratio', "x", "higher", aim=0.3),
        ),
        "one CRC, one dict lookup and one append per reading; SQLite's commit per envelope",
    ),
    Measure(
        "ingest", "uplink", "benchmarks/ingest/uplink.py", "--outages 5", "--outages 1",
        (
            Figure("of window x size ÷ RTT", 'throughput[0]."of the link"', "x", "higher", aim=0.75),
            Figure("back after a cut, median", 'outages."median s"', "s", "lower", aim=5),
            Figure("memory with an outbox of 220 MB", 'memory."peak MB"', "MB", "lower", aim=100),
        ),
        "the window; the hub's fsync",
    ),
    Measure(
        "ingest", "files", "benchmarks/ingest/files.py", "--runs 1", "--megabytes 20 --runs 1 --small 20",
        (
            Figure("file to dataset ÷ cp and fsync", "ratio", "x", "higher", aim=0.5),
            Figure("sink, CPU", "sink_ms_per_mb", "ms/MB", "lower", aim=4),
        ),
        "two disks and two hashes for each byte",
    ),
    Measure(
        "ingest", "path", "benchmarks/ingest/path.py",
        "--readings 240000 --rounds 1", "--readings 4000 --rounds 1 --latency 20",
        (
            Figure("fast ÷ mosquitto_sub > file", '"atoll, fast".ratio', "x", "higher", aim=2.5),
            Figure("with paho ÷ mosquitto_sub > file", '"atoll, paho".ratio', "x", "higher", aim=0.3),
            Figure("a Mosquitto bridge ÷ the same", "bridge.ratio", "x", "higher"),
            Figure("a Mosquitto bridge into NATS ÷ the same", '"bridge, NATS".ratio', "x", "higher"),
            Figure("CPU per reading, all processes", '"atoll, fast".cpu_us', "µs", "lower"),
            Figure("one reading, idle, median", "latency.path_p50_ms", "ms", "lower", aim=20),
        ),
        "three processes in turn on two cores, and a sync in each",
    ),
    Measure(
        "sink", "formats", "benchmarks/ingest/sink.py", "--repeat 2", "--readings 20000 --repeat 1",
        (
            Figure("raw", "[?what=='raw'].readings_per_second | [0]", "1/s", "higher", aim=400_000),
            Figure("JSONL", "[?what=='jsonl'].readings_per_second | [0]", "1/s", "higher", aim=400_000),
            Figure("Parquet", "[?what=='parquet'].readings_per_second | [0]", "1/s", "higher", aim=150_000),
            Figure("raw ÷ write and fsync", "[?what=='raw'].of_plain_write | [0]", "x", "higher"),
        ),
        "one CRC and one JSON text per reading in Python",
    ),
    Measure(
        "policy", "engine", "benchmarks/policy/engine.py", "", "--policies 100 --clusters 10 --verdicts 20000",
        (
            Figure("plan for all clusters, CPU", "plan_seconds", "s", "lower", aim=10),
            Figure("÷ copying the compiled objects", "plan_to_copy", "x", "lower"),
            Figure("verdicts", "verdicts_per_second", "1/s", "higher", aim=100_000),
            Figure("÷ asking every rule", "ratio", "x", "higher"),
        ),
        "memory: one object per policy and cluster",
    ),
    Measure(
        "policy", "live", "-m benchmarks.policy.live", "", "--policies 100 --sets 500",
        (
            Figure("100 policies more among what runs, CPU", "cases.hundred.seconds", "s", "lower", aim=10),
            Figure("its memory", "cases.hundred.memory_mb", "MB", "lower", aim=500),
            Figure("all of them gone, CPU", "cases.none.seconds", "s", "lower"),
            Figure("judging each pair by itself, CPU", "by_hand_seconds", "s", "higher"),
        ),
        "endpoints whose rules change, times the sets of rules on the other side",
    ),
    Measure(
        "policy", "reach", "-m benchmarks.policy.reach", "",
        "--cilium 60 --kubernetes 90 --clusters 3 --rounds 1",
        (
            Figure("a new policy is in all clusters", "running.last", "s", "lower", aim=5),
            Figure("the same, hub just restarted", "restarted.last", "s", "lower", aim=5),
            Figure("hub's CPU for it", "running.hub_cpu", "s", "lower"),
            Figure("hub's cores at rest", "rest.hub_cpu", "cores", "lower"),
        ),
        "orders of megabytes: made, sent and read per cluster",
    ),
    Measure(
        "policy", "drift", "-m benchmarks.policy.drift", "", "--policies 100 --changes 40",
        (
            Figure("a change by hand is undone, P99", "p99_seconds", "s", "lower", aim=2),
            Figure("the same, P50", "p50_seconds", "s", "lower"),
            Figure("one look without a watch ÷ a change", "look_divided_by_change", "x", "higher"),
        ),
        "the API server's answers; ten changes a second",
    ),
    Measure(
        "dashboard", "pages", "-m benchmarks.dashboard.pages", "",
        "--clusters 100 --jobs 10000 --datasets 1000 --times 3",
        (
            Figure("page of jobs, CPU", "pages.jobs.ms", "ms", "lower", aim=1000),
            Figure("map of the fleet, CPU", "pages.fleet.ms", "ms", "lower", aim=1000),
            Figure("page of jobs ÷ `kubectl get jobs -A`", "jobs_to_list", "x", "lower"),
            Figure("100 changed jobs are read in", "after_changes.ms", "ms", "lower"),
        ),
        "a test of each row in Python, where a filter is set",
    ),
)  # fmt: skip


def chosen(names: Sequence[str]) -> list[Measure]:
    """Give the measures of these rooms or `room/name`s, in the catalogue's order; all if none are named.

    Raises:
        KeyError: with the first that there is not.
    """
    known = {each.room for each in MEASURES} | {f"{each.room}/{each.name}" for each in MEASURES}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return [each for each in MEASURES if not names or {each.room, f"{each.room}/{each.name}"} & set(names)]
