"""`lvnet info`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from typing import Any, Dict

from .._version import __version__
from .terminal import json_text


def run_info(options: argparse.Namespace) -> int:
    """Prints version, devices and everything the loaded weights say of themselves."""
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
    print(f"  classes: {', '.join(entry['name'] for entry in weights['classes'])}")
    print(
        f"  parameters: {weights['parameters']:,}; multiply-accumulates on {weights['macs_input']}: {weights['macs']:,}"
    )
    print(f"  {weights['file_mb']} MB on disk, {weights['state_mib']} MiB as float32")
    for key, value in weights["recipe"]["provenance"].items():
        print(f"  {key}: {value if isinstance(value, (str, int, float)) else json.dumps(value, ensure_ascii=False)}")
    return 0


def gather(path: Any = None) -> Dict[str, Any]:
    """The same as a JSON object.

    Raises:
        CheckpointError: the weights cannot be read.
    """
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
