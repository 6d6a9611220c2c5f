"""The smallest campaign: a federation of real processes works while parts of it die, and every question holds.

What it is to find, and what many seeds find, is `make campaign`'s; this one sees that campaigns can be run at all.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from campaign.links import faults
from campaign.report import CLAIMS, Report
from campaign.running import Plan, open_campaign
from campaign.schedule import Planned
from campaign.whole import Size
from exactly_once.lab import has_mosquitto
from rig.hosts import why_not

_SCRIPT = (
    Planned(0.5, "hub killed", "hub-0", 2.0, 1),
    Planned(1.0, "cluster cut off", "cloud-eu", 3.0, 2),
    Planned(1.5, "gateway killed", "lab-0", 1.0, 3),
    Planned(3.0, "NATS server killed", "n1", 2.0, 4),
    Planned(4.5, "agent killed", "cloud-eu", 1.0, 5),
    Planned(5.0, "policy deleted by hand", "cloud-eu", 0.1, 6),
)


@pytest.mark.campaign
@pytest.mark.timeout(400)
@pytest.mark.skipif(not has_mosquitto(), reason="needs the mosquitto broker (apt-get install mosquitto)")
def test_a_small_federation_keeps_every_guarantee_through_a_few_faults(tmp_path: Path) -> None:
    size, report = Size(clusters=1, gateways=1), Report("campaign", "a small one", "a test")
    plan = Plan((1,), storm_seconds=8.0, calm_seconds=150.0, faults_per_second=0.0, script=_SCRIPT, work_seconds=(2, 4))
    with open_campaign(tmp_path, size, plan, report=report, say=print) as campaign:
        campaign.run()
    assert report.failures == []
    assert report.unseen == []
    assert set(report.observations) == set(CLAIMS)


@pytest.mark.campaign
@pytest.mark.timeout(400)
@pytest.mark.skipif(not has_mosquitto(), reason="needs the mosquitto broker (apt-get install mosquitto)")
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_small_federation_of_network_namespaces_keeps_every_guarantee_though_packets_go_wrong(tmp_path: Path) -> None:
    size = ("--clusters", "1", "--gateways", "1", "--storm-seconds", "12", "--minutes", "0.1")
    command = [sys.executable, "-m", "campaign", *size, "--seeds", "100", "--report", str(tmp_path / "report")]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    drawn = json.loads((tmp_path / "report.json").read_text())["faults"]
    assert drawn.keys() & faults("cluster").keys()
    assert drawn.keys() & faults("gateway").keys()
