"""`atoll sbatch`, the pure part: what scripts mean, what becomes of each directive, and the Job that comes of it."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.cli.slurm import values
from atoll.cli.slurm.container import guarded
from atoll.cli.slurm.job import Batch, Surroundings, prepare
from atoll.cli.slurm.options import OPTIONS, Fate, Takes
from atoll.cli.slurm.script import MAX_SCRIPT_BYTES, Given, parse_words, read_script, read_variables
from atoll.cli.slurm.site import Site, features_of, partitions_of
from atoll.federation.errors import InvalidInput
from atoll.federation.placement.demand import pods_of_job
from atoll.federation.resources import Job
from atoll.sandbox.kubelet.environment import expand

Json = dict[str, Any]
_TYPE = "node.kubernetes.io/instance-type"
SITE = Site(default_queue="batch", features={"haswell": (_TYPE, "h1"), "skylake": (_TYPE, "s1")})
AROUND = Surroundings("lab", "image:1", outputs=(("results", "/out"),), user="ada")


def batch(directives: str, *, options: Json | None = None, environment: Json | None = None, body: str = "") -> Batch:
    lines = "\n".join(f"#SBATCH {line}" for line in directives.splitlines())
    script = read_script(f"#!/bin/bash\n{lines}\n{body}\n".encode())
    layers = (read_variables(environment or {}), typed(options or {}))
    return prepare(script, layers, SITE, AROUND, name="train.sh")


def typed(options: Json) -> list[Given]:
    words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]
    return parse_words(words, "command line")


def job(directives: str, **given: Any) -> Json:
    """The Job of some directives; the kind's own schema has taken it."""
    manifest = batch(directives, **given).manifest_of(4711)
    Job.model_validate(manifest)
    return manifest


def pod(manifest: Json) -> Json:
    return manifest["spec"]["workload"]["spec"]["template"]["spec"]


def container(manifest: Json) -> Json:
    return pod(manifest)["containers"][0]


def variables(manifest: Json) -> dict[str, str]:
    return {each["name"]: each.get("value") for each in container(manifest)["env"]}


