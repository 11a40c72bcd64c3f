"""Processes many scans in one process and checks memory, open files, and results against single runs.

`python Testing/faults/load.py --count 200 batch worker` prints JSON; exit code 1 if memory grew by 5 % or more, files
stayed open, or a result differed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULE = ROOT / "LVNetSegmentation"
sys.path[:0] = [str(MODULE), str(ROOT / "training")]

import numpy as np  # noqa: E402
from lvnet.image_io import read_labels, write_image  # noqa: E402
from lvnet.phantom import make_phantom  # noqa: E402
from lvnet.recipe import Architecture, Preprocessing, Recipe  # noqa: E402
from lvnet.volume import Volume  # noqa: E402
from lvnet.worker.exchange import SCAN_FILE, Exchange, write_array  # noqa: E402
from lvnet.worker.messages import decode, encode  # noqa: E402

#: Tolerated growth of memory.
MOST_GROWTH = 0.05
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(MODULE)}
Sample = Tuple[int, int]


def sample(process: str = "self") -> Sample:
    """Memory in use (bytes) and number of open files of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{process}/fd"))


def judged(samples: List[Sample]) -> Dict[str, Any]:
    """Growth between the second tenth of the scans, when everything is loaded and warm, and the last tenth.

    The minimum of each part is used, and with few scans the parts are larger than a tenth: a process frees memory after
    its answer, so that a sample may be taken before or after that.  Leaked memory is never freed.
    """
    start = max(2, len(samples) // 10)
    window = max(len(samples) // 10, min(8, len(samples) // 2 - start))
    early, late = samples[start : start + window], samples[-window:]
    before, after = (min(memory for memory, _ in part) for part in (early, late))
    return {
        "memory_mb": [round(before / 2**20, 1), round(after / 2**20, 1)],
        "growth": round(after / before - 1, 4),
        "open_files": [early[0][1], late[-1][1]],
        "problems": [
            *([f"memory grew by {after / before - 1:.1%}"] if after / before - 1 >= MOST_GROWTH else []),
            *(["files stayed open"] if late[-1][1] > early[0][1] else []),
        ],
    }


def phantom(kind: int) -> Volume:
    """A small scan; kinds differ in size, since the size affects how memory is allocated and freed."""
    return make_phantom(kind, size=(14 + 2 * kind, 40, 44 + 2 * kind))[0]


def scans(folder: Path, count: int, kinds: int) -> List[Path]:
    """Files with the given number of scans and kinds."""
    made = []
    for kind in range(kinds):
        write_image(phantom(kind), folder / f"kind{kind}.nii.gz")
    (folder / "scans").mkdir()
    for number in range(count):
        made.append(folder / "scans" / f"{number:04d}.nii.gz")
        os.link(folder / f"kind{number % kinds}.nii.gz", made[-1])
    return made


def weights(folder: Path) -> str:
    """A network so small that the rest of the program takes most of the time."""
    import torch
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet

    settings = Preprocessing(mean=0.0, std=100.0, in_plane_spacing=(4.0, 4.0), slice_spacing=6.0)
    recipe = Recipe(Architecture(widths=(4, 6, 8), kernel_size=3, expansion=1), settings, name="tiny")
    torch.manual_seed(3)
    save_checkpoint(folder / "tiny.safetensors", LVNet(recipe.architecture).state_dict(), recipe)
    return str(folder / "tiny.safetensors")


_singles: Dict[int, List[bytes]] = {}


def singles(folder: Path, network: str, kinds: int) -> List[bytes]:
    """Results of `lvnet segment` for every kind, each in a separate process."""
    if kinds not in _singles:
        _singles[kinds] = []
        for kind in range(kinds):
            out = folder / "single.nii.gz"
            place = ["segment", str(folder / f"kind{kind}.nii.gz"), "-o", str(out), "--weights", network, "--quiet"]
            subprocess.run([sys.executable, "-m", "lvnet", *place, "--device", "cpu"], env=_ENVIRONMENT, check=True)
            _singles[kinds].append(out.read_bytes())
    return _singles[kinds]


def batch(count: int, kinds: int) -> Dict[str, Any]:
    """`lvnet segment` of a folder, in this process."""
    from lvnet.cli import main

    # The command uses this function when it runs.
    from lvnet.pipeline import scan as command

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, network = scans(folder, count, kinds), weights(folder)
        samples: List[Sample] = []
        one = command.segment_file

        def counted(*arguments: Any, **options: Any) -> Any:
            result = one(*arguments, **options)
            samples.append(sample())
            return result

        command.segment_file = counted
        began = time.monotonic()
        try:
            place = ["segment", str(folder / "scans"), "-o", str(folder / "out"), "--weights", network]
            with contextlib.redirect_stderr(io.StringIO()):
                code = main([*place, "--device", "cpu", "--quiet"])
        finally:
            command.segment_file = one
        seconds = time.monotonic() - began
        expected = singles(folder, network, kinds)
        different = [
            p.name for i, p in enumerate(made) if (folder / "out" / p.name).read_bytes() != expected[i % kinds]
        ]
        return _report("batch", count, seconds, samples, different, [] if code == 0 else [f"exit code {code}"])


def worker(count: int, kinds: int) -> Dict[str, Any]:
    """Requests to one worker, each with its own folder, as the panel sends them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans(folder, 0, kinds)
        network = weights(folder)
        for kind, data in enumerate(singles(folder, network, kinds)):
            (folder / f"single{kind}.nii.gz").write_bytes(data)
        volumes = [phantom(kind) for kind in range(kinds)]
        expected = [read_labels(folder / f"single{kind}.nii.gz").array for kind in range(kinds)]
        process = subprocess.Popen(
            [sys.executable, str(MODULE / "lvnet" / "worker" / "__main__.py")],
            env=_ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            samples: List[Sample] = []
            different, began = [], time.monotonic()
            for number in range(count):
                found = _asked(process, number, volumes[number % kinds], network, folder)
                if not np.array_equal(found, expected[number % kinds]):
                    different.append(str(number))
                samples.append(sample(str(process.pid)))
            seconds = time.monotonic() - began
            left = [path.name for path in folder.glob("lvnet-exchange-*")]
        finally:
            process.kill()
            process.communicate()
        return _report("worker", count, seconds, samples, different, [f"left behind: {left}"] if left else [])


def _asked(process: Any, number: int, scan: Volume, network: str, folder: Path) -> np.ndarray:
    exchange = Exchange(folder)
    try:
        write_array(exchange.path / SCAN_FILE, scan.array, scan.array.shape, scan.array.dtype)
        place = {"spacing": scan.spacing, "origin": scan.origin, "direction": scan.direction}
        request = {"do": "segment", "id": number, "folder": str(exchange.path), "device": "cpu", "weights": network}
        process.stdin.write(encode({**request, **place}))
        process.stdin.flush()
        for line in process.stdout:
            answer = decode(line) or {}
            if answer.get("type") in ("error", "bye"):
                raise RuntimeError(line.decode())
            if answer.get("type") == "result":
                break
        result = np.zeros(scan.array.shape, np.uint8)
        for entry in answer["classes"]:
            if entry["file"]:
                box = tuple(slice(*side) for side in entry["box"])
                result[box][np.load(exchange.path / entry["file"]) > 0] = entry["value"]
        return result
    finally:
        exchange.remove()


def _report(name: str, count: int, seconds: float, samples: List[Sample], different: List[str],
            more: List[str]) -> Dict[str, Any]:  # fmt: skip
    report = judged(samples)
    report["problems"] += [*more, *([f"results differ: {different[:5]}"] if different else [])]
    return {"load": name, "count": count, "seconds": round(seconds, 1), "different": len(different), **report}


LOADS = {"batch": batch, "worker": worker}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("loads", nargs="*", metavar="LOAD", help=f"{', '.join(LOADS)}; default: both")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--kinds", type=int, default=4, help="different scans among them")
    options = parser.parse_args()
    reports = [LOADS[name](options.count, options.kinds) for name in options.loads or LOADS]
    print(json.dumps(reports, indent=2))
    return 1 if any(report["problems"] for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
