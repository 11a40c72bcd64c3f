"""Time of one training patch: our augmentation, which samples the scan directly, and the closest MONAI transforms.

MONAI gets the scan already resampled to the network's spacing (which could be cached).  Its transforms crop with a
margin around the organ or elsewhere, rotate, scale and deform in one interpolation, and change intensities.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any, Dict, Mapping

import harness

WAYS: Dict[str, Dict[str, str]] = {"ours": {}, "ours, on a grid": {}, "MONAI": {}}


def measure(task: harness.Task) -> Dict[str, Any]:
    """Measures the seconds for one patch; runs in a child process."""
    import itertools

    import torch

    torch.set_num_threads(task["threads"])
    make = _monai(task) if task["way"] == "MONAI" else _ours(task)
    counter = itertools.count()
    return {"seconds": harness.seconds_of(lambda: make(next(counter)), task["repeats"])}


def _scan(task: harness.Task) -> Any:
    from lvnet.phantom import make_phantom
    from lvnet_training.case import make_case

    return make_case("phantom", *make_phantom(1, size=tuple(task["size"])))


def _ours(task: harness.Task) -> Any:
    import numpy as np
    from lvnet_training.augmentation import draw_patch
    from lvnet_training.config import Augmentation
    from lvnet_training.gridding import on_grid

    case, settings = _scan(task), Augmentation()
    if task["way"] != "ours":
        case = on_grid(case, (2.0, 2.0, 2.0))
    return lambda seed: draw_patch(np.random.default_rng(seed), case, task["patch"], task["spacing"], settings, 0.6)


def _monai(task: harness.Task) -> Any:
    import numpy as np
    import torch
    from monai import transforms as m

    case = _scan(task)
    keys, patch = ["image", "label"], tuple(task["patch"])
    data = {
        "image": torch.from_numpy(np.array(case.image, np.float32))[None],
        "label": torch.from_numpy(np.array(case.label))[None],
    }
    factors = [old / new for old, new in zip(case.spacing, task["spacing"])]
    data = m.Zoomd(keys, factors, mode=("trilinear", "nearest"), keep_size=False)(data)
    margin = [int(side * 1.4) for side in patch]
    compose = m.Compose(
        [
            m.SpatialPadd(keys, margin, mode="edge"),
            m.RandCropByPosNegLabeld(keys, "label", margin, pos=6, neg=4),
            m.Rand3DElasticd(keys, sigma_range=(5, 6), magnitude_range=(0, 30), prob=1.0, spatial_size=patch,
                             rotate_range=[0.2, 0.07, 0.07], scale_range=[0.2, 0.2, 0.2],
                             mode=("bilinear", "nearest"), padding_mode="border"),
            m.RandGaussianSmoothd("image", (0.25, 0.8), (0.25, 0.8), (0.01, 0.02), prob=0.4),
            m.RandScaleIntensityd("image", 0.15, prob=0.7),
            m.RandShiftIntensityd("image", 20, prob=0.7),
            m.RandGaussianNoised("image", std=20, prob=0.6),
        ]
    )  # fmt: skip

    def make(seed: int) -> Any:
        compose.set_random_state(seed)
        return compose(data)

    return make


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--size", type=harness.size_of, default=(120, 256, 256), help="of the scan")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=12, help="counted patches a process, after one that is not")


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    patch, spacing = (16, 112, 144), (4.0, 2.5, 2.5)
    if options.quick:
        options.size, options.rounds, options.repeats, patch = (24, 64, 64), 1, 1, (16, 32, 32)

    def once(way: str) -> Dict[str, Any]:
        task = {"size": options.size, "patch": patch, "spacing": spacing, "way": way, "repeats": options.repeats,
                "threads": options.threads}  # fmt: skip
        return harness.child(__file__, task, options.threads, "default", WAYS[way])

    rounds, failed = harness.in_turns({way: partial(once, way) for way in WAYS}, options.rounds)
    seconds = {way: harness.median(runs) for way, runs in rounds.items()}
    return {
        "size": "x".join(map(str, options.size)),
        "patch": "x".join(map(str, patch)),
        "seconds": seconds,
        "spread": {way: harness.spread(runs) for way, runs in rounds.items()},
        "ratio": seconds["MONAI"] / seconds["ours"] if {"MONAI", "ours"} <= set(seconds) else None,
        "left_out": failed,
    }


def table(result: Mapping[str, Any]) -> str:
    """The table for the README."""
    rows = []
    for way, seconds in result["seconds"].items():
        low, high = result["spread"][way]
        times = seconds / result["seconds"]["ours"] if "ours" in result["seconds"] else None
        rows.append((way, f"{1000 * seconds:.0f}", f"{1000 * low:.0f} to {1000 * high:.0f}",
                     "-" if times is None else f"{times:.2f}"))  # fmt: skip
    rows += [(way, f"failed: {why}", "-", "-") for way, why in result["left_out"].items()]
    return harness.markdown(("augmentation", f"ms a patch {result['patch']}", "range", "times ours"), rows, result)


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table))