def refusals(directives: str, **given: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        batch(directives, **given)
    return [str(problem) for problem in caught.value.problems]


def requests(manifest: Json) -> Json:
    return container(manifest)["resources"]["requests"]


DEMANDS: dict[str, tuple[str, Json, int | None, list[str] | None]] = {
    "nothing at all": ("", {"cpu": "1", "memory": "1Gi"}, None, None),
    "long forms": ("--cpus-per-task=4\n--mem=16G", {"cpu": "4", "memory": "16Gi"}, None, None),
    "long forms with a space": ("--cpus-per-task 4\n--mem 16G", {"cpu": "4", "memory": "16Gi"}, None, None),
    "short forms": ("-c 4 -n 2", {"cpu": "8", "memory": "8Gi"}, None, None),
    "short forms without a space": ("-c4 -n2 -N1", {"cpu": "8", "memory": "8Gi"}, None, None),
    "memory without a unit is MiB": ("--mem=500", {"cpu": "1", "memory": "500Mi"}, None, None),
    "memory as people write it": ("--mem=32Gb", {"cpu": "1", "memory": "32Gi"}, None, None),
    "memory of each CPU": ("-c 4\n--mem-per-cpu=2G", {"cpu": "4", "memory": "8Gi"}, None, None),
    "memory of each GPU": ("-G 2\n--mem-per-gpu=8G", {"cpu": "1", "memory": "16Gi"}, 2, []),
    "CPUs of each GPU": ("-G 2\n--cpus-per-gpu=6", {"cpu": "12", "memory": "12Gi"}, 2, []),
    "gres": ("--gres=gpu:2", {"cpu": "1", "memory": "1Gi"}, 2, []),
    "gres with a model": ("--gres=gpu:a100:2", {"cpu": "1", "memory": "1Gi"}, 2, ["a100"]),
    "gres, one": ("--gres=gpu", {"cpu": "1", "memory": "1Gi"}, 1, []),
    "gres with a model, one": ("--gres=gpu:h100", {"cpu": "1", "memory": "1Gi"}, 1, ["h100"]),
    "no gres": ("--gres=none", {"cpu": "1", "memory": "1Gi"}, None, None),
    "gpus with a model": ("--gpus=a100:4", {"cpu": "1", "memory": "1Gi"}, 4, ["a100"]),
    "gpus of the node": ("--gpus-per-node=v100:1", {"cpu": "1", "memory": "1Gi"}, 1, ["v100"]),
    "gpus of each task": ("--gpus-per-task=1\n-n 4", {"cpu": "4", "memory": "4Gi"}, 4, []),
    "the same in two ways": ("--gres=gpu:2\n--gpus-per-node=a100:2", {"cpu": "1", "memory": "1Gi"}, 2, ["a100"]),
    "tasks of the one node": ("--nodes=1\n--ntasks-per-node=8", {"cpu": "8", "memory": "8Gi"}, None, None),
    "an older name": ("--tasks-per-node=3", {"cpu": "3", "memory": "3Gi"}, None, None),
    "a beginning of a name": ("--cpus-per-t=3", {"cpu": "3", "memory": "3Gi"}, None, None),
    "at least one node": ("-N 1-4", {"cpu": "1", "memory": "1Gi"}, None, None),
    "disk": ("--tmp=10G", {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "10Gi"}, None, None),
    "several on a line, and a comment": ("-c 2 --mem=1G # much", {"cpu": "2", "memory": "1Gi"}, None, None),
    "the last one counts": ("-c 2\n-c 3", {"cpu": "3", "memory": "3Gi"}, None, None),
}


@pytest.mark.parametrize("case", DEMANDS)
def test_a_directive_asks_for_what_it_asks_slurm_for(case: str) -> None:
    directives, wanted, gpus, models = DEMANDS[case]
    manifest = job(directives)
    assert requests(manifest) == wanted
    gpu = manifest["spec"].get("gpu")
    assert (gpu and gpu["count"], gpu and gpu["models"]) == (gpus, models)


TIMES = {
    "90": "1h30m", "90:30": "1h31m", "2:30:00": "2h30m", "1-0": "1d", "1-12": "1d12h", "1-12:30": "1d12h30m",
    "1-12:30:01": "1d12h31m", "0": None, "UNLIMITED": None, "infinite": None, "00:00:30": "1m",
}  # fmt: skip


@pytest.mark.parametrize("text", TIMES)
def test_a_time_limit_has_all_of_slurms_forms(text: str) -> None:
    assert job(f"--time={text}")["spec"].get("timeLimit") == TIMES[text]


ARRAYS = {
    "0-15": (list(range(16)), None), "0,6,16-18": ([0, 6, 16, 17, 18], None), "0-15:4": ([0, 4, 8, 12], None),
    "5-50:15%2": ([5, 20, 35, 50], 2), "7": ([7], None), "3,1,2,2": ([1, 2, 3], None), "[1-3]%9": ([1, 2, 3], 3),
    "0-999": (list(range(1000)), None),
}  # fmt: skip


@pytest.mark.parametrize("text", ARRAYS)
def test_an_array_is_one_of_as_many_tasks(text: str) -> None:
    ids, at_once = ARRAYS[text]
    assert list(values.array(text).ids) == ids
    manifest = job(f"--array={text}\n--time=10")
    spec = manifest["spec"]
    assert (spec["array"]["count"], spec["array"].get("maxParallel")) == (len(ids), at_once)
    assert "completions" not in spec["workload"]["spec"]
    assert (pod(manifest)["activeDeadlineSeconds"], spec.get("timeLimit")) == (600, None)
    told = variables(manifest)
    assert (told["SLURM_ARRAY_TASK_COUNT"], told["SLURM_ARRAY_TASK_MIN"], told["SLURM_ARRAY_TASK_MAX"]) == (
        str(len(ids)), str(ids[0]), str(ids[-1]),
    )  # fmt: skip


@given(ids=st.sets(st.integers(0, 5000), min_size=1, max_size=60))
def test_any_list_of_indexes_comes_back_in_order(ids: set[int]) -> None:
    assert list(values.array(",".join(map(str, ids))).ids) == sorted(ids)


REFUSED = {
    "any of several jobs": ("-d 'afterok:12?afterok:13'", "line 2: --dependency=afterok:12?afterok:13: any of several"),
    "one job of a name at once": ("-d singleton", "line 2: --dependency=singleton: 'singleton': Atoll knows afterok"),
    "the start of a job": ("-d after:12+5", "line 2: --dependency=after:12+5: 'after:12+5': Atoll knows afterok"),
    "a task of an array": ("-d afterok:12_3", "line 2: --dependency=afterok:12_3: 'afterok:12_3': a job is waited for"),
    "a job without a number": ("-d afterok", "line 2: --dependency=afterok: 'afterok' should have the numbers"),
    "two nodes": ("--nodes=2", "line 2: --nodes=2: a script has one node here: write --nodes=1"),
    "tasks of two nodes": ("-n 8\n--ntasks-per-node=4", "line 3: --ntasks-per-node=4: needs 2 nodes for 8 tasks"),
    "a whole node's memory": ("--mem=0", "line 2: --mem=0: 0 is all memory of a node"),
    "a whole node": ("--exclusive", "line 2: --exclusive: Atoll cannot keep this: ask for what the job needs"),
    "other resources": ("--gres=lscratch:100", "line 2: --gres=lscratch:100: lscratch:100: Atoll counts no such"),
    "two models": ("--gres=gpu:a100:1,gpu:v100:1", "line 2: --gres=gpu:a100:1,gpu:v100:1: names several models"),
    "different numbers of GPUs": ("-G 2\n--gres=gpu:1", "line 3: --gres=gpu:1: the job's GPUs differ"),
    "different models of GPUs": ("-G a100:1\n--gres=gpu:v100:1", "line 3: --gres=gpu:v100:1: GPUs of one model only"),
    "two ways to ask for memory": ("--mem=1G\n--mem-per-cpu=1G", "line 3: --mem-per-cpu=1G: --mem is given, too"),
    "no such time": ("-t 1:2:3:4", "line 2: --time=1:2:3:4: should be minutes"),
    "an unknown feature": ("-C infiniband", "line 2: --constraint=infiniband: which node label infiniband is"),
    "alternative features": ("-C 'haswell|skylake'", "line 2: --constraint=haswell|skylake: only features that all"),
    "features that exclude each other": ("-C 'haswell&skylake'", "line 2: --constraint=haswell&skylake: no node has "),
    "two partitions": ("-p gpu,cpu", "line 2: --partition=gpu,cpu: a job waits in one queue"),
    "a partition that no queue can be": ("-p GPU_long", "line 2: --partition=GPU_long: no queue can be called so"),
    "a variable that is not set": ("--export=NOT_THERE", "line 2: --export: NOT_THERE is not set here"),
    "an index that falls": ("-a 5-1", "line 2: --array=5-1: 5-1: a range rises"),
    "too many tasks": ("-a 0-100000", "line 2: --array=0-100000: has more than 100000 tasks"),
    "no GPUs to multiply": ("--cpus-per-gpu=4", "line 2: --cpus-per-gpu=4: there are no GPUs"),
    "a folder of nowhere": ("-D logs", "line 2: --chdir=logs: should be an absolute path"),
    "a squashfs image": ("--container-image /nfs/a.sqsh", "line 2: --container-image=/nfs/a.sqsh: should be an image"),
    "no such pattern": ("-o /out/%Q", "line 2: --output=/out/%Q: %Q is no pattern of sbatch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_kept_is_refused_by_name_and_line(case: str) -> None:
    directives, beginning = REFUSED[case]
    (problem,) = refusals(directives)
    assert problem.startswith(beginning)


def test_every_problem_is_told_at_once() -> None:
    problems = refusals("-d singleton\n--nodes=3\n--mem=much\n-w node7")
    assert [problem.split(":")[0] for problem in sorted(problems)] == ["line 2", "line 3", "line 4", "line 5"]


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.fate is Fate.REFUSED])
def test_a_refused_option_says_what_to_write_instead(name: str) -> None:
    option = OPTIONS[name]
    (problem,) = refusals(f"--{name}{'=x' if option.takes is Takes.VALUE else ''}")
    assert problem.startswith(f"line 2: --{name}")
    assert problem.endswith(f"Atoll cannot keep this: {option.advice}") and option.advice


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.fate is Fate.NOTED])
def test_an_option_that_is_left_out_is_told_with_its_reason(name: str) -> None:
    option = OPTIONS[name]
    (note,) = batch(f"--{name}{'=x' if option.takes is Takes.VALUE else ''}").notes
    assert note.startswith(f"line 2: --{name}") and note.endswith(f"is left out: {option.advice}") and option.advice


