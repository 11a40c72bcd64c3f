"""The commands of `lvnet-train`, each called with its parsed options.

Imports are inside the functions: `lvnet-train --help` and usage errors need neither PyTorch nor Lightning.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any, Dict, List, Tuple

from .bar import Bar
from .splits import PARTS


def prepare(options: argparse.Namespace) -> int:
    from lvnet.errors import ConfigurationError

    from .config import load_config
    from .dataset import load_cases
    from .pack import write_pack
    from .preparing import Row, prepare
    from .sources import find_cases
    from .splits import make_split, read_patients, write_split

    config = load_config(options.config) if options.config else None
    if options.pack and (config is None or config.grid is None):
        raise ConfigurationError("--pack needs a --config with a `grid`")
    if options.validation and not options.pack:
        raise ConfigurationError("--validation can only be used with --pack")
    recipe, labels = (config.recipe(), config.labels) if config else (None, None)
    patients = read_patients(options.patients) if options.patients else {}

    def line(row: Row) -> None:
        size, spacing = " x ".join(map(str, row.shape)), " x ".join(f"{s:.2f}" for s in row.spacing)
        values, volumes = f"{row.lowest}..{row.highest}", "/".join(f"{v:.0f}" for v in row.volumes.values())
        print(f"{row.name:<24}{size:>16}{spacing:>22}{volumes:>12}{values:>14}")
        for remark in row.remarks:
            print(f"    {remark}")

    if options.originals:
        sources, manifest_patients = _rebuild(options)
        patients = patients or manifest_patients
    elif options.manifest or options.again or options.part != "both":
        raise ConfigurationError("--manifest, --part and --again can only be used with --from SOURCE=FOLDER")
    else:
        sources = find_cases(options.data)
    print(f"{'case':<24}{'z, y, x':>16}{'spacing mm':>22}{'labelled ml':>12}{'HU':>14}")
    report = options.report or options.cache / "report"
    rows, refused = prepare(sources, options.cache, report, recipe, labels, not options.no_pictures, line)
    for sentence in refused:
        print(sentence)
    print(f"{len(rows)} cases ready in {options.cache}, {len(refused)} left out; report in {report / 'index.html'}")
    if options.split:
        split = make_split([row.name for row in rows], options.counts, options.seed, patients)
        write_split(split, options.split)
        sizes = "/".join(str(len(getattr(split, part))) for part in PARTS)
        print(f"split {sizes} (seed {options.seed}) in {options.split}")
    if options.pack:
        assert config is not None
        training, _ = load_cases(sources, options.cache, config.classes, labels, config.grid)
        judging = find_cases(options.validation) if options.validation else []
        validation, _ = load_cases(judging, options.cache, config.classes, labels, config.grid)
        size = write_pack(options.pack, training, validation, config)
        print(f"{len(training)} cases for training and {len(validation)} for validation in {options.pack},"
              f" {size / 2**20:.1f} MiB")  # fmt: skip
    return 0


def _rebuild(options: argparse.Namespace) -> Tuple[List[Any], Dict[str, str]]:
    """Builds the folder of the manifest; returns its cases, and patient by case."""
    from .manifest import DEFAULT, read_manifest
    from .originals import parse_folders
    from .rebuilding import of_split, rebuild, summary
    from .sources import find_cases

    folders = parse_folders(options.originals)
    entries = of_split(read_manifest(options.manifest or DEFAULT), options.part)
    verdicts = rebuild(entries, folders, options.data, options.again, lambda line: print(line, flush=True))
    print(summary(verdicts, options.data))
    made = {(verdict.split, verdict.case) for verdict in verdicts if verdict.made}
    sources = [
        source
        for split in sorted({split for split, _ in made})
        for source in find_cases(options.data / split)
        if (split, source.name) in made
    ]
    return sources, {entry.case: entry.patient for entry in entries}


def fit(options: argparse.Namespace) -> int:
    import torch
    from lvnet.acceleration.allocator import keep_pages
    from lvnet.devices import select_device

    from .config import load_config
    from .logs import Pictures
    from .loop import Hardware, fit
    from .materials import gather
    from .state import Run
    from .validation import validate

    # Without it, half of a step on a CPU is spent on memory pages that are allocated and released again.
    keep_pages()
    config = load_config(options.config)
    first = _is_first_process()
    tell = print if first else (lambda _: None)
    material = gather(config, options.output, options.data, options.validation, options.split, options.cache,
                      judged=first)  # fmt: skip
    for sentence in material.remarks:
        tell(sentence)
    device, reason = select_device(options.device)
    tell(reason)
    # Lightning moves the network to its device; every process has its own.
    run = Run.start(config, torch.device("cpu"))
    last = options.output / "last.pt"
    if last.exists():
        run.restore(last)
        tell(f"resuming after epoch {run.epoch}")
    elif options.weights and options.weights.suffix == ".safetensors":
        run.start_from(options.weights)
    elif options.weights:
        run.restore(options.weights, weights_only=True)
    pictures = None if options.no_pictures else Pictures(options.output, material.cases, material.phantoms)
    judge = None
    if material.pairs:
        recipe, seen = config.recipe(), pictures.seen if pictures else None
        judge = lambda network: validate(network, recipe, material.pairs, seen=seen)  # noqa: E731
    hardware = Hardware(device, options.devices, options.nodes, options.workers, options.deterministic)
    after = [pictures] if pictures else []
    with Bar(quiet=not first) as bar:
        fit(run, material.cases, material.phantoms, options.output, judge, options.validate_every, bar.progress,
            bar.say, hardware=hardware, after_epoch=after)  # fmt: skip
    return 0


def _is_first_process() -> bool:
    """Whether this is the process that prints, among several started by torchrun, SLURM or Lightning."""
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return next((rank for rank in ranks if rank), "0") == "0"


def _model(options: argparse.Namespace) -> Any:
    """The model from --weights, --config and --device, ready to run."""
    import torch
    from lvnet.devices import select_device
    from lvnet.errors import ConfigurationError
    from lvnet.inference import load_model

    from .config import load_config
    from .state import Run
    from .validation import model_of

    if not options.weights or options.weights.suffix != ".pt":
        return load_model(options.weights, options.device)
    if not options.config:
        raise ConfigurationError("the weights of a run need --config with the run's configuration")
    config = load_config(options.config)
    run = Run.start(config, torch.device("cpu"))
    run.restore(options.weights)
    return model_of(run.averaged_network().to(select_device(options.device)[0]), config.recipe())


def stress(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from lvnet.files import write_whole

    from .stress import make_stress_set, score_stress_set, stress_table

    with Bar() as bar:
        left_out = make_stress_set(options.data, options.output, options.seed, options.per_kind, bar.progress)
    for sentence in left_out:
        print(sentence)
    model = _model(options)
    with Bar() as bar:
        results = score_stress_set(model, options.output, progress=bar.progress)
    for line in stress_table(results):
        print(line)
    if options.json:
        write_whole(options.json, json.dumps([asdict(result) for result in results], indent=2).encode("utf-8"))
    return 0


def calibrate(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from lvnet.checkpoint import save_checkpoint
    from lvnet.inference import load_model

    from .calibration import collect, fit_quality, report
    from .splits import read_patients

    model = load_model(options.weights, options.device)
    patients = read_patients(options.patients) if options.patients else {}
    with Bar() as bar:
        rows = collect(model, options.data, options.scores, patients, bar.progress)
    quality = fit_quality(rows, value=model.recipe.classes[0].value, origin=options.origin)
    for line in report(rows, quality):
        print(line)
    if options.output:
        assert model.checkpoint is not None
        checksum = save_checkpoint(options.output, model.checkpoint.arrays, replace(model.recipe, quality=quality))
        print(f"wrote {options.output}, checksum {checksum}")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    from lvnet.files import write_whole

    from .config import load_config
    from .materials import part_of
    from .sources import find_cases
    from .splits import read_split
    from .validation import dice_of, load_pairs, score, score_table

    config = load_config(options.config) if options.config else None
    labels = config.labels if config else None
    sources = find_cases(options.data)
    if options.split:
        sources = part_of(sources, getattr(read_split(options.split), options.part))
    model = _model(options)
    pairs = load_pairs(sources, model.recipe.classes, labels)
    with Bar() as bar:
        scores = score(model, pairs, options.overlap, bar.progress, strays=options.strays)
    for line in score_table(scores, options.strays):
        print(line)
    mean = sum(map(dice_of, scores.values())) / len(scores)
    print(f"{'mean dice':<24}{mean:>10.4f}")
    if options.json:
        write_whole(options.json, json.dumps(scores, indent=2).encode("utf-8"))
    if options.least_dice is not None and mean < options.least_dice:
        print(f"lvnet-train: the mean DICE is below {options.least_dice:g}", file=sys.stderr)
        return 1
    return 0


def crossvalidate(options: argparse.Namespace) -> int:
    from lvnet.acceleration.allocator import keep_pages
    from lvnet.devices import select_device

    from .config import load_config
    from .crossvalidation import cross_validate, summary
    from .splits import read_patients
    from .validation import score_table

    keep_pages()
    config = load_config(options.config)
    patients = read_patients(options.patients) if options.patients else {}
    device, reason = select_device(options.device)
    print(reason)
    with Bar() as bar:
        scores = cross_validate(config, options.data, options.output, options.folds, options.seed, patients,
                                options.cache, device, bar.progress, bar.say)  # fmt: skip
    for line in (*score_table(scores, strays=True), *summary(scores)):
        print(line)
    return 0


def compare(options: argparse.Namespace) -> int:
    from lvnet.acceleration.allocator import keep_pages
    from lvnet.devices import select_device

    from .comparison import ABLATIONS, NETWORKS, compare, table_of
    from .config import load_config

    keep_pages()
    named = options.networks.split(",") if options.networks else [] if options.ablations else list(NETWORKS)
    names = [*named, *(ABLATIONS if options.ablations else ())]
    config = load_config(options.config)
    device, reason = select_device(options.device)
    print(reason, file=sys.stderr)
    with Bar(lines=sys.stderr) as bar:
        results = compare(
            config, options.data, options.output, names, split=options.split, cache=options.cache, device=device,
            narrower=options.narrower, save_every=options.checkpoint_every, seconds_each=options.seconds_each,
            validate_every=options.validate_every, overlap=options.overlap, progress=bar.progress, report=bar.say,
        )  # fmt: skip
    print(f"report in {options.output / 'report.html'}", file=sys.stderr)
    print(json.dumps(results, indent=2) if options.json else table_of(results).markdown())
    return 0


def export(options: argparse.Namespace) -> int:
    import torch
    from lvnet.checkpoint import SUMS_FILE, file_sum, save_checkpoint
    from lvnet.errors import CheckpointError

    from .config import load_config
    from .state import Run

    config = load_config(options.config)
    run = Run.start(config, torch.device("cpu"))
    run.restore(options.run_file)
    provenance: Dict[str, Any] = {}
    if options.provenance:
        try:
            provenance = dict(json.loads(options.provenance.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"cannot read the provenance {options.provenance}: {error}") from error
    provenance.setdefault("date", date.today().isoformat())
    provenance.setdefault("commit", _commit())
    provenance.update(epochs=run.epoch, best_validation_dice=round(run.best_dice, 4), config_sha256=config.digest)
    checksum = save_checkpoint(options.output, run.average, config.recipe(provenance))
    print(f"wrote {options.output} ({os.path.getsize(options.output)} bytes), checksum {checksum}")
    print(f"line for {SUMS_FILE}: {file_sum(options.output)}  {options.output.name}")
    return 0


def tables(options: argparse.Namespace) -> int:
    from lvnet.errors import ConfigurationError

    from .paper_tables import RESULTS, table_1, table_2, table_3

    if options.evaluations and options.table != 2:
        raise ConfigurationError("evaluation files can only be used with --table 2")
    evaluations = options.evaluations or ([str(RESULTS)] if RESULTS.exists() else [])
    table = table_2(evaluations) if options.table == 2 else (table_1, table_3)[options.table == 3]()
    print(table.markdown())
    return 0


def _commit() -> str:
    """The commit of the training code; empty outside a checkout."""
    command: List[str] = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
