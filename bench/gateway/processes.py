"""Processes that are measured from outside: CPU time and memory of a contestant with all its children (Linux only)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PEAK_RESET = "5"
"""What `/proc/PID/clear_refs` takes for it (proc(5))."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Group:
    """A command in a session of its own, with whatever it starts."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        with log.open("ab") as out:
            self._leader = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._log = log

    def answers(self, url: str, seconds: float = 120.0) -> float:
        """Wait for a 200; the CPU seconds that were spent until then. Raises `RuntimeError` with the last log lines."""
        late = time.monotonic() + seconds
        while time.monotonic() < late and self._leader.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return self.cpu_seconds()
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        told = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"{self._log.stem} doesn't answer; the end of its log:\n{told}")

    def cpu_seconds(self) -> float:
        """User and system time so far, of children that have ended, too."""
        ticks = sum(sum(map(int, fields[11:15])) for fields in map(_stat, self._processes()))
        return ticks / _TICK

    def resident(self) -> float:
        """MB now, shared pages counted for each process."""
        return sum(_memory(process, "VmRSS") for process in self._processes())

    def peak(self) -> float:
        """MB at most since `reset_peak`, the peaks of all processes added up."""
        return sum(_memory(process, "VmHWM") for process in self._processes())

    def reset_peak(self) -> None:
        for process in self._processes():
            (process / "clear_refs").write_text(_PEAK_RESET)

    def stop(self) -> None:
        if self._leader.poll() is None:
            os.killpg(self._leader.pid, signal.SIGTERM)
        try:
            self._leader.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._leader.pid, signal.SIGKILL)
            self._leader.wait()

    def _processes(self) -> list[Path]:
        """Folders in ``/proc`` of the session's processes."""
        folders = (folder for folder in Path("/proc").iterdir() if folder.name.isdigit())
        return [folder for folder in folders if (stat := _stat(folder)) and int(stat[3]) == self._leader.pid]


def _stat(process: Path) -> list[str]:
    """The fields of ``stat`` after the name, from the state on; empty if the process has ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _memory(process: Path, what: str) -> float:
    status = (process / "status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024
