"""A Ray cluster on the nodes of a SLURM job: each node gets its Ray through a step of the job.

The environment variable `LTRP_BENCH_RAY_START` replaces the command `ray start`, which clusters for tests need.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

OBJECT_STORE: Final = 256 * 2**20
"""Bytes of shared memory of a node: rows and scores of a few spans."""

START_SECONDS: Final = 300
"""Time that Ray is given to start on all nodes."""

STOP_SECONDS: Final = 30
"""Time that Ray is given to end."""

STARTED: Final = "Ray runtime started"
"""What `ray start` prints when a node is up."""

LONGEST: Final = 40
"""Characters in the path of a node's folder: paths of the sockets in it have at most 107."""

NODE: Final = """
folder=$1; shift
mkdir -p "$folder"
trap : TERM
exec 3<&0
cat <&3 >/dev/null &
"$@" --temp-dir="$folder" 3<&- &
ray=$!
wait -n
kill $ray %1 2>/dev/null
wait
rm -rf "$folder"
"""
"""Bash that holds a Ray node until its standard input ends, and removes the node's files then."""


class RayNodes:
    """A Ray cluster on the nodes of this job, one Ray node each."""

    def __init__(self) -> None:
        self._job = os.environ["SLURM_JOB_ID"]
        listed = _output("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"])
        self._nodes = listed.split()
        cpus = os.environ.get("SLURM_CPUS_PER_TASK")
        own = per_node(os.environ["SLURM_JOB_CPUS_PER_NODE"])
        self._cpus = [int(cpus)] * len(self._nodes) if cpus else own
        self._gpus = os.environ.get("SLURM_GPUS_PER_NODE", "0").rpartition(":")[2]
        # Beside the job's log. A job that was put into the queue again writes further files.
        self._logs = Path(os.environ["SUBMITIT_FOLDER"].replace("%j", self._job))
        self._attempt = os.environ.get("SLURM_RESTART_COUNT", "0")
        self._steps: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> str:
        """Start Ray on all nodes; returns the cluster's address.

        Raises:
            SystemExit: Ray does not start on the first node.
        """
        began = time.monotonic()
        # Without it, every user of the network could run code in this job. Old versions of Ray ignore it.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
        head = _address(self._nodes[0])
        port = _free_port(head)
        self._start(0, "--head", f"--node-ip-address={head}", f"--port={port}", "--include-dashboard=false")
        self._await(self._nodes[:1], began)
        for number in range(1, len(self._nodes)):
            self._start(number, f"--address={head}:{port}")
        up = self._await(self._nodes, began)
        print(f"Ray runs on {', '.join(up)} after {time.monotonic() - began:.0f} s", flush=True)
        return f"{head}:{port}"

    def stop(self) -> None:
        """End Ray on all nodes."""
        for step in self._steps.values():
            assert step.stdin is not None
            step.stdin.close()  # see NODE; a signal to srun would kill Ray at once
        until = time.monotonic() + STOP_SECONDS
        for step in self._steps.values():
            try:
                step.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                step.kill()

    def _start(self, number: int, *arguments: str) -> None:
        """Start Ray on a node.

        Args:
            number: the node's place in the list of nodes.
            arguments: of `ray start`, beside those that all nodes have.
        """
        node, cpus = self._nodes[number], self._cpus[number]
        step = ["srun", "--overlap", "--nodes=1", "--ntasks=1", f"--nodelist={node}", f"--cpus-per-task={cpus}"]
        name = f"ray-{self._job}-{os.getpid()}.{number}"
        folder = Path(tempfile.gettempdir(), name)
        if len(str(folder)) > LONGEST:
            folder = Path("/tmp", name)
        ray = shlex.split(os.environ.get("LTRP_BENCH_RAY_START", ""))
        command = [*(ray or (sys.executable, "-m", "ray.scripts.scripts", "start")), *arguments]
        command += [f"--num-cpus={cpus}", f"--num-gpus={self._gpus}", f"--object-store-memory={OBJECT_STORE}"]
        # Port 0 is any free one: other jobs may use the same node.
        command += ["--dashboard-agent-listen-port=0", "--disable-usage-stats", "--block"]
        step += [f"--output={self._log(node)}", "bash", "-c", NODE, "ray-node", str(folder), *command]
        self._steps[node] = subprocess.Popen(step, stdin=subprocess.PIPE)

    def _log(self, node: str) -> Path:
        return self._logs / f"ray_{self._attempt}_{node}.log"

    def _await(self, nodes: Sequence[str], began: float) -> list[str]:
        """Wait until Ray runs on these nodes; returns those where it does.

        Raises:
            SystemExit: it does not run on the first one.
        """
        up: list[str] = []
        waiting = list(nodes)
        while waiting and time.monotonic() - began < START_SECONDS:
            time.sleep(0.2)
            for node in list(waiting):
                if self._runs(node):
                    up.append(node)
                if node in up or self._steps[node].poll() is not None:
                    waiting.remove(node)
        for node in [node for node in nodes if node not in up]:
            print(f"Ray does not start on {node}, which gets no work: see {self._log(node)}", flush=True)
        if nodes[0] not in up:
            sys.exit(1)
        return [node for node in nodes if node in up]

    def _runs(self, node: str) -> bool:
        log = self._log(node)
        return log.exists() and STARTED in log.read_text(encoding="utf-8", errors="replace")


def per_node(text: str) -> list[int]:
    """Numbers in SLURM's short form, one for each node: "8,4(x2)" is 8, 4, 4."""
    out = []
    for number, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        out += [int(number)] * int(times or 1)
    return out


def _address(node: str) -> str:
    """The address of this node that other nodes reach it by: SLURM's, unless that is a loopback address."""
    shown = re.search(r"NodeAddr=(\S+)", _output("scontrol", "show", "node", node))
    try:
        address = socket.gethostbyname(shown[1] if shown else node)
    except OSError:
        address = "127.0.0.1"
    if address.startswith("127."):
        from ray.util import get_node_ip_address

        address = str(get_node_ip_address())
    return address


def _free_port(address: str) -> int:
    with socket.socket() as one:
        one.bind((address, 0))
        return int(one.getsockname()[1])


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
