"""`atoll whatif` by the program itself: what it prints, and its exit codes."""

import json
from pathlib import Path

import pytest
from clitool import Cli

from atoll.cli.explaining import expectation
from atoll.cli.policy_commits import checked_out
from atoll.cli.replaying import change_of
from atoll.federation.errors import InvalidInput
from git_repository import begin, commit, git

JOB = """
apiVersion: atoll.dev/v1alpha1
kind: Job
metadata: {name: asked-about, namespace: default}
spec:
  queue: %s
  workload: {spec: {template: {spec: {containers: [{name: main, image: i}]}}}}
"""
QUEUE = "apiVersion: atoll.dev/v1alpha1\nkind: Queue\nmetadata: {name: whatif}\nspec: {maxRunningJobs: 0}\n"


def test_what_would_happen_is_told_and_nothing_is_written(cluster: Cli) -> None:
    """A job that would start gives 0, one that would wait 3; drain and quota are tables."""
    cluster.ok("apply", "-f", "-", stdin=QUEUE)
    starts = cluster("whatif", "job", "-f", "-", stdin=JOB % "batch")
    assert starts.returncode == 0, starts.stderr
    assert starts.stdout.startswith("job/asked-about → ")
    waits = cluster("whatif", "job", "-f", "-", "-o", "json", stdin=JOB % "whatif")
    assert waits.returncode == 3, waits.stderr
    told = json.loads(waits.stdout)
    assert (told["starts"], told["reason"]) == (False, "QueueLimit")
    assert cluster("job", "explain", "asked-about").returncode == 1, "there is no such job"
    assert "no run is on" in cluster.ok("whatif", "drain", starts.stdout.split()[2].rstrip(","))
    assert cluster.ok("whatif", "quota", "whatif", "--gpus", "3").splitlines()[-1].startswith("nothing would change")


def test_questions_that_cannot_be_answered_name_what_is_wrong(cluster: Cli) -> None:
    """One error line, exit 1, nothing on stdout."""
    for words, text in (
        (("drain", "nowhere"), "cluster 'nowhere' does not exist"),
        (("quota", "nowhere", "--gpus", "1"), "queue 'nowhere' does not exist"),
        (("quota", "batch"), "--gpus, --cpu, --memory or --weight"),
        (("quota", "batch", "--cpu", "many"), "'many' is no quantity"),
    ):
        done = cluster("whatif", *words)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert text in done.stderr
    other = cluster("whatif", "job", "-f", "-", stdin=QUEUE)
    assert "name a file with one Job" in other.stderr


def test_a_limit_in_short_form_is_replaced_by_the_one_that_is_asked_about() -> None:
    """maxGpus and quota.limit.gpus would contradict each other."""
    assert change_of(gpus=8, cpu=None, memory=None, weight=2) == {
        "quota": {"limit": {"gpus": 8}}, "maxGpus": None, "weight": 2,
    }  # fmt: skip
    with pytest.raises(InvalidInput):
        change_of(gpus=None, cpu=None, memory="lots", weight=None)


def test_a_learned_run_time_is_explained_and_a_guessed_one_is_not() -> None:
    """From how many runs it is, and how far they spread; of the cluster where the job goes."""
    learned = "the run time is learned from 7 runs of this image, 1m to 2m"
    guessed = "spec.expectedDuration is not given: 3600 s is taken for it"
    clusters = [{"cluster": "a", "notes": [learned, guessed]}, {"cluster": "b", "notes": ["learned otherwise"]}]
    assert expectation({"selected": "a", "clusters": clusters}) == [learned]
    assert expectation({"selected": None, "clusters": []}) == []
    assert expectation({}) == []


def test_a_policy_folder_is_looked_at_as_a_commit_has_it_and_the_repository_stays_as_it_is(tmp_path: Path) -> None:
    """What is checked out is a copy; no such commit, and no such folder in it, are told by name."""
    repository = tmp_path / "policies"
    begin(repository)
    commit(repository)
    (repository / "net").mkdir()
    (repository / "net" / "p.yaml").write_text("one\n")
    commit(repository)
    git(repository, "tag", "first")
    (repository / "net" / "p.yaml").write_text("changed by hand\n")
    with checked_out(repository / "net", "first") as folder:
        assert (folder / "p.yaml").read_text() == "one\n"
        assert repository not in folder.parents
    assert not folder.exists()
    assert (repository / "net" / "p.yaml").read_text() == "changed by hand\n"
    for revision, words in (("nowhere", "the repository has no nowhere"), ("first~1", "has no such folder")):
        with pytest.raises(InvalidInput, match=words), checked_out(repository / "net", revision):
            pass


def test_a_policy_set_that_does_not_exist_is_named(hub: Cli, tmp_path: Path) -> None:
    done = hub("whatif", "policy", "nowhere", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere" in done.stderr
