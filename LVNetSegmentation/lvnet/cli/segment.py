"""`lvnet segment`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..acceleration.allocator import keep_pages
from ..batch import Job, plan, refuse_overwriting
from ..errors import ConfigurationError, LVNetError
from ..image_io import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    check_output_path,
    read_image,
    write_image,
    write_labels,
)
from ..image_io.dicom_seg import SEG_SUFFIX, load_highdicom, open_seg_source, write_dicom_seg
from ..inference import DEFAULT_OVERLAP, Model, Segmentation, load_model, segment, slab_starts
from ..inputcheck import NOTE, check_input, refuse_impossible
from ..inputs import Scan
from ..report.png import png
from ..report.portrait import portrait
from ..selfcheck import OK
from ..volume import Volume
from .cohort import SegmentOne, asked_for, run_cohort, run_list
from .terminal import ProgressBar, json_text, one_line

#: What the output may be: a label map, or a DICOM SEG where the input is DICOM.
OUTPUT_SUFFIXES = (*LABEL_SUFFIXES, SEG_SUFFIX)
#: Options that write a map beside the labels, each an attribute of the result.
_MAPS = ("probabilities", "uncertainty")
#: Pixels of the sides of one view in the pictures of a cohort.
_PICTURE_SIDE = 240


def run_segment(options: argparse.Namespace) -> int:
    """Segments every input; one that fails does not stop the rest, and the exit code is 2 then."""
    # Everything that can be refused is refused before the network is loaded.
    planned = plan(options.inputs, options.output, options.format, OUTPUT_SUFFIXES)
    jobs, batch = planned.jobs, planned.batch
    if options.list:
        return run_list(options, planned)
    if _is_seg(jobs[0].target):
        load_highdicom()
        if not batch:
            open_seg_source(jobs[0].scan.path, options.series)
    maps = {name: Path(path) for name in _MAPS for path in [getattr(options, name)] if path is not None}
    for name, path in maps.items():
        if batch:
            raise ConfigurationError(f"--{name} goes with one scan; segment them one by one")
        check_output_path(path, IMAGE_SUFFIXES)
    if maps:
        refuse_overwriting([jobs[0].scan.path], [jobs[0].target, *maps.values()])
    overlap = DEFAULT_OVERLAP if options.overlap is None else options.overlap
    slab_starts(1, 1, overlap)
    if asked_for(options):
        settings = {"overlap": overlap, "postprocessing": not options.no_postprocessing, "series": options.series}
        return run_cohort(options, planned, settings, lambda: _with_pictures(options, overlap))
    model = _model(options)
    results: List[Dict[str, Any]] = []
    for number, (scan, target) in enumerate(jobs):
        source = scan.path
        title = f"{number + 1}/{len(jobs)} " if batch else ""
        try:
            results.append(_segment_one(options, model, scan, target, overlap, title))
        except LVNetError as error:
            if not batch:
                raise
            print(one_line(f"lvnet: {source.name}: {error}"), file=sys.stderr)
            results.append({"input": str(source), "output": None, "error": str(error)})
    failed = sum("error" in result for result in results)
    left_out = [{"input": str(one.path), "output": None, "left_out": one.reason} for one in planned.left_out]
    if options.json:
        print(json_text([*results, *left_out] if batch else results[0]))
    if batch and not options.quiet:
        said = f"{len(results) - failed} of {len(results)} scans segmented; {planned.summary(failed)}"
        print(one_line(f"lvnet: {said}"), file=sys.stderr)
    return 2 if failed else 0


def _model(options: argparse.Namespace) -> Model:
    keep_pages()
    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    model = load_model(options.weights, options.device)
    if not options.quiet:
        print(f"lvnet: computing on {model.device_reason}", file=sys.stderr)
    return model


def _with_pictures(options: argparse.Namespace, overlap: float) -> SegmentOne:
    """What a cohort calls for each scan."""
    model = _model(options)

    def segment_one(job: Job, title: str) -> Tuple[Dict[str, Any], Optional[bytes]]:
        pictures: List[bytes] = []

        def look(scan: Volume, result: Segmentation) -> None:
            pictures.append(png(portrait(scan, result.labels, body=False, side=_PICTURE_SIDE)))

        facts = _segment_one(options, model, job.scan, job.target, overlap, title, look)
        return facts, pictures[0]

    return segment_one


def _segment_one(
    options: argparse.Namespace,
    model: Model,
    given: Scan,
    target: Path,
    overlap: float,
    title: str,
    look: Optional[Callable[[Volume, Segmentation], None]] = None,
) -> Dict[str, Any]:
    began = time.monotonic()
    source = given.path
    # Of a folder with images as well, only DICOM has series to choose from.
    series = options.series if os.path.isdir(source) or not title else None
    seg_source = open_seg_source(source, series, given.files) if _is_seg(target) else None
    with ProgressBar(title, None if not options.quiet else False) as bar:
        bar(0.0, "reading the scan")
        scan = read_image(source, series=series, files=given.files)
        refuse_impossible(scan)
        findings = check_input(scan, model.recipe)
        for finding in findings:
            if finding.severity != NOTE and not options.quiet:
                bar.clear()
                print(one_line(f"lvnet: warning: {source.name}: {finding.sentence}"), file=sys.stderr)
        result = segment(
            scan,
            model=model,
            overlap=overlap,
            postprocess=not options.no_postprocessing,
            probabilities=any(getattr(options, name) is not None for name in _MAPS),
            progress=bar,
        )
        bar(0.98, "writing")
        if seg_source is None:
            write_labels(result.labels, target, model.recipe.classes)
        else:
            checksum = model.checkpoint.checksum if model.checkpoint else ""
            write_dicom_seg(result.labels, target, seg_source, model.recipe, checksum)
        for name in _MAPS:
            soft = None if getattr(options, name) is None else getattr(result, name)
            if soft is not None:
                write_image(soft, Path(getattr(options, name)))
        if look is not None:
            look(scan, result)
    seconds = time.monotonic() - began
    if not options.quiet:
        said = [finding.sentence for finding in findings if finding.severity == NOTE]
        _say(source, target, result, said, seconds, brief=bool(title))
    checkpoint = model.checkpoint
    return {
        "input": str(source),
        "output": str(target),
        "probabilities": options.probabilities,
        "uncertainty": options.uncertainty,
        "volumes_ml": {name: round(value, 3) for name, value in result.volumes_ml.items()},
        "notes": list(result.notes),
        "input_checks": [finding._asdict() for finding in findings],
        "checks": [check.to_dict() for check in result.checks],
        "expected_dice": result.expected_dice,
        "device": str(model.device),
        "device_reason": model.device_reason,
        "weights": model.recipe.name,
        "weights_sha256": checkpoint.checksum if checkpoint else None,
        "overlap": overlap,
        "postprocessing": not options.no_postprocessing,
        "size": list(scan.shape[::-1]),
        "spacing_mm": list(scan.spacing[::-1]),
        "seconds": round(seconds, 2),
    }


def _is_seg(target: Path) -> bool:
    return target.name.lower().endswith(SEG_SUFFIX)


def _say(source: Path, target: Path, result: Segmentation, notes: List[str], seconds: float, *, brief: bool) -> None:
    volumes = ", ".join(f"{name} {value:.0f} ml" for name, value in result.volumes_ml.items())
    print(one_line(f"lvnet: {source.name} -> {target}: {volumes}, {seconds:.1f} s"), file=sys.stderr)
    for note in [*notes, *result.notes]:
        print(one_line(f"lvnet: note: {note}"), file=sys.stderr)
    for check in result.checks:
        # Of many scans only those lines that ask for somebody's eyes.
        if not (brief and check.verdict in (OK, None)):
            verdict = "" if check.verdict is None else f"{check.verdict}: "
            print(f"lvnet: {verdict}{check.sentence}", file=sys.stderr)
