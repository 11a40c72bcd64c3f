"""Kills commands with SIGKILL at random moments and before every file system operation, and checks what they leave.

`python Testing/faults/kill.py --kills 50 segment batch training export` prints JSON; exit code 1 if a file was
incomplete.

Commands run in children forked from a process that has already imported everything, so that the kills hit the work and
not Python's start.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional

os.environ.update(OMP_NUM_THREADS="1", LVNET_ACCELERATION="off")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "LVNetSegmentation"), str(ROOT / "training")]

import lvnet.acceleration.allocator  # noqa: E402
import lvnet.cli.segment  # noqa: E402
import lvnet.pipeline.scan  # noqa: E402
import lvnet_training.cli  # noqa: E402
import lvnet_training.loop  # noqa: E402
import lvnet_training.materials  # noqa: E402
import lvnet_training.validation  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from lvnet.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from lvnet.files import PREFIX  # noqa: E402
from lvnet.image_io import read_image, write_image, write_labels  # noqa: E402
from lvnet.network import LVNet  # noqa: E402
from lvnet.phantom import make_phantom  # noqa: E402
from lvnet.recipe import LIVER, Architecture, Preprocessing, Recipe  # noqa: E402
from lvnet_training.config import load_config  # noqa: E402
from lvnet_training.state import Run  # noqa: E402

#: Audit events that change the contents of a folder.
_TOUCHES = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "shutil.rmtree")
_SMALL = {"widths": [4, 6, 8, 8, 10], "expansion": 1, "kernel_size": 3}


class HalfWrittenError(AssertionError):
    """A file that is neither complete nor absent, or another error that a kill must not cause."""


class Scenario:
    """A command that is killed.

    Args:
        folder: for its inputs.
    """

    #: Whether the next run continues where a killed one stopped.
    resumes = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reference: Dict[str, bytes] = {}

    def command(self, output: Path) -> Callable[[], int]:
        """The function that runs in the child."""
        raise NotImplementedError

    def check(self, output: Path) -> None:
        """Every existing file must be identical to that of an uninterrupted run."""
        for name, data in files_of(output).items():
            if self.reference.get(name) != data:
                raise HalfWrittenError(f"{name} has {len(data)} bytes and is not what an undisturbed run writes")

    def finished(self, output: Path) -> None:
        """Checks the files after a run that was not killed."""
        self.check(output)
        missing = self.reference.keys() - files_of(output).keys()
        if missing:
            raise HalfWrittenError(f"missing after a whole run: {missing}")


def files_of(folder: Path) -> Dict[str, bytes]:
    """Contents by name, without hidden files."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def left_in(folder: Path) -> List[Path]:
    """Temporary files and folders."""
    return [path for path in folder.rglob("*") if path.name.startswith(PREFIX)]


class Segment(Scenario):
    """`lvnet segment` with a probability map."""

    #: In-plane spacing of the network's grid in mm.
    spacing = 2.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.weights = save_weights(folder, self.spacing)
        write_image(make_phantom(5, size=(32, 64, 64))[0], folder / "ct.nii.gz")

    def command(self, output: Path) -> Callable[[], int]:
        """See the class."""
        place = ["segment", str(self.folder / "ct.nii.gz"), "-o", str(output / "liver.nii.gz")]
        more = ["--probabilities", str(output / "soft.nrrd"), "--weights", self.weights, "--device", "cpu", "--quiet"]
        return lambda: lvnet.cli.main([*place, *more])

    def check(self, output: Path) -> None:
        """Existing files must also be readable."""
        super().check(output)
        for name in files_of(output):
            read_image(output / name)


class Batch(Segment):
    """`lvnet segment` of a folder."""

    # Coarse, so that kills do not always hit the network.
    spacing = 8.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "scans").mkdir()
        for number in range(3):
            write_image(make_phantom(number, size=(16, 40, 40))[0], folder / "scans" / f"{number}.nii.gz")

    def command(self, output: Path) -> Callable[[], int]:
        """See the class."""
        place = ["segment", str(self.folder / "scans"), "-o", str(output), "--format", ".seg.nrrd"]
        return lambda: lvnet.cli.main([*place, "--weights", self.weights, "--device", "cpu", "--quiet"])


