"""What the worker can be asked to do."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Tuple, runtime_checkable

import numpy as np

from ..errors import LVNetError
from ..pipeline.options import SegmentOptions
from ..progress import CancelCheck, Progress, raise_if_cancelled
from ..system import available_memory
from .exchange import SCAN_FILE, write_array
from .failures import TORCH_BROKEN, TORCH_MISSING, TORCH_OLD, TorchError
from .handing import handed_over
from .plain_tasks import compare_task, phantom_task

_TORCH_FLOOR = (2, 1)
#: The network that was used last, and what it was loaded from.
_loaded: Dict[str, Any] = {"key": None, "model": None}
_torch: Dict[str, Any] = {"module": None}


def load_torch() -> Any:
    """PyTorch.

    Raises:
        TorchError: it is missing, cannot be loaded, or is too old.
    """
    if _torch["module"] is None:
        importlib.invalidate_caches()
        if importlib.util.find_spec("torch") is None:
            raise TorchError(TORCH_MISSING, "PyTorch is not installed")
        try:
            module = importlib.import_module("torch")
            version = str(module.__version__)
        except Exception as error:  # a broken installation fails in many ways: OSError, ImportError, AttributeError
            raise TorchError(TORCH_BROKEN, (str(error).splitlines() or [type(error).__name__])[0][:200]) from error
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _TORCH_FLOOR:
            raise TorchError(TORCH_OLD, version)
        from ..acceleration.allocator import keep_pages

        keep_pages()
        _torch["module"] = module
    return _torch["module"]


def after_task() -> None:
    """Gives memory back that only a running task needs; the network stays loaded."""
    torch = _torch["module"]
    if torch is None:
        return
    if _loaded["model"] is not None and _loaded["model"].device.type == "cuda":
        torch.cuda.empty_cache()
    from ..acceleration.allocator import release_pages

    release_pages()


def segment_task(request: Mapping[str, Any], progress: Progress, cancelled: CancelCheck) -> Dict[str, Any]:
    """Segments the scan in an exchange folder.

    Writes `class-<value>.npy` of every class that was found, uint8 zeros and ones within its box.

    Returns:
        `classes`: for each its fields, `box` (three pairs z, y, x, or None) and `file`; and what
        :meth:`lvnet.pipeline.ScanReport.to_dict` says.
    """
    options = SegmentOptions.from_request(request)
    scan = handed_over(request, SCAN_FILE, "the scan")
    model = _model(options, progress, cancelled)
    from ..pipeline.scan import segment_volume

    result, report = segment_volume(
        scan,
        options,
        model,
        progress=lambda share, stage: progress(0.04 + 0.94 * share, stage),
        cancelled=cancelled,
    )
    progress(0.99, "handing over the result")
    classes = []
    for entry in model.recipe.to_dict()["classes"]:
        file, box = f"class-{entry['value']}.npy", _box_of(result.labels.array, entry["value"])
        if box is not None:
            planes = (plane == entry["value"] for plane in result.labels.array[box])
            write_array(Path(request["folder"]) / file, planes, result.labels.array[box].shape, np.dtype(np.uint8))
        pairs = None if box is None else [[int(side.start), int(side.stop)] for side in box]
        classes.append({**entry, "box": pairs, "file": None if box is None else file})
    return {"classes": classes, **report.to_dict()}


@runtime_checkable
class TellsScans(Protocol):
    """A progress that also takes in what became of each scan of a folder, as it is done."""

    def scan(self, scan: Dict[str, Any]) -> None:
        """One entry of what :func:`folder_task` returns."""


def folder_task(request: Mapping[str, Any], progress: Progress, cancelled: CancelCheck) -> Dict[str, Any]:
    """Segments every scan of a folder into another; one that fails does not stop the others.

    Returns:
        `scans`: for each `input`, `output`, `error`, and where it succeeded what
        :meth:`lvnet.pipeline.ScanReport.to_dict` says;
        `left_out`: what of the folder is not segmented (`input`, `reason`); `summary`: all that in one line.
    """
    from ..batch import plan_folder

    options = SegmentOptions.from_request(request)
    planned = plan_folder(request["input"], request["output"], request["suffix"])
    model = _model(options, progress, cancelled)
    from ..pipeline.report import failure
    from ..pipeline.scan import options_of_scan, segment_file

    scans: List[Dict[str, Any]] = []

    def add(scan: Dict[str, Any]) -> None:
        scans.append(scan)
        if isinstance(progress, TellsScans):
            progress.scan(scan)

    for number, (given, target) in enumerate(planned.jobs):
        raise_if_cancelled(cancelled)

        def tell(share: float, stage: str, number: int = number) -> None:
            # No file names here: they are often those of patients, and progress is logged.
            count = len(planned.jobs)
            progress((number + share) / count, f"scan {number + 1} of {count}: {stage}")

        try:
            report = segment_file(
                given.path,
                target,
                options_of_scan(options, given.path),
                model=model,
                files=given.files,
                progress=tell,
                cancelled=cancelled,
            )
        except LVNetError as error:
            add(failure(given.path, error))
        else:
            add({"error": None, **report.to_dict()})
    failed = sum(entry["error"] is not None for entry in scans)
    left_out = [{"input": str(one.path), "reason": one.reason} for one in planned.left_out]
    return {"scans": scans, "left_out": left_out, "summary": planned.summary(failed)}


def devices_task(request: Mapping[str, Any], progress: Progress, cancelled: CancelCheck) -> Dict[str, Any]:
    """The devices that can be chosen: `devices`, each with `id`, `name`, `freeMemory` (bytes or None)."""
    progress(0.0, "loading PyTorch")
    torch = load_torch()
    from ..devices import list_devices

    found = []
    for device in list_devices():
        free = None
        if device["name"] == "cpu":
            free = available_memory()
        elif device["name"].startswith("cuda"):
            free = int(torch.cuda.mem_get_info(int(device["name"].partition(":")[2]))[0])
        found.append({"id": device["name"], "name": device["description"], "freeMemory": free})
    return {"devices": found}


def torch_task(request: Mapping[str, Any], progress: Progress, cancelled: CancelCheck) -> Dict[str, Any]:
    """Whether PyTorch works: `version`, and `device`, what `auto` takes and why."""
    progress(0.0, "loading PyTorch")
    torch = load_torch()
    from ..devices import select_device

    return {"version": str(torch.__version__), "device": select_device("auto")[1]}


def pace_task(request: Mapping[str, Any], progress: Progress, cancelled: CancelCheck) -> Dict[str, Any]:
    """How fast this computer is, before any scan: `seconds_per_litre`, see :func:`lvnet.pace.seconds_per_litre`.

    The network stays loaded for the scan that follows.
    """
    options = SegmentOptions.from_request(request)
    model = _model(options, progress, cancelled)
    from ..pace import seconds_per_litre
    from ..pipeline.scan import threads_of

    progress(0.5, "trying one slab")
    with threads_of(options.threads):
        return {"seconds_per_litre": seconds_per_litre(model, options.overlap, cancelled)}


TASKS: Dict[str, Callable[[Mapping[str, Any], Progress, CancelCheck], Dict[str, Any]]] = {
    "segment": segment_task,
    "folder": folder_task,
    "devices": devices_task,
    "torch": torch_task,
    "pace": pace_task,
    "compare": compare_task,
    "phantom": phantom_task,
}


def _model(options: SegmentOptions, progress: Progress, cancelled: CancelCheck) -> Any:
    """The network that the options name, loaded unless it is there already."""
    if _torch["module"] is None:
        progress(0.0, "loading PyTorch")
    load_torch()
    raise_if_cancelled(cancelled)
    from ..checkpoint import BUNDLED_WEIGHTS
    from ..pipeline.scan import load

    path = os.path.abspath(options.weights or BUNDLED_WEIGHTS)
    try:
        facts = os.stat(path)
        key: Optional[Tuple[Any, ...]] = (path, facts.st_mtime_ns, facts.st_size, options.device)
    except OSError:
        key = None
    if key is None or key != _loaded["key"]:
        progress(0.02, "loading the network")
        _loaded.update(key=None, model=None)
        _loaded.update(model=load(replace(options, weights=path)), key=key)
    raise_if_cancelled(cancelled)
    return _loaded["model"]


def _box_of(labels: np.ndarray, value: int) -> Any:
    from ..metrics.bits import bounding_box

    whole = bounding_box(labels)
    if whole is None:
        return None
    inner = bounding_box(labels[whole] == value)
    if inner is None:
        return None
    return tuple(slice(w.start + i.start, w.start + i.stop) for w, i in zip(whole, inner))