def test_the_documentation_has_every_option_in_its_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "slurm.md").read_text()
    _, *tables = page.split("| option |")
    for fate, table in zip((Fate.KEPT, Fate.NOTED, Fate.REFUSED), tables, strict=True):
        rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
        told = {name: row[2].strip() for row in rows for name in re.findall("`([^`]+)`", row[1])}
        assert told == {name: option.advice for name, option in OPTIONS.items() if option.fate is fate}


UNREADABLE = {
    "--no-such-thing=1": "line 2: --no-such-thing=1: sbatch has no such option",
    "--mem": "line 2: --mem: a value is missing",
    "--mem=4 GB": "line 2: GB: is no option; a value with spaces stands in quotes",
    "--requeue=yes": "line 2: --requeue=yes: --requeue takes no value",
    "--gpu=1": "line 2: --gpu=1: sbatch has no such option",  # a beginning of several
    "-J 'open": "line 2: 'open: a quote is not closed",
    "--wrap=ls": "line 2: --wrap is for the command line: it takes the place of a script",
    "hetjob": "line 2: hetjob: is no option; a value with spaces stands in quotes",
}


@pytest.mark.parametrize("directive", UNREADABLE)
def test_a_directive_that_sbatch_would_not_read_is_an_error(directive: str) -> None:
    assert refusals(directive) == [UNREADABLE[directive]]


