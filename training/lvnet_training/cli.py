"""`lvnet-train`: prepare, fit, evaluate, stress, calibrate, crossvalidate, compare, export, tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Optional, Sequence

from lvnet.errors import LVNetError
from lvnet.system import let_waiting_threads_sleep

from . import jobs
from .splits import PARTS

# Packages that only the extra [train] installs.
_EXTRAS = ("lightning", "matplotlib", "tensorboard", "tqdm", "yaml")
_DATA = "data set: a LiTS, MSD or nnU-Net folder, or one with a subfolder per case with ct.nii.gz and liver.nii.gz"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs a command; the exit code is 0, or 1 if a score is too low, 2 for a user's error, 130 if interrupted."""
    options = _parser().parse_args(arguments)
    let_waiting_threads_sleep()
    try:
        return int(options.run(options) or 0)
    except LVNetError as error:
        print(f"lvnet-train: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        # Lightning names the missing package only in the text of its error.
        missing = error.name.partition(".")[0] if error.name else str(error)
        package = next((name for name in _EXTRAS if (name == missing if error.name else name in missing)), None)
        if package is None:
            raise
        print(f'lvnet-train: this command needs {package}; run: pip install ".[train]"', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "lvnet-train: interrupted; the last checkpoint is kept, run the same command again to continue",
            file=sys.stderr,
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lvnet-train", description="Training and evaluation of LV-Net on labelled CT scans."
    )
    commands = parser.add_subparsers(
        required=True, metavar="prepare|fit|evaluate|stress|calibrate|crossvalidate|compare|export|tables"
    )

    command = commands.add_parser("prepare", help="check a data set, fill the cache, write a report and a split")
    command.add_argument("data", type=Path, help=_DATA)
    command.add_argument("--cache", type=Path, required=True)
    command.add_argument(
        "--config", type=Path, help="YAML configuration that defines classes and labels; default: liver"
    )
    command.add_argument(
        "--pack",
        type=Path,
        metavar="FILE",
        help="write all cases, resampled to the configuration's grid, to one"
        " small file for training elsewhere: `fit --data FILE`",
    )
    command.add_argument("--validation", type=Path, help="with --pack: data set for choosing the best epoch")
    command.add_argument("--report", type=Path, help="folder for the report; default: CACHE/report")
    command.add_argument("--no-pictures", action="store_true", help="write the report without pictures")
    command.add_argument("--split", type=Path, metavar="FILE", help="write a split of the usable cases, .yaml or .json")
    command.add_argument(
        "--counts", default="90/10/31", help="numbers of training/validation/test cases; default: %(default)s"
    )
    command.add_argument("--seed", type=int, default=1, help="random seed of the split")
    command.add_argument(
        "--patients",
        type=Path,
        help="YAML, JSON or CSV file with each case's patient, to keep a patient's cases together",
    )
    command.add_argument(
        "--from",
        dest="originals",
        action="append",
        default=[],
        metavar="SOURCE=FOLDER",
        help="first build DATA from the downloaded data set SOURCE of the manifest; may be given several times",
    )
    command.add_argument("--manifest", type=Path, help="with --from; default: training/data/manifest.csv")
    command.add_argument(
        "--part", choices=("both", "train", "val"), default="both", help="part of the manifest to build, with --from"
    )
    command.add_argument("--again", action="store_true", help="with --from: rebuild cases that already exist")
    command.set_defaults(run=jobs.prepare)

    command = commands.add_parser("fit", help="train a network; the same command resumes an interrupted run")
    command.add_argument("--config", type=Path, required=True, help="YAML configuration, see training/configs")
    command.add_argument("--data", type=Path, help=f"{_DATA}; or a pack; without it, only synthetic phantoms are used")
    command.add_argument("--validation", type=Path, help="data set for choosing the best epoch")
    command.add_argument("--split", type=Path, help="split file that divides --data into training and validation")
    command.add_argument("--output", type=Path, required=True, help="folder for last.pt, best.pt and log.csv")
    command.add_argument("--cache", type=Path, help="default: OUTPUT/cache")
    command.add_argument("--weights", type=Path, help="start from the weights in this .pt or .safetensors file")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    command.add_argument(
        "--devices", type=int, default=1, metavar="N", help="number of GPUs (or CPU processes) on each node"
    )
    command.add_argument(
        "--nodes", type=int, default=1, metavar="N", help="number of computers, started by torchrun or SLURM"
    )
    command.add_argument("--workers", type=int, default=0, metavar="N", help="number of processes that draw patches")
    command.add_argument(
        "--deterministic",
        action="store_true",
        help="use deterministic algorithms where available, for bitwise reproducible runs",
    )
    command.add_argument(
        "--no-pictures", action="store_true", help="do not draw the loss curve and example segmentations"
    )
    command.add_argument(
        "--validate-every", type=int, default=1, metavar="N", help="number of epochs between validations"
    )
    command.set_defaults(run=jobs.fit)

    command = commands.add_parser("evaluate", help="evaluate a checkpoint on a data set")
    command.add_argument("data", type=Path, help=_DATA)
    command.add_argument("--split", type=Path, help="split file, to evaluate one part of the data set")
    command.add_argument("--part", choices=PARTS, default="test", help="part of the split; default: %(default)s")
    command.add_argument(
        "--config", type=Path, help="YAML configuration of the run, required for a .pt; defines the labels"
    )
    command.add_argument(
        "--weights", type=Path, help=".safetensors file, or .pt file of a run; default: the bundled weights"
    )
    command.add_argument("--device", default="auto")
    command.add_argument("--overlap", type=float, default=0.5)
    command.add_argument("--json", type=Path, help="also write the scores here")
    command.add_argument("--least-dice", type=float, metavar="DICE", help="exit with code 1 if the mean DICE is lower")
    command.add_argument(
        "--strays", action="store_true", help="also report false positives far from the organ, before postprocessing"
    )
    command.set_defaults(run=jobs.evaluate)

    command = commands.add_parser("crossvalidate", help="cross-validation: train and evaluate a network for each fold")
    command.add_argument("data", type=Path, help=_DATA)
    command.add_argument(
        "--config",
        type=Path,
        required=True,
        help="YAML configuration for every fold, such as training/configs/crossvalidation.yaml",
    )
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for the results: one subfolder per fold, scores.json and scores.csv",
    )
    command.add_argument("--folds", type=int, default=3, metavar="N", help="default: %(default)s")
    command.add_argument("--seed", type=int, default=1, help="random seed of the folds")
    command.add_argument(
        "--patients",
        type=Path,
        help="YAML, JSON, or CSV file such as training/data/manifest.csv with the patient of"
        " each case, to keep a patient's cases together",
    )
    command.add_argument("--cache", type=Path, help="default: OUTPUT/cache")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    command.set_defaults(run=jobs.crossvalidate)

    command = commands.add_parser("stress", help="evaluate weights on scans with synthetic pathologies")
    command.add_argument("data", type=Path, help=f"{_DATA}; for example the validation scans")
    command.add_argument(
        "--output", type=Path, required=True, help="folder for the modified scans; existing ones are kept"
    )
    command.add_argument("--seed", type=int, default=1, help="random seed of the pathologies; default: %(default)s")
    command.add_argument(
        "--per-kind",
        type=int,
        default=5,
        metavar="N",
        help="number of scans per kind of pathology; default: %(default)s",
    )
    command.add_argument("--config", type=Path, help="YAML configuration of the run, required for a .pt")
    command.add_argument(
        "--weights", type=Path, help=".safetensors file, or .pt file of a run; default: the bundled weights"
    )
    command.add_argument("--device", default="auto")
    command.add_argument("--json", type=Path, help="also write the scores here")
    command.set_defaults(run=jobs.stress)

    command = commands.add_parser("calibrate", help="fit the estimate of a result's DICE to results with a known DICE")
    command.add_argument("data", type=Path, nargs="+", help=f"{_DATA}; or a set made by `lvnet-train stress`")
    command.add_argument(
        "--scores", type=Path, required=True, help="CSV file of the results; results that are already in it are kept"
    )
    command.add_argument("--weights", type=Path, help=".safetensors file to calibrate; default: the bundled weights")
    command.add_argument("--output", type=Path, help="the .safetensors file to write: the weights with the calibration")
    command.add_argument(
        "--patients",
        type=Path,
        help="YAML, JSON, or CSV file such as training/data/manifest.csv with the patient of"
        " each case, so that each fit is tested on other patients",
    )
    command.add_argument("--origin", default="", help="one sentence about the data, stored in the file")
    command.add_argument("--device", default="auto")
    command.set_defaults(run=jobs.calibrate)

    command = commands.add_parser(
        "compare",
        help="reproduce the paper's Table 2: train and evaluate its five networks on the same cases",
    )
    command.add_argument("data", type=Path, help=_DATA)
    command.add_argument(
        "--config",
        type=Path,
        required=True,
        help="YAML configuration for every network, such as training/configs/compare.yaml",
    )
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for the results: one subfolder per network, results.json, cases.csv,"
        " table2.md, boxplots.png and report.html",
    )
    command.add_argument(
        "--networks",
        metavar="NAME,...",
        help="networks to compare; default: lvnet,unet2d,cenet,unet3d,vnet; also those of --ablations",
    )
    command.add_argument(
        "--ablations",
        action="store_true",
        help="compare LV-Net with its ablations no-deep-supervision, eps-1, eps-2, eps-6, vanilla, strided, transposed",
    )
    command.add_argument(
        "--split",
        type=Path,
        help="split file for training, validation and test; default: from the configuration's `split`",
    )
    command.add_argument("--cache", type=Path, help="default: OUTPUT/cache")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    command.add_argument(
        "--checkpoint-every",
        type=int,
        default=50,
        metavar="N",
        help="number of patches between checkpoints; default: %(default)s",
    )
    command.add_argument("--seconds-each", type=float, metavar="S", help="time limit for the training of each network")
    command.add_argument(
        "--validate-every", type=int, default=1, metavar="N", help="number of epochs between validations"
    )
    command.add_argument("--overlap", type=float, default=0.5, help="overlap of slabs when segmenting the test cases")
    command.add_argument(
        "--narrower",
        type=int,
        default=1,
        metavar="N",
        help="divide the widths of the paper's other networks by 2, 4, 8 or 16, for a quick trial",
    )
    command.add_argument("--json", action="store_true", help="print the results as JSON instead of Table 2")
    command.set_defaults(run=jobs.compare)

    command = commands.add_parser("export", help="export a run as a checkpoint for `lvnet segment --weights`")
    command.add_argument("run_file", type=Path, help="best.pt or last.pt of a run")
    command.add_argument("output", type=Path, help="the .safetensors file to write")
    command.add_argument("--config", type=Path, required=True, help="YAML configuration of the run")
    command.add_argument(
        "--provenance", type=Path, help="file with a JSON object to store in the checkpoint: data, licence, scores"
    )
    command.set_defaults(run=jobs.export)

    command = commands.add_parser("tables", help="print the paper's tables next to our results")
    command.add_argument("--table", type=int, choices=(1, 2, 3), required=True)
    command.add_argument(
        "evaluations",
        nargs="*",
        metavar="NETWORK=FILE",
        help="for --table 2: JSON files of evaluations, or"
        " results.json of `compare`; default: the results in the repository",
    )
    command.set_defaults(run=jobs.tables)
    return parser


if __name__ == "__main__":
    sys.exit(main())