class Training(Scenario):
    """`lvnet-train fit`, including its cache; the same command resumes a killed run."""

    resumes = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        scan, label = make_phantom(3, size=(24, 48, 48))
        (folder / "data" / "p3").mkdir(parents=True)
        write_image(scan, folder / "data" / "p3" / "ct.nii.gz")
        write_labels(label, folder / "data" / "p3" / "liver.nii.gz", [LIVER])
        settings = {
            "samples_per_epoch": 8, "average": 0.9, "architecture": _SMALL,
            "preprocessing": {"window": [-120, 240], "mean": 22.0, "std": 86.0, "in_plane_spacing": [8, 8],
                              "slice_spacing": 8},
            "stages": [{"epochs": 4, "spacing": [8, 8, 8], "patch": [16, 32, 32], "batch": 2}],
        }  # fmt: skip
        self.config = folder / "c.yaml"
        self.config.write_text(yaml.safe_dump(settings))

    def command(self, output: Path) -> Callable[[], int]:
        """See the class."""
        data = str(self.folder / "data")
        arguments = ["fit", "--config", str(self.config), "--data", data, "--validation", data]
        more = ["--output", str(output), "--device", "cpu", "--no-pictures", "--deterministic"]
        return lambda: lvnet_training.cli.main([*arguments, *more])

    def check(self, output: Path) -> None:
        """The run can be resumed from existing files, and the log is a complete table."""
        for path in output.glob("*.pt"):
            Run.start(load_config(self.config), torch.device("cpu")).restore(path)
        for path in output.glob("*.csv"):
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            if [int(row["epoch"]) for row in rows] != list(range(1, len(rows) + 1)):
                raise HalfWrittenError(f"{path.name}: {rows}")

    def finished(self, output: Path) -> None:
        """The weights, their average and Adam's state equal those of an uninterrupted run, bit for bit."""
        self.check(output)
        for name, data in self.reference.items():
            if _plain_bytes(output / name) != data:
                raise HalfWrittenError(f"{name} is not that of an undisturbed run")