NO_SCRIPTS = {
    "no interpreter": (b"echo hi\n", "line 1: a batch script begins with #!"),
    "an interpreter without a path": (b"#!bash\n", "line 1: #!bash: the path of the interpreter"),
    "nothing": (b"", "line 1: a batch script begins with #!"),
    "DOS line breaks": (b"#!/bin/sh\r\necho\r\n", "the script has DOS line breaks"),
    "a NUL byte": (b"#!/bin/sh\n\0", "line 2: the script has a NUL byte"),
    "no text": (b"#!/bin/sh\n# \xff\n", "line 2: the script is no UTF-8 text"),
    "too long": (b"#!/bin/sh\n" + b"#" * MAX_SCRIPT_BYTES, "the script has 256 KiB, and 256 KiB is the most"),
}


@pytest.mark.parametrize("case", NO_SCRIPTS)
def test_what_is_no_script_is_told_as_such(case: str) -> None:
    content, beginning = NO_SCRIPTS[case]
    with pytest.raises(InvalidInput, match="^" + beginning.replace("(", r"\(")):
        read_script(content)


def test_a_directive_that_cannot_be_read_hides_no_other_refusal() -> None:
    told = refusals("--no-such-thing=1\n--reservation=r\n-c many")
    assert [line.split(":")[0] for line in told] == ["line 2", "line 3", "line 4"], told


