"""A real Ray of three machines on this one: each with a network of its own, and processes that can be lost at once."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from pipeline.checks.cluster.grid import descendants, kill, until
from pipeline.files import ROOT
from pipeline.runs.folder import Refused

NET = "10.99.0"
HEAD, WORKERS = "2", ("3", "4")
S3_PORT = 5000


def installed(folder: Path) -> dict[str, str]:
    """What an environment needs to use Ray and S3, which pip brings into the folder unless it is there; Refused if not.

    With them comes moto, a server of S3 for tests.
    """
    if not all((folder / name).is_dir() for name in ("ray", "s3fs", "moto")):
        shutil.rmtree(folder, ignore_errors=True)
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
        words += ["-c", str(ROOT / "constraints.txt"), "ray>=2.52", "s3fs", "moto[s3]", "flask", "flask-cors"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(f"pip cannot bring Ray: {' '.join(done.stderr.split())[:200]}")
    return {"PYTHONPATH": str(folder), "PATH": f"{folder}/bin:{os.environ['PATH']}"}


class Machines:
    """A bridge, with an S3 server at NET.1; machines at NET.2 (the head, which trains nothing), NET.3 and NET.4."""

    def __init__(self, programs: dict[str, str]) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets have short names
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        keys = {"AWS_ACCESS_KEY_ID": "drill", "AWS_SECRET_ACCESS_KEY": "drill", "AWS_DEFAULT_REGION": "us-east-1"}
        self.s3 = f"http://{NET}.1:{S3_PORT}"  # it asks for keys, and takes any
        self.variables = {**programs, **token, **keys, "AWS_ENDPOINT_URL": self.s3, "RAY_USAGE_STATS_ENABLED": "0"}
        self.address = f"{NET}.{HEAD}:6379"
        self._inits: dict[str, subprocess.Popen[bytes]] = {}
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts all."""
        _ip("link", "add", "br0", "type", "bridge")
        _ip("link", "set", "br0", "up")
        _ip("address", "add", f"{NET}.1/24", "dev", "br0")
        words = [sys.executable, "-m", "moto.server", "-H", f"{NET}.1", "-p", str(S3_PORT)]
        self._server = subprocess.Popen(
            words, env={**os.environ, **self.variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for name in (HEAD, *WORKERS):
            self.start_machine(name)

    def start_machine(self, name: str) -> None:
        """Starts one; Refused if its Ray does not come up."""
        words = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "sleep", "infinity"]
        self._inits[name] = subprocess.Popen(words, stderr=subprocess.DEVNULL)  # unshare complains when it is killed
        until(lambda: descendants(self._inits[name].pid))
        _ip("link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", str(self._pid(name)))
        _ip("link", "set", f"v{name}", "master", "br0", "up")
        for command in (f"address add {NET}.{name}/24 dev eth0", "link set eth0 up", "link set lo up"):
            subprocess.run([*self.inside(name), "ip", *command.split()], check=True)
        self.start_ray(name)

    def start_ray(self, name: str) -> None:
        """Starts Ray on a machine."""
        role = ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false"]
        role = role if name == HEAD else [f"--address={self.address}", "--num-cpus=1"]
        more = ["--object-store-memory=100000000", "--disable-usage-stats", f"--temp-dir={self.place}/{name}"]
        ray = ["-c", "from ray.scripts.scripts import main; main()", "start", f"--node-ip-address={NET}.{name}"]
        for _ in range(3):  # on a busy machine it gives up
            command = [*self.inside(name), sys.executable, *ray, *role, *more]
            there = {**os.environ, **self.variables}
            done = subprocess.run(command, env=there, capture_output=True, text=True, check=False)
            if not done.returncode:
                return
            kill(self.processes(name))
        raise Refused(f"Ray does not start on {NET}.{name}: {' '.join((done.stdout + done.stderr).split())[-300:]}")

    def inside(self, name: str) -> list[str]:
        """What a command begins with that is to run on a machine."""
        return ["nsenter", "--net", "--pid", "--mount", "--target", str(self._pid(name))]

    def processes(self, name: str, program: str = "") -> list[int]:
        """Those of a machine, but for its first; with `program` in their command line."""
        first, found = self._pid(name), list[int]()
        for each in psutil.process_iter(["cmdline"]):
            with suppress(OSError):  # gone by now
                if os.path.samefile(f"/proc/{each.pid}/ns/pid", f"/proc/{first}/ns/pid"):
                    found += [each.pid] if program in " ".join(each.info["cmdline"] or ()) else []
        return [pid for pid in found if pid != first]

    def lose_power(self, name: str) -> None:
        """The kernel ends all that a machine has with its first process."""
        kill([self._pid(name)])
        self._inits.pop(name).wait()
        subprocess.run(["ip", "link", "delete", f"v{name}"], check=False, capture_output=True)
        shutil.rmtree(self.place / name, ignore_errors=True)

    def cable(self, name: str, state: str) -> None:
        """`up` or `down`."""
        _ip("link", "set", f"v{name}", state)

    def stop(self) -> None:
        """Ends everything."""
        if self._server:
            self._server.kill()
            self._server.wait()
        for name in list(self._inits):
            self.lose_power(name)
        shutil.rmtree(self.place, ignore_errors=True)

    def _pid(self, name: str) -> int:
        return descendants(self._inits[name].pid)[0]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
