"""The stress set: scans with synthetic pathologies and known ground truth, and the evaluation of weights on it.

Findings that make a network fail on new scans are rare in data sets.  Here the scans of a data set get a mass, an
effusion and so on, from mild to severe, by the same code as training patches but with other random seeds.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lvnet.errors import ConfigurationError, ImageError
from lvnet.files import passing_folder, write_whole
from lvnet.image_io import read_image, read_labels, write_image, write_labels
from lvnet.inference import Model
from lvnet.orientation import to_canonical
from lvnet.progress import Progress, silent
from lvnet.recipe import LIVER
from lvnet.volume import Volume

from .pathology import Anatomy
from .pathology.artefacts import add_arms, add_low_dose, add_metal
from .pathology.brightness import shift_brightness
from .pathology.fluid import add_ascites, add_effusion
from .pathology.masses import add_lesions, add_mass
from .sources import Source, find_cases
from .validation import load_pairs, score

#: Number of scans per kind.
PER_KIND = 5
#: A scan is left out if no suitable position for a pathology is found after so many tries.
_TRIES = 12
#: In-plane voxels finer than this are first averaged 2 x 2: the network uses coarser ones.
_FINEST_MM = 1.2


def _between(low: Tuple[float, float], high: Tuple[float, float], severity: float) -> Tuple[float, float]:
    return low[0] + severity * (high[0] - low[0]), low[1] + severity * (high[1] - low[1])


def _artefacts(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> bool:
    arms = add_arms(rng, anatomy)
    return (add_metal(rng, anatomy) if severity > 0.4 else True) and arms


#: Adds a pathology with a severity from 0 to 1; returns whether there was room for it.
MAKERS: Dict[str, Callable[[np.random.Generator, Anatomy, float], bool]] = {
    "mass": lambda rng, a, s: add_mass(rng, a, _between((20.0, 40.0), (100.0, 120.0), s)),
    "lesions": lambda rng, a, s: add_lesions(rng, a, _between((8.0, 20.0), (60.0, 100.0), s)),
    "dark liver": lambda rng, a, s: shift_brightness(rng, a, _between((-25.0, -15.0), (-65.0, -55.0), s)),
    "bright liver": lambda rng, a, s: shift_brightness(rng, a, _between((20.0, 30.0), (80.0, 90.0), s)),
    "ascites": lambda rng, a, s: add_ascites(rng, a, _between((4.0, 8.0), (24.0, 30.0), s)),
    "effusion": lambda rng, a, s: add_effusion(rng, a, _between((0.2, 0.4), (0.9, 1.0), s)),
    "low dose": lambda rng, a, s: add_low_dose(rng, a, _between((20.0, 30.0), (60.0, 70.0), s)),
    "artefacts": _artefacts,
}


@dataclass(frozen=True)
class StressScore:
    """The result on one scan of the set.

    Attributes:
        kind: the kind of pathology.
        severity: 0 (mild) to 1 (severe).
        dice: against the ground truth.
        taken: fraction of the synthetic mass or fluid that was segmented as the organ; None for other kinds.
    """

    case: str
    kind: str
    severity: float
    dice: float
    taken: Optional[float]


def make_stress_set(
    data: Path, output: Path, seed: int = 1, per_kind: int = PER_KIND, progress: Progress = silent
) -> List[str]:
    """Writes the set, one folder per case: `ct.nii.gz`, `liver.nii.gz`, `made.nii.gz` and `stress.json`.

    Existing cases are kept.

    Args:
        data: labelled data set, such as the validation scans, or another stress set: its scans then have two
            pathologies.
        output: folder for the set.
        seed: random seed.
        per_kind: number of scans per kind, from the mildest to the most severe, using the scans in turn.

    Returns:
        A sentence for each scan that was left out because there was no room for the pathology.

    Raises:
        ImageError: the data set contains no case.
        ConfigurationError: `per_kind` is not positive.
    """
    if per_kind < 1:
        raise ConfigurationError(f"the number of scans per kind must be 1 or more, not {per_kind}")
    sources = [source for source in find_cases(data) if not source.problem]
    left_out = []
    for number, kind in enumerate(MAKERS):
        for place in range(per_kind):
            source = sources[(number + place) % len(sources)]
            severity = place / max(1, per_kind - 1)
            case = f"{kind.replace(' ', '-')}-{place + 1}-{source.name}"
            progress((number * per_kind + place) / (len(MAKERS) * per_kind), case)
            if (output / case / "stress.json").exists():
                continue
            scan, label = _halved(read_image(source.scan), read_labels(source.label))
            made = _made(scan, label, kind, severity, (seed, number, place))
            if made is None:
                left_out.append(f"{case} is left out: there is no room for the pathology in this scan")
                continue
            facts = {"kind": kind, "severity": severity, "source": original_of(source), "seed": seed}
            _write(output, case, made, facts)
    return left_out


def original_of(source: Source) -> str:
    """The case from which a case of a stress set was made, also through another stress set; else its own name."""
    facts = source.scan.parent / "stress.json"
    return str(json.loads(facts.read_text(encoding="utf-8"))["source"]) if facts.exists() else source.name


def _made(
    scan: Volume, label: Volume, kind: str, severity: float, seeds: Tuple[int, ...]
) -> Optional[Tuple[Volume, Volume, Volume]]:
    """Scan, label and synthetic structure, on the canonical grid."""
    moved, orientation = to_canonical(scan)
    organ = orientation.apply(label.array) > 0
    for attempt in range(_TRIES):
        rng = np.random.default_rng((*seeds, attempt))
        anatomy = Anatomy(moved.array, organ, moved.spacing)
        if MAKERS[kind](rng, anatomy, severity):
            hu = np.clip(np.rint(anatomy.hu), -1024, 3071).astype(np.int16)
            masks = [(share > 0.5).astype(np.uint8) for share in (anatomy.organ, anatomy.made)]
            return moved.with_array(hu), moved.with_array(masks[0]), moved.with_array(masks[1])
    return None


def _write(output: Path, case: str, made: Tuple[Volume, Volume, Volume], facts: Mapping[str, Any]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with passing_folder(output) as folder:
        write_image(made[0], folder / "ct.nii.gz")
        write_labels(made[1], folder / "liver.nii.gz", (LIVER,))
        write_labels(made[2], folder / "made.nii.gz", (LIVER,))
        write_whole(folder / "stress.json", json.dumps(facts).encode("utf-8"))
        os.replace(folder, output / case)


def _halved(scan: Volume, label: Volume) -> Tuple[Volume, Volume]:
    """Averages 2 x 2 pixels if they are fine."""
    depth, height, width = scan.shape
    if min(scan.spacing[1:]) > _FINEST_MM or min(height, width) < 256:
        return scan, label
    even = (slice(None), slice(0, height // 2 * 2), slice(0, width // 2 * 2))

    def means(array: np.ndarray) -> np.ndarray:
        part = array[even].astype(np.float32).reshape(depth, height // 2, 2, width // 2, 2)
        return np.asarray(part.mean(axis=(2, 4)))

    # The new voxels' centres are shifted by half an old voxel along both in-plane axes.
    shift = np.asarray(scan.direction).reshape(3, 3) @ np.array([0.5 * scan.spacing[2], 0.5 * scan.spacing[1], 0.0])
    x, y, z = (float(a + b) for a, b in zip(scan.origin, shift))
    spacing = (scan.spacing[0], 2 * scan.spacing[1], 2 * scan.spacing[2])
    image = Volume(means(scan.array), spacing, (x, y, z), scan.direction, name=scan.name)
    return image, image.with_array((means(label.array > 0) >= 0.5).astype(np.uint8))


def score_stress_set(
    model: Model, folder: Path, overlap: float = 0.5, progress: Progress = silent
) -> List[StressScore]:
    """Segments and evaluates every case of a set that :func:`make_stress_set` wrote.

    Raises:
        ImageError: the folder contains no such set.
    """
    facts = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*/stress.json")}
    if not facts:
        raise ImageError(f"{folder} contains no stress set")
    results: List[StressScore] = []
    sources = [source for source in find_cases(folder) if source.name in facts]
    for number, source in enumerate(sources):
        progress(number / len(sources), source.name)
        pair = load_pairs([source])
        made = read_labels(folder / source.name / "made.nii.gz").array > 0
        found: List[np.ndarray] = []

        def seen(_name: str, _scan: Volume, _label: Volume, result: Volume, into: List[np.ndarray] = found) -> None:
            into.append(result.array > 0)

        dice = float(score(model, pair, overlap, seen=seen)[source.name]["dice"])
        taken = float((found[0] & made).sum() / made.sum()) if made.any() else None
        fact = facts[source.name]
        results.append(StressScore(source.name, fact["kind"], fact["severity"], dice, taken))
    return results


def stress_table(results: Sequence[StressScore]) -> List[str]:
    """Lines of a table, with a row per case, then a row per kind."""
    lines = [f"{'case':<32}{'severity':>10}{'dice':>8}{'included':>10}"]
    lines += [f"{r.case:<32}{r.severity:>10.2f}{r.dice:>8.4f}{_percent(r.taken):>10}" for r in results]
    lines.append("")
    lines.append(f"{'kind':<32}{'scans':>10}{'mean':>8}{'lowest':>10}{'most included':>16}")
    for kind in dict.fromkeys(r.kind for r in results):
        mine = [r for r in results if r.kind == kind]
        taken = [r.taken for r in mine if r.taken is not None]
        dice = [r.dice for r in mine]
        most = _percent(max(taken) if taken else None)
        lines.append(f"{kind:<32}{len(mine):>10}{np.mean(dice):>8.4f}{min(dice):>10.4f}{most:>16}")
    lines.append(f"{'all':<32}{len(results):>10}{np.mean([r.dice for r in results]):>8.4f}")
    return lines


def _percent(share: Optional[float]) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