def test_directives_end_at_the_first_command_and_others_are_hinted_at() -> None:
    """Comments, empty lines and what is commented out are passed over, as sbatch does."""
    text = (
        "#!/bin/sh\n\n# about\n##SBATCH -c 9\n  # more\n#SBATCH -c 2\nmodule load cuda\n#SBATCH -c 4\n squeue -u me\n"
    )
    script = read_script(text.encode())
    assert [str(one) for one in script.given] == ["line 6: --cpus-per-task=2"]
    assert [hint.split(":")[0] for hint in script.hints] == ["line 7", "line 8", "line 9"]
    assert "module is not there unless the image has it" in script.hints[0]
    assert "sbatch reads no directive after the first command" in script.hints[1]


def test_the_command_line_stands_over_the_environment_and_that_over_the_script() -> None:
    environment = {"SBATCH_TIMELIMIT": "20", "SBATCH_JOB_NAME": "second", "SBATCH_REQUEUE": "1"}
    spec = job("-t 10\n-J first\n--mem-per-cpu=9G", environment=environment, options={"job-name": "third", "mem": "2G"})
    assert spec["metadata"]["annotations"]["atoll.dev/slurm-job-name"] == "third"
    assert (spec["spec"]["timeLimit"], spec["spec"]["lossPolicy"]) == ("20m", "Failover")
    assert container(spec)["resources"] == {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}


def test_an_option_takes_the_place_of_others_that_say_the_same_in_another_way() -> None:
    spec = job("--gres=gpu:a100:1\n--cpus-per-gpu=8", options={"gpus": "2", "cpus-per-task": "3"})
    assert spec["spec"]["gpu"] == {"count": 2, "models": []}
    assert requests(spec)["cpu"] == "3"


def test_a_refusal_names_the_variable_or_the_command_line_that_it_is_from() -> None:
    problems = refusals("", environment={"SBATCH_RESERVATION": "r"}, options={"begin": "now"})
    assert [problem.split(":")[0] for problem in problems] == ["SBATCH_RESERVATION", "command line"]


def test_a_dependency_names_the_jobs_of_its_numbers_and_a_held_script_is_a_held_job() -> None:
    given = batch("-d afterok:12:13,afternotok:14,afterany:12\n--hold")
    spec = given.knowing({12: "a-12", 13: "b-13", 14: "c-14"}).manifest_of(15)["spec"]
    assert spec["dependsOn"] == [
        {"job": "a-12", "condition": "Succeeded"},
        {"job": "b-13", "condition": "Succeeded"},
        {"job": "c-14", "condition": "Failed"},
        {"job": "a-12", "condition": "Finished"},
    ]
    assert spec["held"] is True
    with pytest.raises(InvalidInput) as caught:
        given.knowing({12: "a-12"})
    assert caught.value.problems == ("--dependency: there is no job 13, 14 in namespace lab",)


def test_aftercorr_lets_the_tasks_of_an_array_follow_those_of_the_same_indexes() -> None:
    given = batch("--array=5-50:15\n-d aftercorr:12\n--kill-on-invalid-dep=yes").knowing({12: "a-12"})
    spec = given.beside({12: "5-50:15"}).manifest_of(15)["spec"]
    assert spec["dependsOn"] == [{"job": "a-12", "condition": "Succeeded", "perTask": True}]
    assert spec["ifNeverSatisfied"] == "Cancel"
    for other in ("0-3", ""):
        with pytest.raises(InvalidInput) as caught:
            given.beside({12: other})
        assert "aftercorr is for arrays of the same indexes: this has 5-50:15, 12 has" in caught.value.problems[0]
    assert values.array("0,15,30,45,60").text == "0-60:15", "equal indexes are written alike"
    assert "aftercorr is for arrays" in refusals("-d aftercorr:12")[0]


