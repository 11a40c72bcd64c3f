"""`lvnet segment`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from ..batch import Job, plan
from ..errors import ConfigurationError, LVNetError
from ..pipeline.options import SegmentOptions
from ..pipeline.output import MAPS, Output
from ..pipeline.report import ScanReport, failure
from ..scanchecks import NOTE, Finding
from ..selfcheck import OK
from ..system import staying_imports
from ..volume import Volume
from .cohort import SegmentOne, asked_for, run_cohort, run_list
from .terminal import ProgressBar, json_text, one_line

if TYPE_CHECKING:
    # PyTorch comes with these: a cohort of which all is done, and --list, do without it.
    from ..inference import Model, Segmentation
    from ..pipeline.scan import Look

#: Side in pixels of one view in the pictures of a cohort.
_PICTURE_SIDE = 240


def run_segment(arguments: argparse.Namespace) -> int:
    """Segments every input; a failure does not stop the rest, but makes the exit code 2."""
    # Every error that can be detected now is reported before the network is loaded.
    options = SegmentOptions.from_request(vars(arguments))
    maps = {name: path for name in MAPS for path in [getattr(arguments, name)] if path is not None}
    planned = plan(arguments.inputs, arguments.output, arguments.format, maps)
    jobs, batch = planned.jobs, planned.batch
    measurements = None if arguments.measurements is None else Path(arguments.measurements)
    if batch and measurements is not None:
        raise ConfigurationError("--measurements works with one scan only; segment the scans one by one")
    if arguments.list:
        return run_list(arguments, planned)
    if not batch:
        Output(jobs[0].scan.path, jobs[0].target, jobs[0].maps, options.series, measurements=measurements)
    if asked_for(arguments):
        return run_cohort(arguments, planned, options.for_results(), lambda: _with_pictures(arguments, options))
    from ..pipeline.scan import options_of_scan

    model = _model(arguments, options)
    results: List[Dict[str, Any]] = []
    for number, job in enumerate(jobs):
        title = f"{number + 1}/{len(jobs)} " if batch else ""
        try:
            one = options_of_scan(options, job.scan.path) if batch else options
            results.append(_segment_one(arguments, one, model, job, title).to_dict())
        except LVNetError as error:
            if not batch:
                raise
            print(one_line(f"lvnet: {job.scan.path.name}: {error}"), file=sys.stderr)
            results.append(failure(job.scan.path, error))
    failed = sum("error" in result for result in results)
    if arguments.json:
        print(json_text([*results, *planned.left_out_entries()] if batch else results[0]))
    if batch and not arguments.quiet:
        said = f"{len(results) - failed} of {len(results)} scans segmented; {planned.summary(failed)}"
        print(one_line(f"lvnet: {said}"), file=sys.stderr)
    return 2 if failed else 0


def _model(arguments: argparse.Namespace, options: SegmentOptions) -> Model:
    from ..acceleration.allocator import keep_pages

    keep_pages()
    with staying_imports():
        import torch  # noqa: F401 - the largest of all imports

        from ..pipeline.scan import load
    model = load(options)
    if not arguments.quiet:
        path = model.compute_path
        more = f"; the package {path.faster_with} would make it several times faster" if path.faster_with else ""
        print(f"lvnet: computing on {model.device_reason}, with {path.name}{more}", file=sys.stderr)
    return model


def _with_pictures(arguments: argparse.Namespace, options: SegmentOptions) -> SegmentOne:
    """The function that a cohort calls for each scan."""
    from ..pipeline.scan import options_of_scan
    from ..report.png import png
    from ..report.portrait import portrait

    model = _model(arguments, options)

    def segment_one(job: Job, title: str) -> Tuple[Dict[str, Any], Optional[bytes]]:
        pictures: List[bytes] = []

        def look(scan: Volume, result: Segmentation) -> None:
            pictures.append(png(portrait(scan, result.labels, body=False, side=_PICTURE_SIDE)))

        one = options_of_scan(options, job.scan.path)
        return _segment_one(arguments, one, model, job, title, look).to_dict(), pictures[0]

    return segment_one


def _segment_one(
    arguments: argparse.Namespace,
    options: SegmentOptions,
    model: Model,
    job: Job,
    title: str,
    look: Optional[Look] = None,
) -> ScanReport:
    from ..pipeline.scan import segment_file

    with ProgressBar(title, None if not arguments.quiet else False) as bar:

        def noticed(finding: Finding) -> None:
            if finding.severity != NOTE and not arguments.quiet:
                bar.clear()
                print(one_line(f"lvnet: warning: {job.scan.path.name}: {finding.sentence}"), file=sys.stderr)

        report = segment_file(
            job.scan.path,
            job.target,
            options,
            model=model,
            files=job.scan.files,
            probabilities=job.maps.get("probabilities"),
            uncertainty=job.maps.get("uncertainty"),
            measurements=arguments.measurements,
            noticed=noticed,
            look=look,
            progress=bar,
        )
    if not arguments.quiet:
        _print_report(job, report, brief=bool(title))
    return report


def _print_report(job: Job, report: ScanReport, *, brief: bool) -> None:
    volumes = ", ".join(f"{name} {value:.0f} ml" for name, value in report.volumes_ml.items())
    print(one_line(f"lvnet: {job.scan.path.name} -> {job.target}: {volumes}, {report.seconds:.1f} s"), file=sys.stderr)
    for note in [*(found.sentence for found in report.input_checks if found.severity == NOTE), *report.notes]:
        print(one_line(f"lvnet: note: {note}"), file=sys.stderr)
    for check in report.checks:
        # With many scans, only the checks that need attention.
        if not (brief and check.verdict in (OK, None)):
            verdict = "" if check.verdict is None else f"{check.verdict}: "
            print(f"lvnet: {verdict}{check.sentence}", file=sys.stderr)
