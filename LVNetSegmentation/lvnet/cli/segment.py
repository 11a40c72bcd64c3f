"""`lvnet segment`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

from ..acceleration.allocator import keep_pages
from ..batch import distinct_names, refuse_overwriting
from ..errors import ConfigurationError, ImageError, LVNetError
from ..image_io import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    check_output_path,
    find_scans,
    is_dicom_folder,
    read_image,
    write_image,
    write_labels,
)
from ..image_io.dicom_seg import SEG_SUFFIX, load_highdicom, open_seg_source, write_dicom_seg
from ..inference import DEFAULT_OVERLAP, Model, Segmentation, load_model, segment, slab_starts
from ..inputcheck import NOTE, check_input, refuse_impossible
from ..selfcheck import OK
from .terminal import ProgressBar, json_text, one_line

Job = Tuple[Path, Path]
#: What the output may be: a label map, or a DICOM SEG where the input is DICOM.
OUTPUT_SUFFIXES = (*LABEL_SUFFIXES, SEG_SUFFIX)


def run_segment(options: argparse.Namespace) -> int:
    """Segments every input; one that fails does not stop the rest, and the exit code is 2 then."""
    # Everything that can be refused is refused before the network is loaded.
    jobs, batch = plan_jobs(options.inputs, options.output, options.format)
    if _is_seg(jobs[0][1]):
        load_highdicom()
        if not batch:
            open_seg_source(jobs[0][0], options.series)
    if options.probabilities is not None:
        if batch:
            raise ConfigurationError("--probabilities goes with one scan; segment them one by one")
        check_output_path(Path(options.probabilities), IMAGE_SUFFIXES)
        refuse_overwriting([jobs[0][0]], [jobs[0][1], Path(options.probabilities)])
    overlap = DEFAULT_OVERLAP if options.overlap is None else options.overlap
    slab_starts(1, 1, overlap)
    keep_pages()
    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    model = load_model(options.weights, options.device)
    if not options.quiet:
        print(f"lvnet: computing on {model.device_reason}", file=sys.stderr)
    results: List[Dict[str, Any]] = []
    for number, (source, target) in enumerate(jobs):
        title = f"{number + 1}/{len(jobs)} " if batch else ""
        try:
            results.append(_segment_one(options, model, source, target, overlap, title))
        except LVNetError as error:
            if not batch:
                raise
            print(one_line(f"lvnet: {source.name}: {error}"), file=sys.stderr)
            results.append({"input": str(source), "output": None, "error": str(error)})
    failed = sum("error" in result for result in results)
    if options.json:
        print(json_text(results if batch else results[0]))
    if batch and not options.quiet:
        print(f"lvnet: {len(results) - failed} of {len(results)} scans segmented", file=sys.stderr)
    return 2 if failed else 0


def plan_jobs(inputs: List[str], output: str, suffix: str) -> Tuple[List[Job], bool]:
    """Which scan goes to which file, and whether that is batch work.

    Raises:
        LVNetError: an input or the output cannot be used.
    """
    if suffix not in OUTPUT_SUFFIXES:
        raise ConfigurationError(f"--format must be one of {' '.join(OUTPUT_SUFFIXES)}, not {suffix!r}")
    scans: List[Path] = []
    batch = len(inputs) > 1
    for given in map(Path, inputs):
        if os.path.isdir(given) and not is_dicom_folder(given):
            found = find_scans(given)
            if not found:
                raise ImageError(f"{given} holds neither DICOM nor scans ({' '.join(IMAGE_SUFFIXES)})")
            scans += found
            batch = True
        else:
            scans.append(given)
    target = Path(output)
    is_file = target.name.lower().endswith(OUTPUT_SUFFIXES) and not os.path.isdir(target)
    if not batch and is_file:
        check_output_path(target, OUTPUT_SUFFIXES)
        refuse_overwriting(scans, [target])
        return [(scans[0], target)], False
    if is_file:
        raise ConfigurationError(f"{len(scans)} scans need an output folder, not the file {target}")
    if target.suffix and not os.path.isdir(target) and not output.endswith(("/", "\\")) and not batch:
        # A mistyped suffix must not quietly become a folder.
        check_output_path(target, OUTPUT_SUFFIXES)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name holds a null character"
        raise ImageError(f"cannot make the output folder {target}: {reason}; choose another") from error
    names = distinct_names(scans)
    jobs = [(scan, target / f"{name}{suffix}") for scan, name in zip(scans, names)]
    for _, file in jobs:
        check_output_path(file, OUTPUT_SUFFIXES)
    refuse_overwriting(scans, [file for _, file in jobs])
    return jobs, batch


def _segment_one(
    options: argparse.Namespace, model: Model, source: Path, target: Path, overlap: float, title: str
) -> Dict[str, Any]:
    began = time.monotonic()
    seg_source = open_seg_source(source, options.series) if _is_seg(target) else None
    with ProgressBar(title, None if not options.quiet else False) as bar:
        bar(0.0, "reading the scan")
        scan = read_image(source, series=options.series)
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
            probabilities=options.probabilities is not None,
            progress=bar,
        )
        bar(0.98, "writing")
        if seg_source is None:
            write_labels(result.labels, target, model.recipe.classes)
        else:
            checksum = model.checkpoint.checksum if model.checkpoint else ""
            write_dicom_seg(result.labels, target, seg_source, model.recipe, checksum)
        if result.probabilities is not None:
            write_image(result.probabilities, Path(options.probabilities))
    seconds = time.monotonic() - began
    if not options.quiet:
        said = [finding.sentence for finding in findings if finding.severity == NOTE]
        _say(source, target, result, said, seconds, brief=bool(title))
    checkpoint = model.checkpoint
    return {
        "input": str(source),
        "output": str(target),
        "probabilities": options.probabilities,
        "volumes_ml": {name: round(value, 3) for name, value in result.volumes_ml.items()},
        "notes": list(result.notes),
        "input_checks": [finding._asdict() for finding in findings],
        "checks": [check.to_dict() for check in result.checks],
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
