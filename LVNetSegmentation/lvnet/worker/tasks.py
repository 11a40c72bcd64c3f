"""The tasks of the worker."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Optional,
    Protocol,
    Tuple,
    Type,
    runtime_checkable,
)

import numpy as np

from ..errors import LVNetError
from ..pipeline.options import SegmentOptions
from ..progress import CancelCheck, Progress, raise_if_cancelled
from ..recipe import LabelClass
from ..system import available_memory, staying_imports
from .exchange import SCAN_FILE, write_array
from .handing import handed_over
from .messages.answers import FailureKind
from .messages.requests import (
    CompareRequest,
    DevicesRequest,
    FolderRequest,
    PaceRequest,
    PhantomRequest,
    Request,
    SegmentRequest,
    TorchRequest,
)
from .messages.results import (
    Device,
    DevicesResult,
    DoubtfulRegions,
    FolderResult,
    FoundClass,
    PaceResult,
    Result,
    SegmentResult,
    TorchResult,
    box_of,
)
from .plain_tasks import compare_task, phantom_task
from .task_failures import TorchError

if TYPE_CHECKING:
    from ..inference import Model

_TORCH_FLOOR = (2, 1)
#: The network that was used last, and the key that says what it was loaded from.
_loaded: Dict[str, Any] = {"key": None, "model": None}
_torch: Dict[str, Any] = {"module": None}


def load_torch() -> Any:
    """Imports PyTorch.

    Raises:
        TorchError: it is missing, cannot be loaded, or is too old.
    """
    if _torch["module"] is None:
        importlib.invalidate_caches()
        if importlib.util.find_spec("torch") is None:
            raise TorchError(FailureKind.TORCH_MISSING, "PyTorch is not installed")
        try:
            with staying_imports():
                module = importlib.import_module("torch")
            version = str(module.__version__)
        except Exception as error:  # a broken installation fails in many ways: OSError, ImportError, AttributeError
            raise TorchError(
                FailureKind.TORCH_BROKEN, (str(error).splitlines() or [type(error).__name__])[0][:200]
            ) from error
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _TORCH_FLOOR:
            raise TorchError(FailureKind.TORCH_OLD, version)
        from ..acceleration.allocator import keep_pages

        keep_pages()
        _torch["module"] = module
    return _torch["module"]


def after_task() -> None:
    """Releases the memory that only a running task needs; the network stays loaded."""
    torch = _torch["module"]
    if torch is None:
        return
    if _loaded["model"] is not None and _loaded["model"].device.type == "cuda":
        torch.cuda.empty_cache()
    from ..acceleration.allocator import release_pages

    release_pages()


def segment_task(request: SegmentRequest, progress: Progress, cancelled: CancelCheck) -> SegmentResult:
    """Segments the scan in an exchange folder.

    Writes a binary uint8 mask cropped to its bounding box for every class that was found, `class-<value>.npy`, and
    one for the regions in which the network was unsure, `doubtful.npy`.
    """
    options = request.options
    scan = handed_over(request.folder, SCAN_FILE, request.place, "the scan")
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
    for entry in model.recipe.classes:
        found = _found(result.labels.array, entry)
        if found.file is not None and found.slices is not None:
            inside = result.labels.array[found.slices]
            _write_mask(request, found.file, (plane == entry.value for plane in inside), inside.shape)
        classes.append(found)
    regions = result.doubtful.on_scan() if result.doubtful is not None else None
    doubtful = None
    if regions is not None:
        box, numbers = regions
        doubtful = DoubtfulRegions(box_of(box), "doubtful.npy")
        _write_mask(request, doubtful.file, (plane > 0 for plane in numbers), numbers.shape)
    return SegmentResult(tuple(classes), doubtful, report.to_dict())


@runtime_checkable
class TakesScans(Protocol):
    """A progress callback that also takes the outcome of each scan of a folder."""

    def scan(self, scan: Dict[str, Any]) -> None:
        """Takes one entry of the scans that :func:`folder_task` returns."""


def folder_task(request: FolderRequest, progress: Progress, cancelled: CancelCheck) -> FolderResult:
    """Segments every scan of a folder into another folder; a scan that fails does not stop the others."""
    from ..batch import plan_folder

    options = request.options
    planned = plan_folder(request.input, request.output, request.suffix)
    model = _model(options, progress, cancelled)
    from ..pipeline.report import failure
    from ..pipeline.scan import options_of_scan, segment_file

    scans: List[Dict[str, Any]] = []

    def add(scan: Dict[str, Any]) -> None:
        scans.append(scan)
        if isinstance(progress, TakesScans):
            progress.scan(scan)

    for number, job in enumerate(planned.jobs):
        given = job.scan
        raise_if_cancelled(cancelled)

        def scan_progress(share: float, stage: str, number: int = number) -> None:
            # No file names here: they often contain patients' names, and progress is logged.
            count = len(planned.jobs)
            progress((number + share) / count, f"scan {number + 1} of {count}: {stage}")

        try:
            report = segment_file(
                given.path,
                job.target,
                options_of_scan(options, given.path),
                model=model,
                files=given.files,
                progress=scan_progress,
                cancelled=cancelled,
            )
        except LVNetError as error:
            add(failure(given.path, error))
        else:
            add({"error": None, **report.to_dict()})
    failed = sum(entry["error"] is not None for entry in scans)
    left_out = [{"input": str(one.path), "reason": one.reason} for one in planned.left_out]
    return FolderResult(scans, left_out, planned.summary(failed))


def devices_task(request: DevicesRequest, progress: Progress, cancelled: CancelCheck) -> DevicesResult:
    """Lists the devices that can be chosen."""
    progress(0.0, "loading PyTorch")
    torch = load_torch()
    from ..devices import list_devices

    found: List[Device] = []
    for device in list_devices():
        free = None
        if device["name"] == "cpu":
            free = available_memory()
        elif device["name"].startswith("cuda"):
            free = int(torch.cuda.mem_get_info(int(device["name"].partition(":")[2]))[0])
        found.append({"id": device["name"], "name": device["description"], "freeMemory": free})
    return DevicesResult(found)


def torch_task(request: TorchRequest, progress: Progress, cancelled: CancelCheck) -> TorchResult:
    """Checks whether PyTorch works."""
    progress(0.0, "loading PyTorch")
    torch = load_torch()
    from ..devices import select_device

    return TorchResult(str(torch.__version__), select_device("auto")[1])


def pace_task(request: PaceRequest, progress: Progress, cancelled: CancelCheck) -> PaceResult:
    """Measures the speed of this computer before the first scan; the network stays loaded for that scan."""
    model = _model(request.options, progress, cancelled)
    from ..pace import seconds_per_litre
    from ..pipeline.scan import threads_of

    progress(0.5, "trying one slab")
    with threads_of(request.options.threads):
        return PaceResult(seconds_per_litre(model, request.options.overlap, cancelled), model.compute_path)


#: The task that processes each type of request; it accepts no other type.
TASKS: Dict[Type[Request], Callable[[Any, Progress, CancelCheck], Result]] = {
    SegmentRequest: segment_task,
    FolderRequest: folder_task,
    DevicesRequest: devices_task,
    TorchRequest: torch_task,
    PaceRequest: pace_task,
    CompareRequest: compare_task,
    PhantomRequest: phantom_task,
}


def _model(options: SegmentOptions, progress: Progress, cancelled: CancelCheck) -> Model:
    """The network that the options ask for; loaded unless it is the last one used."""
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
    model: Model = _loaded["model"]
    return model


def _write_mask(request: SegmentRequest, file: str, planes: Iterable[np.ndarray], shape: Tuple[int, ...]) -> None:
    write_array(Path(request.folder) / file, planes, shape, np.dtype(np.uint8))


def _found(labels: np.ndarray, entry: LabelClass) -> FoundClass:
    """The bounding box and file of a class in a label map, None if it is not there."""
    from ..boxes import box_of_value

    box = box_of_value(labels, entry.value)
    if box is None:
        return FoundClass(entry, None, None)
    return FoundClass(entry, box_of(box), f"class-{entry.value}.npy")
