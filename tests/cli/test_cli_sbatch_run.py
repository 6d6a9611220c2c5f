"""`atoll sbatch` as a person uses it: against a hub, and once on a simulated cluster to the end."""

import json
from pathlib import Path

import pytest
import yaml
from clitool import Cli

QUEUE = "apiVersion: atoll.dev/v1alpha1\nkind: Queue\nmetadata: {name: batch}\n"
SWEEP = """#!/bin/bash -l
#SBATCH --job-name="parameter sweep"
#SBATCH --array=5-50:15%1      # one after the other
#SBATCH --time=10 --mem=64M
#SBATCH --output=%x-%A_%a.out
#SBATCH --mail-type=END
#SBATCH --export=GREETING='hello $(SLURM_NTASKS)'

echo "$GREETING: $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT in $SLURM_ARRAY_JOB_ID, $1"
srun sh -c 'echo "$SLURM_ARRAY_TASK_ID" >"result-$SLURM_ARRAY_TASK_ID.txt"'
"""
ONE_FAILS = '#!/bin/sh\n#SBATCH --array=0-2%1\necho "task $SLURM_ARRAY_TASK_ID"\n[ "$SLURM_ARRAY_TASK_ID" != 1 ]\n'


@pytest.fixture
def queued(hub: Cli) -> Cli:
    """A hub with the queue `batch`; no cluster takes a job."""
    hub.ok("apply", "-f", "-", stdin=QUEUE)
    return hub


def script(folder: Path, text: str) -> str:
    path = folder / "job.sh"
    path.write_text(text)
    return str(path)


