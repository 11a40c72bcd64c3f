"""Feeds a target in a child process with payloads from hypothesis, and collects the findings."""

from __future__ import annotations

import collections
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Optional

import hypothesis
from fuzz_targets import TARGETS
from hypothesis import HealthCheck, Phase, given, settings

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
#: Timeout of an answer in seconds; generous, since the machine may be busy.
PATIENCE = 20.0


class _Over(BaseException):
    """The time is up; hypothesis passes this on at once, since it is not an Exception."""


class Child:
    """A process that runs a target; it is replaced when it dies."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the child

    def run(self, payload: bytes) -> Dict[str, Any]:
        """The child's answer; a crash and a timeout are findings."""
        if self._process is None:
            self._start()
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack("<I", len(payload)) + payload)
            self._process.stdin.flush()
            answer = self._answer(PATIENCE)
        except (BrokenPipeError, EOFError):
            code = self._process.wait()
            self._errors.seek(0)
            words = self._errors.read().decode("utf-8", "replace")
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self.close()
            frame = re.search(r'File "[^"]*?([^/"]+)", line (\d+)', words)
            return {"outcome": "finding", "what": f"the process died: {name}; {words[-1500:]}",
                    "where": f"{name} {frame.group(1)}:{frame.group(2)}" if frame else name}  # fmt: skip
        if answer is None:
            self.close()
            return {"outcome": "finding", "what": f"no answer within {PATIENCE:.0f} s", "where": "time"}
        return answer

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> None:
        path = os.pathsep.join([str(ROOT / "LVNetSegmentation"), str(ROOT / "training"), str(FOLDER)])
        self._errors.seek(0)
        self._errors.truncate()
        # The plain network: compiling kernels in every child would only take time.
        variables = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "LVNET_ACCELERATION": "off"}
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "fuzz_child.py"), self.target],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=variables,
        )  # fmt: skip
        try:
            ready = self._answer(180)
        except EOFError:
            ready = None
        if ready is None:
            self._errors.seek(0)
            raise RuntimeError(self._errors.read().decode("utf-8", "replace"))

    def _answer(self, seconds: float) -> Optional[Dict[str, Any]]:
        assert self._process is not None and self._process.stdout is not None
        handle, data, end = self._process.stdout.fileno(), b"", time.monotonic() + seconds
        while len(data) < 4 or len(data) < 4 + struct.unpack("<I", data[:4])[0]:
            if not select.select([handle], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            piece = os.read(handle, 65536)
            if not piece:
                raise EOFError
            data += piece
        return dict(json.loads(data[4:]))


def fuzz(target: str, seconds: float, seed: int, executions: Optional[int] = None,
         save: Optional[Path] = None, least: int = 0) -> Dict[str, Any]:  # fmt: skip
    """Fuzzes a target.

    Args:
        target: a key of `TARGETS`.
        seconds: time limit, without the start.
        seed: the same seed gives the same payloads.
        executions: maximum number of payloads.
        save: folder for the smallest payload of every finding.
        least: continues after `seconds` until this many payloads are done, however busy the computer is.

    Returns:
        `target`, `seed`, `seconds`, `executions`, `outcomes` by name, `peak_mb`, and `findings`: each with `what`,
        `where`, `count` and `payload` (hexadecimal, the smallest one).
    """
    child = Child(target)
    outcomes: collections.Counter = collections.Counter()
    findings: Dict[str, Dict[str, Any]] = {}
    payloads = TARGETS[target].payloads()
    peak, began, batch = 0.0, time.monotonic(), 0

    def over() -> bool:
        done = sum(outcomes.values())
        late = time.monotonic() - began > seconds and done >= least
        return late or (executions is not None and done >= executions)

    def one(payload: bytes) -> None:
        nonlocal peak
        if over():
            raise _Over
        answer = child.run(payload)
        outcomes[answer["outcome"]] += 1
        peak = max(peak, answer.get("peak_mb", 0.0))
        if answer["outcome"] == "finding":
            key = f"{answer['what'].split(':')[0][:80]} at {answer.get('where', '')}"
            found = findings.setdefault(key, {**answer, "count": 0, "payload": payload.hex()})
            found["count"] += 1
            if len(payload) * 2 < len(found["payload"]):
                found.update(answer, payload=payload.hex())

    try:
        child._start()
        began = time.monotonic()
        while True:
            quiet = settings(
                max_examples=100, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            hypothesis.seed(seed * 1_000_003 + batch)(quiet(given(payloads)(one)))()
            batch += 1
    except _Over:
        pass
    finally:
        child.close()
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        for number, found in enumerate(findings.values()):
            (save / f"{target}-{seed}-{number}.bin").write_bytes(bytes.fromhex(found["payload"]))
    return {
        "target": target, "seed": seed, "seconds": round(time.monotonic() - began, 1),
        "executions": sum(outcomes.values()), "outcomes": dict(outcomes), "peak_mb": peak,
        "findings": list(findings.values()),
    }  # fmt: skip
