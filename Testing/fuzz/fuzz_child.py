"""Runs one target on the payloads it receives, so that a crash of a library ends only this process.

`python fuzz_child.py TARGET`; a message is its length in four bytes followed by its contents.  Payloads come on stdin;
for each, one JSON object is written to stdout: `outcome` ("valid", "refused" or "finding"), `what`, `where`, `peak_mb`.
"""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import struct
import sys
import tempfile
import traceback
from pathlib import Path

#: Address space allowed for a payload, in addition to that of the libraries: memory must be bounded.
EXTRA_BYTES = 6 << 30
#: Memory use above which a payload of a few kilobytes is a finding.
PEAK_MB = 700


def main(target: str) -> None:
    """Serves until stdin ends."""
    import resource

    faulthandler.enable(sys.stderr)
    spoken = os.dup(1)
    os.dup2(2, 1)
    from fuzz_targets import SUBJECTS
    from lvnet.errors import LVNetError

    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        empty, folder = Path(name) / "cwd", Path(name) / "files"
        empty.mkdir()
        folder.mkdir()
        os.chdir(empty)
        subject = SUBJECTS[target](folder)
        limit = _memory("VmSize") * 1024 + EXTRA_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        _say(spoken, {"outcome": "ready"})
        while True:
            header = sys.stdin.buffer.read(4)
            if len(header) < 4:
                return
            payload = sys.stdin.buffer.read(struct.unpack("<I", header)[0])
            _reset_peak()
            base = _memory("VmRSS")
            try:
                answer = {"outcome": subject.run(payload)}
            except LVNetError as error:
                answer = {"outcome": "refused"}
                if "\n" in str(error).strip() or not str(error):
                    answer = {"outcome": "finding", "what": f"refused in other than one line: {str(error)[:300]!r}"}
            except BaseException as error:
                frames = traceback.extract_tb(error.__traceback__)
                own = [f for f in frames if "/lvnet" in f.filename] or frames
                where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
                answer = {"outcome": "finding", "what": f"{type(error).__name__}: {str(error)[-600:]}", "where": where}
            peak = (_memory("VmHWM") - base) / 1024
            if peak > PEAK_MB and answer["outcome"] != "finding":
                answer = {"outcome": "finding", "what": f"took {peak:.0f} MB", "where": "memory"}
            if os.listdir(empty):
                answer = {"outcome": "finding", "what": f"wrote {os.listdir(empty)}", "where": "cwd"}
                shutil.rmtree(empty)
                empty.mkdir()
                os.chdir(empty)
            _say(spoken, {**answer, "peak_mb": round(peak, 1)})


def _say(handle: int, answer: dict) -> None:
    text = json.dumps(answer).encode()
    os.write(handle, struct.pack("<I", len(text)) + text)


def _memory(field: str) -> int:
    """A field of this process's status in kilobytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"the system does not tell {field}")


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


if __name__ == "__main__":
    main(sys.argv[1])