class Export(Scenario):
    """`lvnet-train export`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        training = Training(folder)
        self.config = training.config
        Run.start(load_config(self.config), torch.device("cpu")).save(folder / "last.pt")
        (folder / "provenance.json").write_text(json.dumps({"date": "2026-01-01", "commit": "none"}))

    def command(self, output: Path) -> Callable[[], int]:
        """See the class."""
        place = ["export", str(self.folder / "last.pt"), str(output / "w.safetensors"), "--config", str(self.config)]
        return lambda: lvnet_training.cli.main([*place, "--provenance", str(self.folder / "provenance.json")])

    def check(self, output: Path) -> None:
        """Existing files can also be loaded."""
        super().check(output)
        for name in files_of(output):
            load_checkpoint(output / name).build()


class Careless(Scenario):
    """Writes a file in place, piece by piece: an error that this program must find."""

    def command(self, output: Path) -> Callable[[], int]:
        """See the class."""

        def write() -> int:
            with (output / "a.bin").open("wb", buffering=0) as file:
                for piece in range(20):
                    file.write(bytes([piece]) * 1000)
                    time.sleep(0.01)
            (output / "b.bin").write_bytes(b"more")
            return 0

        return write


SCENARIOS = {"segment": Segment, "batch": Batch, "training": Training, "export": Export}
_OTHERS = {"careless": Careless}


def save_weights(folder: Path, spacing: float) -> str:
    """A checkpoint of a network so small that its own run time is negligible; in-plane spacing in mm."""
    settings = Preprocessing(mean=0.0, std=100.0, in_plane_spacing=(spacing, spacing), slice_spacing=1.5 * spacing)
    recipe = Recipe(Architecture(widths=(4, 6, 8, 8, 10), kernel_size=3, expansion=1), settings, name="tiny")
    torch.manual_seed(3)
    save_checkpoint(folder / "tiny.safetensors", LVNet(recipe.architecture).state_dict(), recipe)
    return str(folder / "tiny.safetensors")


def start(command: Callable[[], int], output: Path, touch: Optional[int] = None) -> int:
    """Forks a child that runs a command; returns its process id.

    Args:
        touch: the child kills itself right before this operation on the output (1 is the first).
    """
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        log = os.open(output.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if touch is not None:
            sys.addaudithook(_killer(str(output), touch))
        code = command()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _killer(folder: str, touch: int) -> Callable[[str, tuple], None]:
    left = [touch]

    def hook(event: str, arguments: tuple) -> None:
        if event not in _TOUCHES or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def ended(child: int) -> int:
    """Waits for a child; returns its exit code, negative for a signal."""
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def run(name: str, kills: int, seed: int, touches: Optional[int] = None) -> Dict[str, object]:
    """Kills a scenario at random moments, then before each operation on its output.

    Args:
        kills: number of random moments.
        touches: maximum number of these operations; None: all.

    Returns:
        `command`, `seconds` of an uninterrupted run, `kills`, `whole` and `absent` outputs after them, `temporary`
        files left behind, `touches`, number of `resumed` runs that finished, and `problems`.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="lvnet-kill-") as place:
        folder = Path(place)
        scenario = {**SCENARIOS, **_OTHERS}[name](folder)
        result = {"command": name, "kills": 0, "whole": 0, "absent": 0, "temporary": 0, "touches": 0, "resumed": 0}
        problems: List[str] = []
        whole = folder / "whole"
        whole.mkdir()
        began = time.monotonic()
        if ended(start(scenario.command(whole), whole)):
            raise RuntimeError((folder / "log.txt").read_text())
        seconds = time.monotonic() - began
        scenario.reference = _reference(scenario, whole)
        output = folder / "killed"
        output.mkdir()

        def one(touch: Optional[int]) -> bool:
            """One run that is killed; False if it finished before."""
            child = start(scenario.command(output), output, touch)
            if touch is None:
                time.sleep(rng.uniform(0, seconds))
                os.kill(child, signal.SIGKILL)
            code = ended(child)
            if code not in (0, -signal.SIGKILL):
                problems.append(f"exit code {code}: {(folder / 'log.txt').read_text()[-2000:]}")
            try:
                (scenario.finished if code == 0 else scenario.check)(output)
            except Exception as error:
                problems.append(f"{type(error).__name__}: {error}")
            if code == 0:
                result["resumed"] += scenario.resumes
                _settle(scenario, output, problems, again=False)
                return False
            there = files_of(output).keys() & scenario.reference.keys()
            result["whole"] += len(there)
            result["absent"] += len(scenario.reference) - len(there)
            result["temporary"] += len(left_in(output))
            if not scenario.resumes:
                # Only hidden files stay: the next run has to remove them.
                for file in files_of(output):
                    (output / file).unlink()
            return True

        while result["kills"] < kills and not problems:
            result["kills"] += one(None)
        if scenario.resumes:
            # Start from the beginning: a finished run performs hardly any operations.
            result["resumed"] += _settle(scenario, output, problems)
        touch = 1
        while not problems and (touches is None or touch <= touches) and one(touch):
            result["touches"] = touch
            touch += 1
        result["resumed"] += _settle(scenario, output, problems)
        return {**result, "seconds": round(seconds, 2), "problems": problems}


def _reference(scenario: Scenario, whole: Path) -> Dict[str, bytes]:
    if not scenario.resumes:
        return files_of(whole)
    return {path.name: _plain_bytes(path) for path in whole.glob("*.pt")}


def _plain_bytes(path: Path) -> bytes:
    """The contents of a .pt file in reproducible bytes, without the run's time."""
    file = io.BytesIO()
    state = torch.load(path, weights_only=True)
    torch.save({name: value for name, value in state.items() if name != "seconds"}, file)
    return file.getvalue()


def _settle(scenario: Scenario, output: Path, problems: List[str], again: bool = True) -> int:
    """Lets a run finish, which must leave complete files and nothing temporary; then starts from the beginning."""
    code = ended(start(scenario.command(output), output)) if again else 0
    try:
        if code:
            raise HalfWrittenError(f"the run after the kills ended with {code}")
        scenario.finished(output)
        if left_in(output):
            raise HalfWrittenError(f"left behind: {[path.name for path in left_in(output)]}")
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
    shutil.rmtree(output)
    output.mkdir()
    return int(again and scenario.resumes)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--kills", type=int, default=50, help="random moments for each")
    parser.add_argument("--touches", type=int, help="at most so many touches of the file system; default: all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = [run(name, options.kills, options.seed, options.touches) for name in options.scenarios or SCENARIOS]
    print(json.dumps(results, indent=2))
    return 1 if any(result["problems"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
