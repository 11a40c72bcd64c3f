"""The commands of `lvnet` and their arguments."""

from __future__ import annotations

import argparse
from typing import Any

from .._version import __version__
from ..pipeline.options import settings_of
from ..system import staying_imports


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each names the function that runs it as `run`."""
    parser = argparse.ArgumentParser(
        prog="lvnet",
        description="Liver segmentation on CT with LV-Net. Everything runs on this computer; no scan is sent anywhere.",
    )
    parser.add_argument("--version", action="version", version=f"lvnet {__version__}")
    commands = parser.add_subparsers(
        required=True, metavar="segment|evaluate|measure|surface|picture|info|phantom", dest="command"
    )
    _add_segment(commands)
    _add_evaluate(commands)
    _add_measure(commands)
    _add_surface(commands)
    _add_picture(commands)
    _add_info(commands)
    _add_phantom(commands)
    return parser


def _add_segment(commands: Any) -> None:
    command = commands.add_parser(
        "segment",
        help="segment scans",
        description="Segments CT scans (NIfTI, NRRD, MHA/MHD files or DICOM folders) on their own voxel grid.",
    )
    command.add_argument("inputs", nargs="+", metavar="INPUT", help="a scan, a DICOM folder, or a folder of scans")
    command.add_argument(
        "-o", "--output", required=True, metavar="OUT",
        help="a file (.nii.gz .nii .nrrd .mha .seg.nrrd, .dcm for a DICOM SEG) for one scan, a folder for several",
    )  # fmt: skip
    command.add_argument(
        "--format",
        default=".nii.gz",
        metavar="SUFFIX",
        help="file type of the results in an output folder (default .nii.gz)",
    )
    _add_settings(command)
    command.add_argument(
        "--probabilities", metavar="FILE", help="also write the probability map; a folder for those of several scans"
    )
    command.add_argument(
        "--uncertainty",
        metavar="FILE",
        help="also write where the network is unsure, 0 to 1; a folder for several scans",
    )
    command.add_argument(
        "--measurements",
        metavar="FILE",
        help="also write volume, HU and plausibility checks: .json, or .dcm for a DICOM SR (one scan only)",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="for many scans: keep records in OUT/cohort and skip scans that are already done",
    )
    command.add_argument("--retry-failed", action="store_true", help="like --resume, and try failed scans again")
    command.add_argument(
        "--shard", metavar="K/N", help="like --resume, but only the K-th of N equal parts of the scans"
    )
    command.add_argument(
        "--jobs", metavar="N", help="like --resume, with N scans in parallel; auto: depending on cores and memory"
    )
    command.add_argument("--list", action="store_true", help="only list what would be segmented, and to which file")
    # One of the processes of --jobs.
    command.add_argument("--member", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.add_argument("--quiet", action="store_true", help="print errors only")
    command.set_defaults(run=_run("segment", "run_segment"))


def _add_settings(command: Any) -> None:
    """A flag for every setting of SegmentOptions; one that is not given is None."""
    for name, known in settings_of().items():
        if known.kind is bool:
            command.add_argument(known.flag, dest=name, action="store_const", const=False, help=known.help)
        else:
            command.add_argument(known.flag, dest=name, type=known.kind, metavar=known.metavar, help=known.help)


def _add_evaluate(commands: Any) -> None:
    command = commands.add_parser(
        "evaluate",
        help="compare segmentations with references",
        description="DICE, VOE, RVD, ASSD and MSSD of a label map, or of a folder of label maps paired by file name.",
    )
    command.add_argument("prediction", metavar="PREDICTION", help="a label map or a folder of them")
    command.add_argument("reference", metavar="REFERENCE", help="a label map or a folder of them")
    command.add_argument(
        "--preset", default="lits", help="definition of the surface metrics: lits, chaos, medpy, surfel (default lits)"
    )
    command.add_argument("--label", type=int, metavar="N", help="evaluate only this label value, in both files")
    command.add_argument(
        "--labels", metavar="P=R[,...]",
        help="pairs PREDICTION=REFERENCE of label values or names, several joined by +: 1=5 or liver=liver+tumour",
    )  # fmt: skip
    command.add_argument(
        "--reference-set", metavar="NAME",
        help="data set whose label numbers the reference uses: lits, msd, btcv, totalsegmentator, totalsegmentator-v1, "
        "amos, flare, word, chaos or ircadb",
    )  # fmt: skip
    command.add_argument(
        "--weights", metavar="FILE", help="the checkpoint that made the predictions, for the names of their labels"
    )  # fmt: skip
    command.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="for probability maps: the organ is where the probability is at least P (default 0.5)",
    )
    command.add_argument(
        "--resample",
        action="store_true",
        help="resample the reference to the prediction's grid, enlarged to contain both",
    )
    command.add_argument("--hd95", action="store_true", help="also the 95th percentile of the surface distances")
    command.add_argument("--surface-dice", type=float, metavar="MM", help="also the surface DICE at this tolerance")
    command.add_argument(
        "--compare", metavar="DIR", help="predictions of another method, to be compared case by case (folders only)"
    )
    command.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="number of cases evaluated in parallel (default 1)"
    )
    command.add_argument("--json", metavar="FILE", help="write the result as JSON; - prints it")
    command.add_argument("--csv", metavar="FILE", help="write a table of all cases")
    command.add_argument("--report", metavar="FILE", help="write a report (.html) with tables, charts and pictures")
    command.add_argument(
        "--images", metavar="PATH",
        help="CT scans for the report's pictures: a folder with one scan per case under the same name, or the scan of "
        "a single pair (default: a file named ct beside the label maps)",
    )  # fmt: skip
    command.set_defaults(run=_run("evaluate", "run_evaluate"))


def _add_measure(commands: Any) -> None:
    command = commands.add_parser("measure", help="volume and HU statistics of a segmentation")
    command.add_argument("scan", metavar="SCAN", help="a CT scan: a file or a DICOM folder")
    command.add_argument("labels", metavar="LABELS", help="a label map, mask, .seg.nrrd, DICOM SEG or RTSTRUCT")
    command.add_argument(
        "--reference-set", metavar="NAME", help="data set whose label numbers are used, as for evaluate"
    )
    command.add_argument("--threshold", type=float, metavar="P", help="for a probability map (default 0.5)")
    command.add_argument("--json", metavar="FILE", help="write the result as JSON; - prints it")
    command.set_defaults(run=_run("measure", "run_measure"))


def _add_surface(commands: Any) -> None:
    command = commands.add_parser("surface", help="write the surface of a segmentation as STL, PLY or OBJ")
    command.add_argument("labels", metavar="LABELS", help="a label map, mask, .seg.nrrd or DICOM SEG")
    command.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="the file to write (.stl .ply .obj), in mm"
    )
    command.add_argument("--label", metavar="L", help="a label value or name, several joined by + (default: all)")
    command.add_argument(
        "--smooth", type=float, metavar="MM", help="standard deviation of the Gaussian smoothing (default 1.5; 0: none)"
    )
    command.add_argument(
        "--coordinates",
        choices=("lps", "ras"),
        default="lps",
        help="coordinate system of the file; Slicer and DICOM use lps (default)",
    )
    command.add_argument("--threshold", type=float, metavar="P", help="for a probability map (default 0.5)")
    command.add_argument("--quiet", action="store_true", help="print errors only")
    command.set_defaults(run=_run("surface", "run_surface"))


def _add_picture(commands: Any) -> None:
    command = commands.add_parser("picture", help="draw a result for a report, as PNG: three planes and a 3D view")
    command.add_argument("scan", metavar="SCAN", help="a CT scan: a file or a DICOM folder")
    command.add_argument("labels", metavar="LABELS", help="a label map, mask, .seg.nrrd, DICOM SEG or RTSTRUCT")
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="the file to write (.png)")
    command.add_argument("--label", metavar="L", help="a label value or name, several joined by + (default: all)")
    command.add_argument("--series", metavar="S", help="series of a DICOM folder: number, UID or description")
    command.add_argument("--threshold", type=float, metavar="P", help="for a probability map (default 0.5)")
    command.add_argument(
        "--reference",
        metavar="FILE",
        help="a reference segmentation, drawn in blue; the planes shown are those that differ most",
    )
    command.add_argument("--no-body", action="store_true", help="omit the 3D view")
    command.add_argument("--quiet", action="store_true", help="print errors only")
    command.set_defaults(run=_run("picture", "run_picture"))


def _add_info(commands: Any) -> None:
    command = commands.add_parser("info", help="show version, devices and weights, or the CT series in a DICOM folder")
    command.add_argument("folder", nargs="?", metavar="FOLDER", help="list the CT series in this DICOM folder instead")
    command.add_argument("--weights", metavar="FILE", help="a checkpoint; default: the bundled liver weights")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_run("info", "run_info"))


def _add_phantom(commands: Any) -> None:
    command = commands.add_parser("phantom", help="make synthetic abdominal CT scans with their exact liver")
    command.add_argument(
        "output",
        metavar="OUT_DIR",
        help="folder for ct.nii.gz and liver.nii.gz; with --count, one subfolder per phantom",
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="random seed of the first phantom (default 0)"
    )
    command.add_argument("--count", type=int, default=1, metavar="N", help="number of phantoms (default 1)")
    command.add_argument("--quiet", action="store_true", help="print errors only")
    command.set_defaults(run=_run("phantom", "run_phantom"))


def _run(module: str, function: str) -> Any:
    """A command's function, imported only when it runs: `lvnet --help` does not need PyTorch."""

    def run(options: argparse.Namespace) -> int:
        import importlib

        with staying_imports():
            command = importlib.import_module(f".{module}", __package__)
        return int(getattr(command, function)(options))

    return run