def test_a_partition_is_the_queue_of_its_name_unless_it_is_mapped() -> None:
    assert job("-p gpu")["spec"]["queue"] == "gpu"
    assert job("")["spec"]["queue"] == "batch"
    mapped = Site(default_queue="batch", partitions=partitions_of(["GPU_long=lab.long"]))
    assert (mapped.queue_of("GPU_long"), mapped.queue_of(None), mapped.queue_of("x")) == ("lab.long", "batch", "x")
    assert Site(queue="chosen").queue_of("GPU_long") == "chosen"
    with pytest.raises(InvalidInput, match="--queue: is required, or ATOLL_QUEUE"):
        Site().queue_of(None)


@pytest.mark.parametrize("pair", ["gpu", "=q", "gpu=", "gpu=Q_1"])
def test_a_mapping_of_another_form_is_named(pair: str) -> None:
    with pytest.raises(InvalidInput, match=r"--partition-queue .* should be PARTITION=QUEUE"):
        partitions_of([pair])
    with pytest.raises(InvalidInput, match=r"--feature .* should be FEATURE=LABEL=VALUE"):
        features_of([pair])


def test_a_feature_is_a_node_label() -> None:
    assert pod(job("-C haswell"))["nodeSelector"] == {"node.kubernetes.io/instance-type": "h1"}
    assert features_of(["x86=kubernetes.io/arch=amd64"]) == {"x86": ("kubernetes.io/arch", "amd64")}


def test_variables_are_taken_along_by_name_and_what_stays_is_told() -> None:
    directive = "--export='ALL,TOKEN,LIST=\"a,b\",EMPTY='"
    script = read_script(f"#!/bin/sh\n#SBATCH {directive}\n".encode())
    site = Site(default_queue="batch", environment={"TOKEN": "t$(HOME)", "HOME": "/home/ada"})
    made = prepare(script, [], site, AROUND, name="x")
    told = variables(made.manifest_of(1))
    assert (told["TOKEN"], told["LIST"], told["EMPTY"]) == ("t$$(HOME)", "a,b", "")
    assert "HOME" not in told
    assert "variables of this machine stay here" in made.notes[0]


def test_a_job_is_named_after_its_script_and_number() -> None:
    metadata = job("-J 'My Train_2!'\n-A physics\n--comment='for ada'")["metadata"]
    assert (metadata["name"], metadata["labels"]) == ("my-train-2-4711", {"atoll.dev/slurm-job-id": "4711"})
    assert metadata["annotations"] == {
        "atoll.dev/slurm-job-name": "My Train_2!",
        "atoll.dev/slurm-account": "physics",
        "atoll.dev/slurm-comment": "for ada",
    }
    assert job("")["metadata"]["name"] == "train-sh-4711"
    assert job("-J ÄÖÜ")["metadata"]["name"] == "job-4711"
    assert len(job(f"-J {'x' * 300}")["metadata"]["name"]) <= 63


def test_an_output_file_is_kept_where_an_output_dataset_is_mounted() -> None:
    """Relative names are of the first output's path, as they are of the submit folder with Slurm."""
    kept = batch("-o %x-%A_%3a.%N.log\n-e /out/errors/%u.txt")
    assert kept.files.output == (
        '/out/train.sh-"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}"_$(printf %03d "${SLURM_ARRAY_TASK_ID:-4294967294}")'
        '."$SLURMD_NODENAME".log'
    )
    assert (kept.files.error, kept.notes) == ("/out/errors/ada.txt", ())
    lost = batch("-o /home/ada/logs/%j.out\n-e /out/../etc/passwd")
    assert (lost.files.output, lost.files.error) == (None, None)
    assert [note.split(" ")[2] for note in lost.notes] == [
        "--output=/home/ada/logs/%j.out",
        "--error=/out/../etc/passwd",
    ]
    assert container(job(""))["workingDir"] == "/out"
    assert container(job("-D /work"))["workingDir"] == "/work"


