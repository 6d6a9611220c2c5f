"""Every option of sbatch, and what becomes of it: kept, noted (harmless to leave out, and said), or refused.

Owns the table only; `meaning` reads the values of those that are kept. Source: sbatch(1) of Slurm 24.05, and the
`--container-image` of NVIDIA's Pyxis plugin.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType


class Fate(Enum):
    """What becomes of an option."""

    KEPT = "kept"
    NOTED = "noted"
    REFUSED = "refused"


class Takes(Enum):
    """Whether a value follows an option: always, never, or only after `=`."""

    VALUE = "value"
    NOTHING = "nothing"
    MAYBE = "maybe"


@dataclass(frozen=True)
class Option:
    """One option. `advice` says of a noted one why nothing is lost, of a refused one what to write instead."""

    name: str
    fate: Fate
    advice: str = ""
    short: str = ""
    takes: Takes = Takes.VALUE
    variable: str = ""


def _kept(name: str, advice: str, short: str = "", *, takes: Takes = Takes.VALUE, variable: str = "") -> Option:
    return Option(name, Fate.KEPT, advice, short, takes, variable)


def _noted(name: str, advice: str, short: str = "", *, takes: Takes = Takes.VALUE, variable: str = "") -> Option:
    return Option(name, Fate.NOTED, advice, short, takes, variable)


def _refused(name: str, advice: str, short: str = "", *, takes: Takes = Takes.VALUE, variable: str = "") -> Option:
    return Option(name, Fate.REFUSED, advice, short, takes, variable)


_NOTHING, _MAYBE = Takes.NOTHING, Takes.MAYBE

_KEPT = (
    _kept("array", "Indexes of an array, such as 0-99:10%4.", "a", variable="SBATCH_ARRAY_INX"),
    _kept("chdir", "Folder to run in; default: the first --output-dataset's, else the image's own.", "D"),
    _kept("comment", "A note that the job keeps."),
    _kept("constraint", "Features that nodes must have; see --feature.", "C", variable="SBATCH_CONSTRAINT"),
    _kept("container-image", "Container image, as Pyxis has it."),
    _kept("cpus-per-gpu", "CPUs for each GPU.", variable="SBATCH_CPUS_PER_GPU"),
    _kept("cpus-per-task", "CPUs of a task; default 1.", "c"),
    _kept("dependency", "afterok, afternotok, afterany, aftercorr with numbers: afterok:12:13,afterany:14.", "d"),
    _kept("error", "File for stderr, below an --output-dataset.", "e", variable="SBATCH_ERROR"),
    _kept("export", "Variables to take along: NAME, NAME=VALUE, NONE.", variable="SBATCH_EXPORT"),
    _kept("gpus", "GPUs, with a model or without: a100:2.", "G", variable="SBATCH_GPUS"),
    _kept("gpus-per-node", "GPUs of the node.", variable="SBATCH_GPUS_PER_NODE"),
    _kept("gpus-per-task", "GPUs of each task.", variable="SBATCH_GPUS_PER_TASK"),
    _kept("gres", "gpu:2 or gpu:a100:2.", variable="SBATCH_GRES"),
    _kept("hold", "Let it wait until atoll job release.", "H", takes=_NOTHING),
    _kept("job-name", "Name of the job; default: the script's.", "J", variable="SBATCH_JOB_NAME"),
    _kept("kill-on-invalid-dep", "yes: cancel the job when a dependency can never hold."),
    _kept("mem", "Memory, such as 16G; a number alone is MiB.", variable="SBATCH_MEM_PER_NODE"),
    _kept("mem-per-cpu", "Memory for each CPU.", variable="SBATCH_MEM_PER_CPU"),
    _kept("mem-per-gpu", "Memory for each GPU.", variable="SBATCH_MEM_PER_GPU"),
    _kept("nice", "Lower the priority by so much.", takes=_MAYBE),
    _kept("no-requeue", "Stay with a cluster that is lost.", takes=_NOTHING, variable="SBATCH_NO_REQUEUE"),
    _kept("nodes", "Nodes: 1.", "N"),
    _kept("ntasks", "Tasks of srun; all in one pod.", "n"),
    _kept("ntasks-per-node", "Tasks on the node."),
    _kept("output", "File for what it prints, below an --output-dataset.", "o", variable="SBATCH_OUTPUT"),
    _kept("parsable", "Print the number alone.", takes=_NOTHING),
    _kept("partition", "The queue; see --partition-queue.", "p", variable="SBATCH_PARTITION"),
    _kept("priority", "Higher goes first within the queue."),
    _kept("quiet", "Say less.", "Q", takes=_NOTHING),
    _kept("requeue", "Run again elsewhere if the cluster is lost.", takes=_NOTHING, variable="SBATCH_REQUEUE"),
    _kept("test-only", "Let the hub check it, tell where it would go and when, and change nothing.", takes=_NOTHING),
    _kept("time", "Time limit: minutes, h:m:s or d-h.", "t", variable="SBATCH_TIMELIMIT"),
    _kept("tmp", "Temporary disk space, such as 10G."),
    _kept("wait", "Return when it has finished; exit 3 if it failed.", "W", takes=_NOTHING, variable="SBATCH_WAIT"),
    _kept("wrap", "Run this command instead of a script."),
)  # fmt: skip

_PLACED = "the cluster's own scheduler and kubelet place and bind it"
_ONE_NODE = "the job has one node"
_MAIL = "no mail is sent; atoll job wait tells the end"
_MEASURED = "what the job uses is measured by its cluster"

_NOTED = (
    _noted("account", "it is written down with the job; its share is the queue's", "A", variable="SBATCH_ACCOUNT"),
    _noted("acctg-freq", _MEASURED, variable="SBATCH_ACCTG_FREQ"),
    _noted("contiguous", _ONE_NODE, takes=_NOTHING),
    _noted("cpu-bind", _PLACED),
    _noted("cpu-freq", _PLACED),
    _noted("delay-boot", "Atoll boots no nodes", variable="SBATCH_DELAY_BOOT"),
    _noted("distribution", _ONE_NODE, "m", variable="SBATCH_DISTRIBUTION"),
    _noted("get-user-env", "a container has its image's environment", takes=_MAYBE),
    _noted("gpu-bind", _PLACED, variable="SBATCH_GPU_BIND"),
    _noted("gpu-freq", _PLACED, variable="SBATCH_GPU_FREQ"),
    _noted("gres-flags", _PLACED, variable="SBATCH_GRES_FLAGS"),
    _noted("hint", _PLACED, variable="SBATCH_HINT"),
    _noted("mail-type", _MAIL),
    _noted("mail-user", _MAIL),
    _noted("mem-bind", _PLACED, variable="SBATCH_MEM_BIND"),
    _noted("no-kill", _ONE_NODE, "k", takes=_MAYBE, variable="SBATCH_NO_KILL"),
    _noted("open-mode", "each attempt begins with empty outputs", variable="SBATCH_OPEN_MODE"),
    _noted("oversubscribe", "the node may be shared in any case", "s", takes=_NOTHING),
    _noted("power", _PLACED, variable="SBATCH_POWER"),
    _noted("prefer", "it is a wish, and Atoll weighs seconds instead"),
    _noted("profile", _MEASURED, variable="SBATCH_PROFILE"),
    _noted("propagate", "limits of this machine stay here", takes=_MAYBE),
    _noted("qos", "priority and limits are the queue's", "q", variable="SBATCH_QOS"),
    _noted("share", "the node may be shared in any case", takes=_NOTHING),
    _noted("spread-job", _ONE_NODE, takes=_NOTHING, variable="SBATCH_SPREAD_JOB"),
    _noted("switches", _ONE_NODE),
    _noted("time-min", "--time stands"),
    _noted("use-min-nodes", _ONE_NODE, takes=_NOTHING, variable="SBATCH_USE_MIN_NODES"),
    _noted("verbose", "atoll job explain tells all", "v", takes=_NOTHING),
    _noted("wait-all-nodes", _ONE_NODE, variable="SBATCH_WAIT_ALL_NODES"),
    _noted("wckey", "usage is told by queue", variable="SBATCH_WCKEY"),
)  # fmt: skip

_BY_CPUS = "ask for CPUs with --cpus-per-task"
_BY_HUB = "leave it out: Atoll chooses the cluster, and its scheduler the node"
_LATER = "write --hold, and atoll job release when it shall be queued"
_OTHER_USER = "log in as that user (atoll login)"
_MOUNT = "give datasets with --input DATASET:/PATH and --output-dataset DATASET:/PATH"
_IMAGE = "name an image with --image or --container-image"

_REFUSED = (
    _refused("batch", "the job has one node: write --constraint"),
    _refused("bb", _MOUNT, variable="SBATCH_BURST_BUFFER"),
    _refused("bbf", _MOUNT),
    _refused("begin", _LATER, "b"),
    _refused("cluster-constraint", _BY_HUB),
    _refused("clusters", _BY_HUB, "M", variable="SBATCH_CLUSTERS"),
    _refused("container", _IMAGE, variable="SBATCH_CONTAINER"),
    _refused("container-id", _IMAGE, variable="SBATCH_CONTAINER_ID"),
    _refused("container-mounts", _MOUNT),
    _refused("container-workdir", "write --chdir"),
    _refused("core-spec", _BY_CPUS, "S", variable="SBATCH_CORE_SPEC"),
    _refused("cores-per-socket", _BY_CPUS),
    _refused("deadline", "limit the run with --time"),
    _refused("exclude", _BY_HUB, "x"),
    _refused("exclusive", "ask for what the job needs of a node with --cpus-per-task and --mem", takes=_MAYBE),
    _refused("export-file", "write the variables into the script, or name them with --export"),
    _refused("extra-node-info", _BY_CPUS, "B"),
    _refused("gid", _OTHER_USER),
    _refused("gpus-per-socket", "write --gpus-per-node"),
    _refused("immediate", "leave it out; atoll job cancel stops a job that waits", "I", takes=_MAYBE),
    _refused("input", "redirect it in the script, from a path below an --input dataset", "i", variable="SBATCH_INPUT"),
    _refused("licenses", "leave it out; a queue can stand for the licence", "L"),
    _refused("mcs-label", "leave it out; namespaces and roles keep users apart"),
    _refused("mincpus", _BY_CPUS),
    _refused(
        "network", "leave it out; nodes with such a network are found with --constraint", variable="SBATCH_NETWORK"
    ),
    _refused("nodefile", _BY_HUB, "F"),
    _refused("nodelist", _BY_HUB, "w"),
    _refused("ntasks-per-core", _BY_CPUS),
    _refused("ntasks-per-gpu", "write --ntasks and --gpus"),
    _refused("ntasks-per-socket", _BY_CPUS),
    _refused("overcommit", _BY_CPUS, "O", takes=_NOTHING, variable="SBATCH_OVERCOMMIT"),
    _refused("reboot", "leave it out: nodes are their cluster's", takes=_NOTHING),
    _refused("reservation", "name a queue with --queue", variable="SBATCH_RESERVATION"),
    _refused("segment", _BY_HUB),
    _refused("signal", "start `(sleep SECONDS; kill -USR1 $$) &` in the script", variable="SBATCH_SIGNAL"),
    _refused("sockets-per-node", _BY_CPUS),
    _refused("thread-spec", _BY_CPUS, variable="SBATCH_THREAD_SPEC"),
    _refused("threads-per-core", _BY_CPUS, variable="SBATCH_THREADS_PER_CORE"),
    _refused("tres-per-task", "write --cpus-per-task and --gpus-per-task", variable="SBATCH_TRES_PER_TASK"),
    _refused("uid", _OTHER_USER),
    _refused("x11", "leave it out: a job has no display", takes=_MAYBE),
)

OPTIONS: Mapping[str, Option] = MappingProxyType({option.name: option for option in (*_KEPT, *_NOTED, *_REFUSED)})
"""All options by their long names."""

# Older names of options; `workdir` became `chdir` with Slurm 18.08.
_ALIASES = {"tasks-per-node": "ntasks-per-node", "workdir": "chdir", "cpu_bind": "cpu-bind", "mem_bind": "mem-bind"}
_SHORT = {option.short: option for option in OPTIONS.values() if option.short}


def short_option(letter: str) -> Option | None:
    """Find an option by its letter."""
    return _SHORT.get(letter)


def long_option(name: str) -> Option | None:
    """Find an option by its name or by a beginning that only one has, as getopt_long does; None if there is none."""
    name = _ALIASES.get(name, name)
    if name in OPTIONS:
        return OPTIONS[name]
    found = [option for option in OPTIONS.values() if name and option.name.startswith(name)]
    return found[0] if len(found) == 1 else None
