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

# What only the extra [train] brings.
_EXTRAS = ("lightning", "matplotlib", "tensorboard", "tqdm", "yaml")
_DATA = "LiTS, MSD or nnU-Net folder, or a folder a case with ct.nii.gz and liver.nii.gz"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs a command; the exit code is 0, 1 for a score too low, 2 for a user's error, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    let_waiting_threads_sleep()
    try:
        return int(options.run(options) or 0)
    except LVNetError as error:
        print(f"lvnet-train: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        # Lightning names what it misses in its sentence only.
        missing = error.name.partition(".")[0] if error.name else str(error)
        package = next((name for name in _EXTRAS if (name == missing if error.name else name in missing)), None)
        if package is None:
            raise
        print(f"lvnet-train: this needs {package}; pip install '.[train]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lvnet-train: interrupted; what was saved last is kept, run the same command to go on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lvnet-train", description="Trains LV-Net on CTs with labels.")
    commands = parser.add_subparsers(
        required=True, metavar="prepare|fit|evaluate|stress|calibrate|crossvalidate|compare|export|tables"
    )

    command = commands.add_parser("prepare", help="check a data set, fill the cache, write a report and a split")
    command.add_argument("data", type=Path, help=_DATA)
    command.add_argument("--cache", type=Path, required=True)
    command.add_argument("--config", type=Path, help="YAML whose classes and labels to go by; default: liver")
    command.add_argument("--pack", type=Path, metavar="FILE", help="write all cases on the configuration's grid to one"
                         " small file, to train elsewhere: `fit --data FILE`")  # fmt: skip
    command.add_argument("--validation", type=Path, help="with --pack: the data set that chooses the best epoch")
    command.add_argument("--report", type=Path, help="folder of the report; default: CACHE/report")
    command.add_argument("--no-pictures", action="store_true", help="a report without pictures")
    command.add_argument("--split", type=Path, metavar="FILE", help="write a split of the usable cases, .yaml or .json")
    command.add_argument("--counts", default="90/10/31", help="training/validation/test cases; default: %(default)s")
    command.add_argument("--seed", type=int, default=1, help="of the split")
    command.add_argument(
        "--patients", type=Path, help="YAML, JSON or CSV, patient by case; keeps a patient's cases together"
    )
    command.add_argument(
        "--from", dest="originals", action="append", default=[], metavar="SOURCE=FOLDER",
        help="make DATA first, of the data set SOURCE of the manifest as you downloaded it; may be given for each",
    )  # fmt: skip
    command.add_argument("--manifest", type=Path, help="with --from; default: training/data/manifest.csv")
    command.add_argument(
        "--part", choices=("both", "train", "val"), default="both", help="of the manifest, with --from"
    )
    command.add_argument("--again", action="store_true", help="with --from: make cases again that are there already")
    command.set_defaults(run=jobs.prepare)

    command = commands.add_parser("fit", help="train; the same command resumes where it stopped")
    command.add_argument("--config", type=Path, required=True, help="YAML, see training/configs")
    command.add_argument("--data", type=Path, help=f"{_DATA}; or a pack; none: only made phantoms")
    command.add_argument("--validation", type=Path, help="data set that chooses the best epoch")
    command.add_argument("--split", type=Path, help="split of --data: trains and validates on its parts")
    command.add_argument("--output", type=Path, required=True, help="folder for last.pt, best.pt and log.csv")
    command.add_argument("--cache", type=Path, help="default: OUTPUT/cache")
    command.add_argument("--weights", type=Path, help="begin from the weights of this .pt or .safetensors file")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    command.add_argument("--devices", type=int, default=1, metavar="N", help="GPUs (or CPU processes) on each node")
    command.add_argument("--nodes", type=int, default=1, metavar="N", help="computers, started by torchrun or SLURM")
    command.add_argument("--workers", type=int, default=0, metavar="N", help="processes that draw patches")
    command.add_argument("--deterministic", action="store_true", help="the same bits every time, where it can be had")
    command.add_argument("--no-pictures", action="store_true", help="draw neither curve nor examples")
    command.add_argument("--validate-every", type=int, default=1, metavar="N", help="epochs between validations")
    command.set_defaults(run=jobs.fit)

    command = commands.add_parser("evaluate", help="score a checkpoint on a data set")
    command.add_argument("data", type=Path, help=_DATA)
    command.add_argument("--split", type=Path, help="split of the data set, to score one part of it")
    command.add_argument("--part", choices=PARTS, default="test", help="of the split; default: %(default)s")
    command.add_argument("--config", type=Path, help="YAML of the run, for a .pt; its labels are gone by")
    command.add_argument("--weights", type=Path, help=".safetensors, or .pt of a run; default: the bundled weights")
    command.add_argument("--device", default="auto")
    command.add_argument("--overlap", type=float, default=0.5)
    command.add_argument("--json", type=Path, help="also write the scores here")
    command.add_argument("--least-dice", type=float, metavar="DICE", help="exit code 1 where the mean is lower")
    command.add_argument(
        "--strays", action="store_true", help="also what is found far from the organ before it is cleaned up"
    )
    command.set_defaults(run=jobs.evaluate)

    command = commands.add_parser(
        "crossvalidate", help="train a network for each fold of a data set and score it on what it has not seen"
    )
    command.add_argument("data", type=Path, help=_DATA)
    command.add_argument("--config", type=Path, required=True, help="YAML of every fold's run, such as"
                         " training/configs/crossvalidation.yaml")  # fmt: skip
    command.add_argument("--output", type=Path, required=True, help="a folder a fold, scores.json and scores.csv")
    command.add_argument("--folds", type=int, default=3, metavar="N", help="default: %(default)s")
    command.add_argument("--seed", type=int, default=1, help="of the folds")
    command.add_argument("--patients", type=Path, help="YAML, JSON, or CSV such as training/data/manifest.csv: patient"
                         " by case; keeps a patient's cases together")  # fmt: skip
    command.add_argument("--cache", type=Path, help="default: OUTPUT/cache")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    command.set_defaults(run=jobs.crossvalidate)

    command = commands.add_parser(
        "stress", help="make masses, effusions and the like into scans, and score weights on them"
    )
    command.add_argument("data", type=Path, help=f"{_DATA}; such as the validation scans")
    command.add_argument("--output", type=Path, required=True, help="folder of the set; what is there already is kept")
    command.add_argument("--seed", type=int, default=1, help="of what is made; default: %(default)s")
    command.add_argument("--per-kind", type=int, default=5, metavar="N", help="scans a kind; default: %(default)s")
    command.add_argument("--config", type=Path, help="YAML of the run, for a .pt")
    command.add_argument("--weights", type=Path, help=".safetensors, or .pt of a run; default: the bundled weights")
    command.add_argument("--device", default="auto")
    command.add_argument("--json", type=Path, help="also write the scores here")
    command.set_defaults(run=jobs.stress)

    command = commands.add_parser(
        "calibrate", help="fit the expected DICE that the self-check prints to results whose DICE is known"
    )
    command.add_argument("data", type=Path, nargs="+", help=f"{_DATA}; also sets that `lvnet-train stress` made")
    command.add_argument("--scores", type=Path, required=True, help="CSV of the results; those in it are kept")
    command.add_argument("--weights", type=Path, help=".safetensors to judge; default: the bundled weights")
    command.add_argument("--output", type=Path, help="the .safetensors file to write: the weights with the calibration")
    command.add_argument("--patients", type=Path, help="YAML, JSON, or CSV such as training/data/manifest.csv: patient"
                         " by case; a fit is tested on patients that it has not seen")  # fmt: skip
    command.add_argument("--origin", default="", help="one sentence about the data, kept in the file")
    command.add_argument("--device", default="auto")
    command.set_defaults(run=jobs.calibrate)

    command = commands.add_parser(
        "compare", help="the paper's Table 2: train its five networks alike, score them on the same test cases"
    )
    command.add_argument("data", type=Path, help=_DATA)
    command.add_argument("--config", type=Path, required=True, help="YAML of every network's run, such as"
                         " training/configs/compare.yaml")  # fmt: skip
    command.add_argument("--output", type=Path, required=True, help="a folder a network, results.json, cases.csv,"
                         " table2.md, boxplots.png and report.html")  # fmt: skip
    command.add_argument("--networks", metavar="NAME,...", help="default: lvnet,unet2d,cenet,unet3d,vnet; also those of"
                         " --ablations")  # fmt: skip
    command.add_argument("--ablations", action="store_true", help="LV-Net and no-deep-supervision, eps-1, eps-2, eps-6,"
                         " vanilla, strided, transposed")  # fmt: skip
    command.add_argument("--split", type=Path, help="which cases train, choose the epoch and judge; default: what the"
                         " configuration's `split` asks for")  # fmt: skip
    command.add_argument("--cache", type=Path, help="default: OUTPUT/cache")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    command.add_argument("--checkpoint-every", type=int, default=50, metavar="N", help="patches; default: %(default)s")
    command.add_argument("--seconds-each", type=float, metavar="S", help="train each network for so long at most")
    command.add_argument("--validate-every", type=int, default=1, metavar="N", help="epochs between validations")
    command.add_argument("--overlap", type=float, default=0.5, help="of slabs, on the test cases")
    command.add_argument("--narrower", type=int, default=1, metavar="N", help="divide the widths of the paper's other"
                         " networks by 2, 4, 8 or 16, to try the command out")  # fmt: skip
    command.add_argument("--json", action="store_true", help="print the results as JSON instead of Table 2")
    command.set_defaults(run=jobs.compare)

    command = commands.add_parser("export", help="make a checkpoint in the bundled format from a run")
    command.add_argument("run_file", type=Path, help="best.pt or last.pt of a run")
    command.add_argument("output", type=Path, help="the .safetensors file to write")
    command.add_argument("--config", type=Path, required=True, help="the YAML that the run was made with")
    command.add_argument("--provenance", type=Path, help="JSON object that goes into the file: data, licence, scores")
    command.set_defaults(run=jobs.export)

    command = commands.add_parser("tables", help="the paper's tables with our numbers beside them")
    command.add_argument("--table", type=int, choices=(1, 2, 3), required=True)
    command.add_argument("evaluations", nargs="*", metavar="NETWORK=FILE", help="for --table 2: JSON of evaluations, or"
                         " results.json of `compare`; default: the results that the repository holds")  # fmt: skip
    command.set_defaults(run=jobs.tables)
    return parser


if __name__ == "__main__":
    sys.exit(main())