STEPS = {
    "fits": ("srun -n 4 -c 1 ./a", []),
    "tasks": ("srun -n 8 ./a", ["line 4: srun --ntasks=8: is more than the job has, 4"]),
    "attached": ("FOO=1 srun -n8 ./a", ["line 4: srun --ntasks=8: is more than the job has, 4"]),
    "nodes": ("srun --nodes=2 ./a", ["line 4: srun --nodes=2: is more than the job has, 1"]),
    "GPUs": ("srun --overlap --gpus=a100:1 ./a", ["line 4: srun --gpus=1: is more than the job has, 0"]),
    "on the next line": ("srun --mem 4G \\\n  --cpus-per-task 9 ./a", ["line 4: srun --cpus-per-task=9: is more than"]),
    "of the command": ("srun ./a -n 9", []),
    "of a variable": ("srun -n $TASKS ./a", []),
    "in an open quote": ("srun -n 9 bash -c '\necho'", ["line 4: srun --ntasks=9: is more than the job has, 4"]),
    "no call": ("echo srun -n 9", []),
}


@pytest.mark.parametrize("case", STEPS)
def test_a_step_that_asks_for_more_than_the_job_is_refused_with_its_line(case: str) -> None:
    body, beginnings = STEPS[case]
    if not beginnings:
        batch("-n 4", body=f"\n{body}")
        return
    for problem, beginning in zip(refusals("-n 4", body=f"\n{body}"), beginnings, strict=True):
        assert problem.startswith(beginning)


@given(text=st.text(alphabet="$()A{}a `\\", max_size=30), value=st.text(max_size=3))
def test_no_text_is_changed_by_kubernetes_expansion_of_references(text: str, value: str) -> None:
    assert expand(guarded(text), {"A": value, "a": value, "AA": "x"}) == text


WORDS = st.sampled_from(
    ["--mem", "=", "16G", "-n", "4", "--array", "0-9%2", "'", '"', "\\", "#", " ", "-", "--", "gpu:", "a100", ":", ",",
     "--export", "ALL", "A=1", "--output", "%x", "%", "--nodes", "1-", "--time", "hetjob", "\t", "--gres", "-J", "é"]
)  # fmt: skip
LINES = st.lists(WORDS, max_size=8).map(lambda words: f"#SBATCH {''.join(words)}") | st.text(max_size=30)
KEPT = sorted(name for name, option in OPTIONS.items() if option.fate is Fate.KEPT)
VALUES = st.text(max_size=9) | st.sampled_from(
    ["", "0", "1", "2", "9999", "1000000", "-1000000", "99999-0", "999999-0", "1-5", "0-99999", "1:1", "gpu:9999", "x",
     "a:4096", "a:4097", "16G", "999999999T", "9000000T", "%j", "/out/%a", "haswell", "batch", "A=1", "NONE"]
)  # fmt: skip


@settings(max_examples=400)
@given(lines=st.lists(LINES, max_size=3), options=st.dictionaries(st.sampled_from(KEPT), VALUES, max_size=4))
def test_any_script_is_a_job_that_its_kind_takes_or_a_named_error(lines: list[str], options: dict[str, str]) -> None:
    """Never anything else: no other exception, and no Job that the hub would refuse for its form."""
    try:
        script = read_script("\n".join(["#!/bin/sh", *lines]).encode(errors="surrogatepass"))
        made = prepare(script, [typed(options)], SITE, AROUND, name="x")
    except InvalidInput as error:
        assert str(error)
    else:
        accepted = Job.model_validate(made.manifest_of(1))
        ((pods, count),) = pods_of_job(accepted.spec)
        assert pods.resources.millicores >= 1000 and count >= 1


@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_script_or_a_named_error(content: bytes) -> None:
    try:
        script = read_script(b"#!/bin/sh\n#SBATCH " + content)
    except InvalidInput as error:
        assert str(error)
    else:
        assert script.interpreter == ("/bin/sh",)
