"""An agent on a host: its systemd unit, and the shell script that puts unit, token and CA in their places.

For a cluster that shall hold no Deployment, and for a cloud cluster whose agent runs beside the hub with a kubeconfig.
"""

import shlex

from atoll.installation.plan import Installation, agent_options

PROGRAM = "/usr/local/bin/atoll"
_UNIT = """\
[Unit]
Description=Atoll agent of cluster {cluster}
Wants=network-online.target
After=network-online.target
# It waits for its hub and its API server for as long as it takes.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
Restart=always
RestartSec=5
DynamicUser=yes
StateDirectory=atoll-agent/{cluster}
StateDirectoryMode=0700
{credentials}
UMask=0077
AmbientCapabilities=
CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
"""


def unit_name(cluster: str) -> str:
    """Name the unit of a cluster's agent."""
    return f"atoll-agent-{cluster}.service"


def folder(cluster: str) -> str:
    """Name the folder of root's in which token, CA and kubeconfig are; the agent gets copies that only it can read."""
    return f"/etc/atoll/agents/{cluster}"


def unit(installation: Installation, *, program: str = PROGRAM) -> str:
    """Give the unit. `program` is where atoll is installed on the host."""
    cluster, ca = installation.cluster, ("ca.crt",) if installation.hub.ca else ()
    # %d is the folder of the unit's credentials, %S the one of all states (systemd.unit, "Specifiers").
    options = agent_options(
        installation, credentials="%d", state_dir=f"%S/atoll-agent/{cluster}", kubeconfig="%d/kubeconfig"
    )
    loaded = (f"LoadCredential={name}:{folder(cluster)}/{name}" for name in ("token", *ca, "kubeconfig"))
    return _UNIT.format(cluster=cluster, command=" ".join((program, *options)), credentials="\n".join(loaded))


def script(installation: Installation, *, program: str = PROGRAM) -> str:
    """Give the shell script, to be run as root on the host. It ends with what is still to be done there."""
    cluster, place = installation.cluster, folder(installation.cluster)
    unit_path = f"/etc/systemd/system/{unit_name(cluster)}"
    kubeconfig = f"{place}/kubeconfig"
    files = [("600", f"{place}/token", f"{installation.hub.token}\n")]
    files += [("644", f"{place}/ca.crt", installation.hub.ca)] if installation.hub.ca else []
    files += [("644", unit_path, unit(installation, program=program))]
    lines = ["#!/bin/sh", "set -eu", f"install -d -m 700 {place}"]
    for mode, path, content in files:
        lines += [
            f"install -m {mode} /dev/null {path}",
            f"cat > {path} <<'END_OF_FILE'",
            content.rstrip(),
            "END_OF_FILE",
        ]
    lines += [
        "systemctl daemon-reload",
        f"if [ -f {kubeconfig} ]; then systemctl enable {unit_name(cluster)}; systemctl restart {unit_name(cluster)}",
        f"else echo {shlex.quote(f'put a kubeconfig of the cluster into {kubeconfig}, then: systemctl enable --now')}"
        f" {unit_name(cluster)}; fi",
    ]
    return "\n".join(lines) + "\n"