def test_a_submitted_script_is_told_as_slurm_tells_it(queued: Cli, tmp_path: Path) -> None:
    """Tools read the number; the job is found by it, and all else is on stderr."""
    file = script(tmp_path, "#!/bin/sh\n#SBATCH -J told\n#SBATCH -p batch\necho $1\n")
    done = queued("sbatch", file, "--mem", "is the script's")
    assert done.returncode == 0, done.stderr
    words, _, number = done.stdout.rstrip("\n").rpartition(" ")
    assert words == "Submitted batch job"
    (found,) = json.loads(queued.ok("get", "jobs", "-l", f"atoll.dev/slurm-job-id={number}", "-o", "json"))["items"]
    assert found["metadata"]["name"] == f"told-{number}"
    assert f"atoll job logs told-{number} -n default -f" in done.stderr
    args = found["spec"]["workload"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[-2:] == ["--mem", "is the script's"]


def test_parsable_prints_the_number_alone_and_options_stand_over_directives(queued: Cli, tmp_path: Path) -> None:
    file = script(tmp_path, "#!/bin/sh\n#SBATCH -J first -p nowhere\n#SBATCH --parsable\ntrue\n")
    number = queued.ok("sbatch", "-J", "second", "-pbatch", "-t5", file).rstrip("\n")
    made = json.loads(queued.ok("get", "job", f"second-{number}", "-o", "json"))
    assert (made["spec"]["queue"], made["spec"]["timeLimit"]) == ("batch", "5m")


def test_a_script_that_comes_after_another_waits_for_the_job_of_that_number(queued: Cli) -> None:
    """--manifest asks the hub for the name, too; a number that nobody has is refused and nothing submitted."""
    submit = ("sbatch", "--queue=batch", "--parsable", "--wrap", "true")
    first = queued.ok(*submit, "--hold").strip()
    second = queued.ok(*submit, f"--dependency=afterok:{first}", "-J", "second").strip()
    made = json.loads(queued.ok("get", "job", f"second-{second}", "-o", "json"))
    waits = {"job": f"wrap-{first}", "condition": "Succeeded", "perTask": False}
    assert made["spec"]["dependsOn"] == [waits]
    assert json.loads(queued.ok("get", "job", f"wrap-{first}", "-o", "json"))["spec"]["held"] is True
    printed = yaml.safe_load(queued.ok(*submit, "-d", f"afterany:{first}", "--manifest"))
    assert printed["spec"]["dependsOn"] == [{"job": f"wrap-{first}", "condition": "Finished"}]
    refused = queued(*submit, "-d", "afterok:7", "-J", "never")
    assert refused.returncode == 1
    assert "--dependency: there is no job 7 in namespace default" in refused.stderr
    assert "never-" not in queued.ok("get", "jobs", "-o", "name")


def test_a_script_comes_from_stdin_or_is_wrapped(queued: Cli) -> None:
    assert queued.ok("sbatch", "--queue", "batch", stdin="#!/bin/sh\ntrue\n").startswith("Submitted batch job ")
    number = queued.ok("sbatch", "--queue=batch", "--parsable", "--wrap", "echo 'a b'").strip()
    made = json.loads(queued.ok("get", "job", f"wrap-{number}", "-o", "json"))
    args = made["spec"]["workload"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[3].endswith("\n\necho 'a b'\n")


def test_what_is_only_tried_or_printed_changes_nothing(queued: Cli, tmp_path: Path) -> None:
    """--test-only asks the hub, --manifest does not even need one."""
    file = script(tmp_path, "#!/bin/sh\n#SBATCH -J tried -p batch\ntrue\n")
    tried = queued("sbatch", "--test-only", file)
    assert (tried.returncode, tried.stdout) == (0, "")
    assert "can be submitted (dry run): it would wait" in tried.stderr
    assert "tried-" not in queued.ok("get", "jobs", "-o", "name")
    nobody = Cli(tmp_path / "no-hub-here")
    manifest = yaml.safe_load(nobody.ok("sbatch", "--manifest", file))
    assert (manifest["kind"], manifest["spec"]["queue"]) == ("Job", "batch")
    assert queued.ok("apply", "--dry-run", "-f", "-", stdin=yaml.safe_dump(manifest)).endswith("created (dry run)\n")


def test_the_command_line_is_read_as_sbatch_reads_it(cli: Cli, tmp_path: Path) -> None:
    """Values attached or not, beginnings of names, values that may be left out; what nobody knows is a usage error."""
    file = script(tmp_path, "#!/bin/sh\n#SBATCH --container-image=site#theirs:2\ntrue\n")
    typed = (
        "-pbatch",
        "-c",
        "2",
        "--cpus-per-t=3",
        "--nice",
        "--image",
        "own:1",
        "--mem",
        "2G",
        "--manifest",
        file,
        "-c9",
    )
    made = yaml.safe_load(cli.ok("sbatch", *typed))
    container = made["spec"]["workload"]["spec"]["template"]["spec"]["containers"][0]
    assert (made["spec"]["priority"], container["image"], container["args"][-1]) == (-100, "own:1", "-c9")
    assert container["resources"]["requests"] == {"cpu": "3", "memory": "2Gi"}
    unknown = cli("sbatch", "--no-such-option", file)
    assert unknown.returncode == 2 and "--no-such-option" in unknown.stderr
    missing = cli("sbatch", file.replace("job.sh", ""), "--mem")
    assert missing.returncode == 1  # a folder is no script; what stands after it is the script's
    assert cli("sbatch", "--mem").returncode == 2
    assert "-c, --cpus-per-task VALUE" in cli.ok("sbatch", "--help")


def test_nothing_is_submitted_of_a_script_that_cannot_be_kept(queued: Cli, tmp_path: Path) -> None:
    """Every line is named with what to write instead; so is what the hub does not have."""
    file = script(tmp_path, "#!/bin/sh\n#SBATCH -J kept -p batch\n#SBATCH -d singleton\n#SBATCH -N 2\nsrun -n 3 true\n")
    done = queued("sbatch", file)
    assert (done.returncode, done.stdout) == (1, "")
    told = done.stderr.splitlines()
    beginnings = (
        "error: nothing was submitted",
        "  line 4: --nodes=2: a script",
        "  line 3: --dependency=singleton: ",
    )
    assert all(line.startswith(beginning) for line, beginning in zip(told, beginnings, strict=True)), told
    unknown = queued("sbatch", "-p", "no-such-queue", script(tmp_path, "#!/bin/sh\ntrue\n"))
    assert unknown.returncode == 1 and "no-such-queue" in unknown.stderr
    assert queued("sbatch", "--reservation=r", "-pbatch", file).stderr.count("--reservation=r: Atoll cannot keep") == 1
    assert queued("sbatch", str(tmp_path / "none.sh")).stderr.startswith("error: No such file or directory")


def test_an_array_runs_to_its_end_with_slurms_variables_and_its_files_are_a_dataset(
    cluster: Cli, tmp_path: Path
) -> None:
    file = script(tmp_path, SWEEP)
    done = cluster("sbatch", "--queue=batch", "--output-dataset=swept:/out", "--wait", "--parsable", file, "said")
    assert done.returncode == 0, done.stderr
    number = int(done.stdout)
    said = [f"hello $(SLURM_NTASKS): {task} of 4 in {number}, said" for task in (5, 20, 35, 50)]
    assert cluster.ok("job", "logs", f"parameter-sweep-{number}").splitlines() == said
    files = cluster.ok("dataset", "ls", "swept")
    for task in (5, 20, 35, 50):
        assert f"parameter sweep-{number}_{task}.out" in files
        assert f"result-{task}.txt" in files


def test_a_task_that_fails_ends_no_other_and_fails_the_job(cluster: Cli, tmp_path: Path) -> None:
    done = cluster("sbatch", "--queue=batch", "--wait", "--parsable", "-J", "one", script(tmp_path, ONE_FAILS))
    assert done.returncode == 3
    assert cluster.ok("job", "logs", f"one-{done.stdout.strip()}") == "task 0\ntask 1\ntask 2\n"
    assert "FailedIndexes" in done.stderr
