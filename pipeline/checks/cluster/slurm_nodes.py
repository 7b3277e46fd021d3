"""A real Slurm of three nodes on this machine, in a network of its own, of Debian's packages, which stay unpacked."""

import os
import platform
import secrets
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from pipeline.checks.cluster.grid import descendants, kill, until
from pipeline.runs.folder import Refused

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NODES = ("n1", "n2", "n3")
CONFIG = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
SlurmctldPort=16817
MpiDefault=none
PluginDir={plugins}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool/%n
SlurmdPidFile={place}/%n.pid
SlurmctldPidFile={place}/slurmctld.pid
SlurmdLogFile={place}/%n.log
SlurmctldLogFile={place}/slurmctld.log
ReturnToService=2
KillWait=60
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdTimeout=15
SchedulerParameters=bf_interval=5,batch_sched_delay=1
NodeName=n[1-3] NodeHostname={host} NodeAddr=127.0.0.1 Port=[17001-17003] CPUs=1 RealMemory=8000
PartitionName=low Nodes=n[1-3] Default=YES PriorityTier=1 MaxTime=60
PartitionName=high Nodes=n[1-3] PriorityTier=10 MaxTime=60
"""


def unpacked(folder: Path) -> Path:
    """The root of the programs, which apt brings and dpkg unpacks there; Refused if it cannot."""
    root, debs = folder / "root", folder / "debs"
    if not (root / "usr/sbin/slurmd-wlm").is_file():
        (debs / "partial").mkdir(parents=True, exist_ok=True)
        words = ["apt-get", "-qq", "-y", "--no-install-recommends", "--download-only", "install", *PACKAGES]
        words += ["-o", f"Dir::Cache::archives={debs}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(f"apt-get cannot bring {', '.join(PACKAGES)}: {' '.join(done.stderr.split())[:200]}")
        for deb in sorted(debs.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
    return root


class Nodes:
    """The daemons; `variables` is what a client needs in its environment."""

    def __init__(self, root: Path, place: Path) -> None:
        self.root, self.place = root, place
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        (library,) = {path.parent for path in root.glob("usr/lib/*/slurm-wlm")}
        self.variables = {
            "SLURM_CONF": str(place / "slurm.conf"),
            "LD_LIBRARY_PATH": f"{library}:{library}/slurm-wlm",
            "PATH": f"{root}/usr/bin:{os.environ['PATH']}",
        }
        for name in ("state", "spool"):
            (place / name).mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(host=platform.node(), place=place, plugins=library / "slurm-wlm")
        (place / "slurm.conf").write_text(text, encoding="utf-8")
        key = place / "munge.key"
        key.unlink(missing_ok=True)
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)

    def start(self) -> None:
        """Starts all; Refused if the nodes are not idle within a minute."""
        names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        words = [f"--{option}={self.place}/munge.{name}" for option, name in names.items()]
        self._daemon("munged", "--foreground", "--force", *words)
        until(lambda: (self.place / "munge.socket").exists())
        self._daemon("slurmctld-wlm", "-D", "-c", "-f", self.variables["SLURM_CONF"])
        for node in NODES:
            self.start_node(node)
        if not until(lambda: self.said("sinfo", "-h", "-o", "%D %t", "-p", "low").split() == ["3", "idle"]):
            raise Refused(f"Slurm's nodes do not come up; see {self.place}")

    def start_node(self, node: str) -> None:
        """Starts the daemon of a node."""
        step = str(self.root / "usr/sbin/slurmstepd-wlm")
        self._daemon("slurmd-wlm", "-D", "-f", self.variables["SLURM_CONF"], "-N", node, "-d", step, name=node)

    def kill_node(self, node: str) -> None:
        """As if its power were gone: the daemon and all that it started."""
        process = self._running.pop(node)
        all_of_it = [process.pid, *descendants(process.pid), *_steps(node, self.variables["SLURM_CONF"])]
        kill(all_of_it, signal.SIGSTOP)  # so that none tells of the end of another
        kill(all_of_it)
        process.wait()

    def said(self, *words: str) -> str:
        """What one of the programs says."""
        there = {**os.environ, **self.variables}
        return subprocess.run(words, env=there, capture_output=True, text=True, check=False).stdout

    def stop(self) -> None:
        """Ends everything."""
        self.said("scancel", "--user=root")
        for node in [*NODES]:
            if node in self._running:
                self.kill_node(node)
        for process in self._running.values():
            process.terminate()
            process.wait()

    def _daemon(self, program: str, *words: str, name: str = "") -> None:
        variables: Mapping[str, str] = {**os.environ, **self.variables}
        with (self.place / f"{name or program}.out").open("ab") as output:
            self._running[name or program] = subprocess.Popen(
                [str(self.root / "usr/sbin" / program), *words], env=variables, stdout=output, stderr=output
            )


def _steps(node: str, conf: str) -> list[int]:
    """What the node's jobs are, which leave their daemon: those that Slurm told so in their environment."""
    mine, found = {"SLURMD_NODENAME": node, "SLURM_CONF": conf}.items(), list[int]()
    for each in psutil.process_iter(["environ"]):
        if mine <= (each.info["environ"] or {}).items():
            above = [process.pid for process in each.parents()[:1] if "slurmstepd" in " ".join(process.cmdline())]
            found += [each.pid, *descendants(each.pid), *above]
    return found
