"""What a batch job's container does, run by a real sh on this machine: variables, files, srun, signals."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atoll.cli.slurm.container import SPOOL
from atoll.cli.slurm.job import Surroundings, prepare
from atoll.cli.slurm.script import read_script
from atoll.cli.slurm.site import Site
from atoll.sandbox.kubelet.environment import expand

Start = Callable[..., "subprocess.Popen[str]"]
NUMBER = 4000
LOOP = "sleep 10 >/dev/null 2>&1 & wait"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the container of a script as a kubelet would, with the spool and /out in a temporary folder."""
    started: list[subprocess.Popen[str]] = []

    def start(text: str, *arguments: str, index: int | None = None, **more: str) -> "subprocess.Popen[str]":
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        around = Surroundings("lab", "image", outputs=(("results", str(out)),), arguments=arguments, user="ada")
        script = read_script(text.replace("/out", str(out)).encode())
        made = prepare(script, [], Site(default_queue="batch"), around, name="job.sh")
        container = made.manifest_of(NUMBER)["spec"]["workload"]["spec"]["template"]["spec"]["containers"][0]
        own = {each["name"]: expand(each["value"], {}) for each in container["env"] if "value" in each}
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(out),
            "HOSTNAME": "pod-1",
            "ATOLL_EPOCH": "1",
            **own,
            **more,
        }
        if index is not None:
            environment["JOB_COMPLETION_INDEX"] = str(index)
        spool = tmp_path / "spool"
        spool.mkdir(exist_ok=True)
        words = [expand(word, environment) for word in (*container["command"], *container["args"])]
        process = subprocess.Popen(
            [word.replace(SPOOL, str(spool)) for word in words],
            cwd=container["workingDir"], env=environment, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it left running, as with a pod
        process.communicate()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_the_script_arrives_as_it_was_written_with_its_arguments(start: Start) -> None:
    """Dollars, quotes and a size that no single argument may have."""
    odd = "$$ $(HOSTNAME) $HOSTNAME `x` ' \" \\ é"
    text = f'#!/bin/sh\ncat "$0"; echo "[$#] $1 $2"\nexit\n: <<"END"\n{odd}\n{"x" * 150_000}\n$$\nEND\n'
    code, out, _ = ended(start(text, "two words", "$$(HOSTNAME)"))
    assert (code, out) == (0, text + "[2] two words $$(HOSTNAME)\n")


def test_the_interpreter_is_the_one_of_the_first_line(start: Start) -> None:
    text = "#!/usr/bin/env python3\n#SBATCH -J snake\nimport os\nprint(os.environ['SLURM_JOB_NAME'], 6 * 7)\n"
    assert ended(start(text))[:2] == (0, "snake 42\n")


@pytest.mark.parametrize(("index", "task"), [(0, "5"), (2, "35"), (3, "50"), (4, "100"), (5, "101")])
def test_each_task_of_an_array_has_its_own_number(start: Start, index: int, task: str) -> None:
    body = "echo $SLURM_ARRAY_TASK_ID $SLURM_ARRAY_JOB_ID $SLURM_JOB_ID $SLURM_JOBID\n"
    _, out, _ = ended(start(f"#!/bin/sh\n#SBATCH -a 5-50:15,100,101\n{body}", index=index))
    assert out.split() == [task, str(NUMBER), str(NUMBER + index), str(NUMBER + index)]


def test_a_script_sees_the_variables_that_slurm_would_set(start: Start) -> None:
    text = "#!/bin/sh\n#SBATCH -n 2 -c 3 --mem=1G -G a100:2 -p gpu -A physics\nenv\n"
    _, out, _ = ended(start(text, ATOLL_EPOCH="3"))
    found = dict(line.split("=", 1) for line in out.splitlines())
    wanted = {
        "SLURM_JOB_ID": "4000", "SLURM_JOB_NAME": "job.sh", "SLURM_NTASKS": "2", "SLURM_CPUS_PER_TASK": "3",
        "SLURM_CPUS_ON_NODE": "6", "SLURM_MEM_PER_NODE": "1024", "SLURM_GPUS": "2", "SLURM_JOB_PARTITION": "gpu",
        "SLURM_JOB_ACCOUNT": "physics", "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "pod-1", "SLURM_RESTART_COUNT": "2",
        "SLURM_PROCID": "0",
    }  # fmt: skip
    assert {name: found.get(name) for name in wanted} == wanted
    assert found["SLURM_SUBMIT_DIR"] == found["PWD"]
    assert not [name for name in found if name.startswith(("ATOLL_", "atoll_", "SLURM_ARRAY"))]


def test_the_exit_code_is_the_scripts(start: Start) -> None:
    assert ended(start("#!/bin/bash\nexit 7\n"))[0] == 7
    assert ended(start("#!/no/such/shell\n"))[0] == 127


def test_what_is_printed_goes_into_the_file_and_into_the_log(start: Start, tmp_path: Path) -> None:
    """stderr goes where stdout goes unless it has a file of its own, as with sbatch."""
    text = "#!/bin/sh\n#SBATCH -o logs/%x-%j.out\necho said; echo wailed >&2\n"
    code, out, err = ended(start(text))
    assert (code, sorted(out.split()), err) == (0, ["said", "wailed"], "")
    assert sorted((tmp_path / "out/logs/job.sh-4000.out").read_text().split()) == ["said", "wailed"]


def test_stderr_has_a_file_of_its_own_where_one_is_named(start: Start, tmp_path: Path) -> None:
    text = "#!/bin/sh\n#SBATCH -o '/out/my out' -e /out/%a.err\necho said; echo wailed >&2\n"
    assert ended(start(text)) == (0, "said\n", "wailed\n")
    assert (tmp_path / "out/my out").read_text() == "said\n"
    assert (tmp_path / "out/4294967294.err").read_text() == "wailed\n"


def test_a_job_ends_with_its_script_whatever_that_left_running(start: Start) -> None:
    """A daemon that holds the output open keeps the job for seconds, not for ever."""
    process = start("#!/bin/sh\n#SBATCH -o all.txt\nsleep 60 &\n")
    assert process.wait(20) == 0


def test_srun_runs_the_tasks_of_the_job_beside_each_other(start: Start) -> None:
    text = "#!/bin/bash -l\n#SBATCH -n 3\nsrun -u sh -c 'echo $SLURM_PROCID/$SLURM_NTASKS'\nsrun -n1 echo one\n"
    code, out, err = ended(start(text))
    assert (code, sorted(out.split()), err) == (0, ["0/3", "1/3", "2/3", "one"], "")


@pytest.mark.parametrize("flags", ["-l", "--login", "-el", "-e", ""])
def test_srun_is_found_by_a_login_shell_too(start: Start, flags: str) -> None:
    """Profiles make PATH anew; the script's other flags stay, and signals come to srun itself."""
    code, out, _ = ended(start(f"#!/bin/bash {flags}\nsrun echo in a step\nfalse\necho on $1\n", "and"))
    assert (code, out) == ((1, "in a step\n") if flags in ("-el", "-e") else (0, "in a step\non and\n"))


def test_srun_gives_the_worst_exit_code(start: Start) -> None:
    assert ended(start("#!/bin/sh\n#SBATCH -n 3\nsrun sh -c 'exit $SLURM_PROCID'\n"))[0] == 2
    assert ended(start("#!/bin/sh\nsrun sh -c 'exit 5'\n"))[0] == 5


ASKS: dict[str, tuple[str, str]] = {
    "tasks": ("-n $((1 + 1))", "-n 2 is more than the job has, 1: ask for it in the #SBATCH lines"),
    "nodes": ("-N $((1 + 1))", "-N 2 is more than the job has, 1"),
    "CPUs": ("--cpus-per-task=$((1 + 1))", "--cpus-per-task 2 is more than the job has, 1"),
    "GPUs": ("--gres=gpu:1", "--gres 1 is more than the job has, 0"),
    "MPI": ("--mpi=pmix", "--mpi=pmix is not there: start MPI programs with mpirun"),
    "a terminal": ("--pty", "--pty is not there in a job of Atoll: leave it out"),
    "no number": ("-n many", "-n many: should be a number"),
    "nothing": ("", "no command"),
}


@pytest.mark.parametrize("case", ASKS)
def test_srun_refuses_what_the_job_has_not(start: Start, case: str) -> None:
    options, message = ASKS[case]
    code, _, err = ended(start(f"#!/bin/sh\nsrun {options} {'true' if options else ''}\n"))
    assert code == 1
    assert err.startswith(f"srun: error: {message}")


def test_the_name_of_the_node_is_what_scripts_compute_from_scontrol(start: Start) -> None:
    text = "#!/bin/bash\nMASTER=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n1)\necho $MASTER\n"
    assert ended(start(text))[:2] == (0, "pod-1\n")
    assert ended(start("#!/bin/sh\nscontrol requeue 1\n"))[0] == 1


def test_a_script_may_end_in_peace_when_its_time_is_over(start: Start) -> None:
    """The signal that a kubelet sends comes to the script, and what it says then is in file and log."""
    text = f"#!/bin/bash\n#SBATCH -o all.txt\ntrap 'echo saved; exit 3' TERM\necho ready\n{LOOP}\n"
    process = start(text)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert ended(process)[:2] == (3, "saved\n")


def test_signals_reach_the_tasks_of_srun(start: Start) -> None:
    text = "#!/bin/bash\n#SBATCH -n 2\ntrap 'kill -TERM $step; wait $step; exit 4' TERM\n"
    text += f"srun sh -c \"trap 'echo bye; exit' TERM; echo ready; {LOOP}\" &\nstep=$!\necho known\nwait $step\n"
    process = start(text)
    assert process.stdout is not None
    assert sorted(process.stdout.readline() for _ in range(3)) == ["known\n", "ready\n", "ready\n"]
    process.send_signal(signal.SIGTERM)
    assert ended(process)[:2] == (4, "bye\nbye\n")


def test_nothing_is_read_from_the_terminal(start: Start) -> None:
    process = start("#!/bin/sh\ncat\necho over\n")
    assert process.stdout is not None
    assert process.stdout.read() == "over\n"  # while our end of its stdin is open
    assert ended(process)[0] == 0
