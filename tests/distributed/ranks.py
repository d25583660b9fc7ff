"""Starting a script once for each rank."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(script: Path, out: Path, num_ranks: int, **more: str) -> list[subprocess.Popen]:
    """``python script out`` by each of the ranks, on one thread, with ``RANKS`` and these variables set."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PL_"))}
    environment |= {"OMP_NUM_THREADS": "1", "RANKS": str(num_ranks), **more}
    if num_ranks > 1:
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(num_ranks)}
    return [
        subprocess.Popen(
            [sys.executable, str(script), str(out)],
            env=environment | ({"LOCAL_RANK": str(rank), "NODE_RANK": "0"} if num_ranks > 1 else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(num_ranks)
    ]


def logs_of(processes: list[subprocess.Popen]) -> list[str]:
    """What each wrote, after all have ended well."""
    try:
        logs = [process.communicate(timeout=400)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, log in zip(processes, logs, strict=True):
        assert process.returncode == 0, log[-4000:]
    return logs
