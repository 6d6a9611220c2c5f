"""Campaigns with a planted bug each, short and focused: one that finds nothing would say nothing of the others.

Owns how such a campaign is run and what counts as found: a finding of the very guarantee that the bug breaks.
"""

from collections.abc import Callable
from pathlib import Path

from campaign.bugs import BUGS, Bug
from campaign.report import Report
from campaign.running import Plan, open_campaign
from campaign.whole import Size
from rig.hosts import Centre

_CLUSTERS, _STORM_SECONDS, _CALM_SECONDS = 2, 45.0, 30.0


def campaign_with(
    name: str, home: Path, *, machine: str, say: Callable[[str], None], centre: Centre | None = None
) -> Report:
    """Run the campaign that is to find a bug; give its report. Bugs that need hosts need a centre."""
    bug: Bug = BUGS[name]
    size = Size(clusters=_CLUSTERS, gateways=1, planted=name, victims=bug.victims)
    seconds = max((fault.at + fault.seconds for fault in bug.script), default=0.0)
    plan = Plan(
        seeds=(1,),
        storm_seconds=max(_STORM_SECONDS, seconds + 10.0),
        calm_seconds=_CALM_SECONDS,
        faults_per_second=0.0,
        script=bug.script,
        work_seconds=bug.work_seconds,
    )
    report = Report("campaign", f"{size.text}, with the planted bug {name}", machine)
    with open_campaign(home, size, plan, report=report, say=say, centre=centre) as campaign:
        campaign.run()
    return report


def is_found(name: str, report: Report) -> bool:
    """Tell whether the campaign has found what was planted, and not only that something was late."""
    return any(failure.guarantee == BUGS[name].guarantee for failure in report.failures)
