"""One scan: read, check, segment, check the result, write."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator, Optional, Sequence, Tuple, Union

from ..image_io import read_image
from ..inference import Model, Segmentation, load_model, run
from ..progress import CancelCheck, Progress, never_cancelled, raise_if_cancelled, silent
from ..scanchecks import Finding, refuse_impossible
from ..volume import Volume
from .options import SegmentOptions
from .output import Output
from .precheck import check_scan
from .report import ScanReport

#: Called with the scan and its result.
Look = Callable[[Volume, Segmentation], None]
#: Called with each finding about a scan, before it is segmented.
Notice = Callable[[Finding], None]

# Fraction of the time after which only writing remains.
_WRITING = 0.98


def segment_file(
    source: Union[str, Path],
    target: Union[str, Path],
    options: Optional[SegmentOptions] = None,
    *,
    model: Optional[Model] = None,
    files: Optional[Sequence[str]] = None,
    probabilities: Optional[Union[str, Path]] = None,
    uncertainty: Optional[Union[str, Path]] = None,
    measurements: Optional[Union[str, Path]] = None,
    noticed: Optional[Notice] = None,
    look: Optional[Look] = None,
    progress: Progress = silent,
    cancelled: CancelCheck = never_cancelled,
) -> ScanReport:
    """Segments one scan into files; nothing is written before the result is complete, and never over the scan.

    Args:
        source: a file, or a DICOM folder.
        target: the file for the labels; its suffix gives the format, .dcm a DICOM SEG.
        options: the settings; None takes the defaults.
        model: from :func:`lvnet.load_model`, to segment several scans with it; None loads the options' weights.
        files: the files of the folder that belong to this scan; None: all.
        probabilities: also write the probability map here.
        uncertainty: also write a map of the network's uncertainty here.
        measurements: also write volume, HU and the plausibility checks here: .json, or .dcm for a DICOM SR.
        noticed: called with the findings of the input checks, before the segmentation.
        look: called with the scan and the result, once it is written.
        progress: called with the fraction done and the stage.
        cancelled: called between slabs and stages, the last time before the first file is written.

    Raises:
        LVNetError: the scan, the options or the files cannot be used.
        Cancelled: `cancelled` returned True.
    """
    began = time.monotonic()
    options = SegmentOptions() if options is None else options
    given = {"probabilities": probabilities, "uncertainty": uncertainty}
    named = {name: str(path) for name, path in given.items() if path is not None}
    maps = {name: Path(path) for name, path in named.items()}
    measured = None if measurements is None else Path(measurements)
    output = Output(Path(source), Path(target), maps, options.series, files, measured)
    progress(0.0, "reading the scan")
    scan = read_image(source, series=options.series, files=files)
    if model is None:
        model = load(options)
    result, report = segment_volume(
        scan,
        options,
        model,
        probabilities=bool(maps),
        noticed=noticed,
        progress=lambda share, stage: progress(_WRITING * share, stage),
        cancelled=cancelled,
    )
    raise_if_cancelled(cancelled)
    progress(_WRITING, "writing")
    output.write(scan, result, model)
    if look is not None:
        look(scan, result)
    progress(1.0, "done")
    return replace(
        report,
        source=str(source),
        output=str(target),
        probabilities=named.get("probabilities"),
        uncertainty=named.get("uncertainty"),
        measurements=None if measurements is None else str(measurements),
        seconds=time.monotonic() - began,
    )


def segment_volume(
    scan: Volume,
    options: SegmentOptions,
    model: Model,
    *,
    probabilities: bool = False,
    noticed: Optional[Notice] = None,
    progress: Progress = silent,
    cancelled: CancelCheck = never_cancelled,
) -> Tuple[Segmentation, ScanReport]:
    """Segments a scan that is already in memory.

    Args:
        scan: in HU, any orientation and spacing.
        options: the settings; `weights`, `device` and `series` are not used here.
        model: the network.
        probabilities: also make the probability map.
        noticed: called with the findings of the input checks, before the segmentation.
        progress: called with the fraction done and the stage.
        cancelled: called between slabs and stages.

    Returns:
        The result, and the report about it.

    Raises:
        LVNetError: the scan cannot be segmented.
        Cancelled: `cancelled` returned True.
    """
    progress(0.01, "checking the scan")
    refuse_impossible(scan)
    findings = check_scan(scan, model.recipe)
    if noticed is not None:
        for finding in findings:
            noticed(finding)
    with threads_of(options.threads):
        result = run(scan, model, options, probabilities=probabilities, progress=progress, cancelled=cancelled)
    return result, ScanReport.of(scan, findings, result, model, options)


def load(options: SegmentOptions) -> Model:
    """Loads the network that the options name.

    Raises:
        LVNetError: the weights or the device cannot be used.
    """
    with threads_of(options.threads):
        return load_model(options.weights, options.device)


def options_of_scan(options: SegmentOptions, source: Union[str, Path]) -> SegmentOptions:
    """The options for one of several scans: `series` only applies to DICOM folders."""
    return options if os.path.isdir(source) else replace(options, series=None)


@contextlib.contextmanager
def threads_of(count: Optional[int]) -> Iterator[None]:
    """Sets the number of threads of PyTorch and the kernels for a while; None keeps the present number."""
    import torch

    before = torch.get_num_threads()
    wanted = before if count is None else count
    # Setting even the same number again would change how the libraries distribute the threads.
    if wanted != before:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        if wanted != before:
            torch.set_num_threads(before)
