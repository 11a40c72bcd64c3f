"""One scan: read, check, segment, check again, write."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator, Optional, Sequence, Tuple, Union

from ..image_io import read_image
from ..inference import Model, Segmentation, load_model, run
from ..inputcheck import Finding, check_input, refuse_impossible
from ..progress import CancelCheck, Progress, never_cancelled, raise_if_cancelled, silent
from ..volume import Volume
from .options import SegmentOptions
from .output import Output
from .report import ScanReport

#: Shown the scan and its result.
Look = Callable[[Volume, Segmentation], None]
#: Told of each thing that was noticed about a scan, before it is segmented.
Notice = Callable[[Finding], None]

# Share of the time after which only the writing is left.
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
    noticed: Optional[Notice] = None,
    look: Optional[Look] = None,
    progress: Progress = silent,
    cancelled: CancelCheck = never_cancelled,
) -> ScanReport:
    """Segments one scan into files; none is written before the result is there, and none over the scan.

    Args:
        source: a file, or a folder of DICOM.
        target: the file for the labels; its name's end says how, .dcm a DICOM SEG.
        options: how to segment; None takes the defaults.
        model: from :func:`lvnet.load_model`, to load once and segment often; else the one that the options name.
        files: of the folder, that are of this scan; None: all.
        probabilities: also write the probability map here.
        uncertainty: also write here where the network is unsure.
        noticed: told what the checks of the scan found, before the computing.
        look: shown the scan and the result, once it is written.
        progress: called with the share that is done and the stage.
        cancelled: asked between slabs and stages, the last time before the first file is written.

    Raises:
        LVNetError: the scan, the options or the files cannot be used.
        Cancelled: `cancelled` answered True.
    """
    began = time.monotonic()
    options = SegmentOptions() if options is None else options
    given = {"probabilities": probabilities, "uncertainty": uncertainty}
    named = {name: str(path) for name, path in given.items() if path is not None}
    maps = {name: Path(path) for name, path in named.items()}
    output = Output(Path(source), Path(target), maps, options.series, files)
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
    output.write(result, model)
    if look is not None:
        look(scan, result)
    progress(1.0, "done")
    return replace(
        report,
        source=str(source),
        output=str(target),
        probabilities=named.get("probabilities"),
        uncertainty=named.get("uncertainty"),
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
    """Segments a scan that is read already.

    Args:
        scan: in HU, any orientation and spacing.
        options: how to segment; `weights`, `device` and `series` have done their part.
        model: the network.
        probabilities: also make the probability map.
        noticed: told what the checks of the scan found, before the computing.
        progress: called with the share that is done and the stage.
        cancelled: asked between slabs and stages.

    Returns:
        The result, and what there is to say about it.

    Raises:
        LVNetError: the scan cannot be segmented.
        Cancelled: `cancelled` answered True.
    """
    refuse_impossible(scan)
    findings = tuple(check_input(scan, model.recipe))
    if noticed is not None:
        for finding in findings:
            noticed(finding)
    with threads_of(options.threads):
        result = run(scan, model, options, probabilities=probabilities, progress=progress, cancelled=cancelled)
    return result, ScanReport.of(scan, findings, result, model, options)


def load(options: SegmentOptions) -> Model:
    """The network that the options name.

    Raises:
        LVNetError: the weights or the device cannot be used.
    """
    with threads_of(options.threads):
        return load_model(options.weights, options.device)


def options_of_scan(options: SegmentOptions, source: Union[str, Path]) -> SegmentOptions:
    """The options for one of several scans: only a folder of DICOM has series to choose from."""
    return options if os.path.isdir(source) else replace(options, series=None)


@contextlib.contextmanager
def threads_of(count: Optional[int]) -> Iterator[None]:
    """So many threads for PyTorch and the kernels meanwhile; None leaves them as they are."""
    import torch

    before = torch.get_num_threads()
    wanted = before if count is None else count
    # Setting the same number again would change how the libraries below share it out.
    if wanted != before:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        if wanted != before:
            torch.set_num_threads(before)
