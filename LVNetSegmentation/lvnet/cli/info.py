"""`lvnet info`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from typing import Any, Dict

from .._version import __version__
from ..image_io import list_scans
from ..system import staying_imports
from .terminal import json_text, printable


def run_info(options: argparse.Namespace) -> int:
    """Prints version, devices and the metadata of the weights, or the scans of a folder."""
    if options.folder is not None:
        return _list_folder(options)
    facts = gather(options.weights)
    if options.json:
        print(json_text(facts))
        return 0
    weights = facts["weights"]
    print(f"lvnet {facts['version']}, Python {facts['python']}, PyTorch {facts['torch']}")
    for device in facts["devices"]:
        memory = "" if device["memory_gb"] is None else f", {device['memory_gb']} GB"
        print(f"device {device['name']}: {device['description']}{memory}")
    print(f"weights {weights['name']} ({weights['path']})")
    network = weights["recipe"]["architecture"].get("network")
    if network:
        print(f"  network: {network}, one of those that the paper compares LV-Net with")
    print(f"  classes: {', '.join(entry['name'] for entry in weights['classes'])}")
    print(
        f"  parameters: {weights['parameters']:,}; multiply-accumulates on {weights['macs_input']}: {weights['macs']:,}"
    )
    print(f"  {weights['file_mb']} MB on disk, {weights['state_mib']} MiB as float32")
    quality = weights["recipe"].get("quality")
    if quality:
        print(f"  expected DICE: estimated for every result; below {quality['look_below']:.2f} a review is advised")
    for key, value in weights["recipe"]["provenance"].items():
        print(f"  {key}: {value if isinstance(value, (str, int, float)) else json.dumps(value, ensure_ascii=False)}")
    return 0


def _list_folder(options: argparse.Namespace) -> int:
    found = list_scans(options.folder)
    if options.json:
        print(json_text(found))
        return 0
    several = len({scan["patient"] for scan in found["scans"]}) > 1 or len({s["study"] for s in found["scans"]}) > 1
    for index, scan in enumerate(found["scans"]):
        place = f"patient {scan['patient']}, study {scan['study']}, " if several else ""
        distance = "" if scan["slice_distance_mm"] is None else f" {scan['slice_distance_mm']:g} mm apart"
        said = ", ".join(
            word for word in (f'"{scan["description"]}"' if scan["description"] else "", scan["words"]) if word
        )
        mark = "*" if index == 0 else " "
        text = f"{mark} {scan['series']:>6}  {place}{scan['slices']} slices{distance}, {scan['height_mm']:g} mm"
        print(printable(f"{text}, {said}" if said else text))
        print(printable(f"          UID {scan['uid']}, in {scan['folder']}"))
    for reason, count in sorted(found["left_out"].items()):
        print(f"  left out: {count} x {reason}")
    print("* is used unless --series selects another by its number (with :2 for a second pass), UID or description")
    return 0


def gather(path: Any = None) -> Dict[str, Any]:
    """The same as a JSON object.

    Raises:
        CheckpointError: the weights cannot be read.
    """
    with staying_imports():
        import torch

        from ..checkpoint import load_checkpoint
        from ..complexity import measure
        from ..devices import list_devices

    checkpoint = load_checkpoint(path)
    recipe = checkpoint.recipe
    depth, (height, width) = recipe.preprocessing.slab_depth, recipe.preprocessing.in_plane_size
    size = (1, recipe.architecture.in_channels, depth, height, width)
    complexity = measure(checkpoint.build(), size)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": sys.platform,
        "torch": torch.__version__,
        "devices": list_devices(),
        "weights": {
            "name": recipe.name,
            "path": str(checkpoint.path),
            "sha256": checkpoint.checksum,
            "file_mb": round(os.path.getsize(checkpoint.path) / 1e6, 3),
            "parameters": complexity.parameters,
            "macs": complexity.macs,
            "macs_input": "x".join(map(str, size[1:])),
            "state_mib": round(complexity.megabytes, 3),
            "classes": recipe.to_dict()["classes"],
            "recipe": recipe.to_dict(),
        },
    }
