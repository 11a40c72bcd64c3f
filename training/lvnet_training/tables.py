"""The paper's tables with our numbers beside them.

What the paper says stands in this file; a number of it that is not known to us is None and prints as
a dash.  Our numbers are computed when the table is asked for.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from lvnet.errors import ConfigurationError

Rows = List[Tuple[str, ...]]


class Table(NamedTuple):
    """A table in text: headings, rows of the same length, and remarks below."""

    title: str
    head: Tuple[str, ...]
    rows: Rows
    remarks: Tuple[str, ...] = ()

    def markdown(self) -> str:
        """With columns of even width, so that it reads in a terminal as well."""
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = [self._line(self.head, widths), "| " + " | ".join("-" * w for w in widths) + " |"]
        lines += [self._line(row, widths) for row in self.rows]
        return "\n".join([self.title, "", *lines, *(f"\n{remark}" for remark in self.remarks)])

    @staticmethod
    def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
        first = cells[0].ljust(widths[0])
        return "| " + " | ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:]))]) + " |"


#: Table 3 of the paper: parameters, GFLOPs (multiply-accumulates), MB.
PAPER_TABLE_3: Dict[str, Tuple[int, float, float]] = {
    "unet": (13_394_242, 123.96, 51.15),
    "cenet": (29_003_668, 35.78, 110.77),
    "unet3d": (16_320_322, 1032.80, 62.27),
    "vnet": (65_173_903, 516.12, 248.69),
    "lvnet": (1_659_282, 58.07, 6.56),
}

#: The metrics of Table 2: key in an evaluation, heading.
METRICS = (("dice", "DICE"), ("voe", "VOE"), ("rvd", "RVD"), ("assd_mm", "ASSD mm"), ("mssd_mm", "MSSD mm"))

#: What is known of Table 2 of the paper, by network and metric.
PAPER_TABLE_2: Dict[str, Dict[str, float]] = {
    "unet": {},
    "cenet": {},
    "unet3d": {},
    "vnet": {},
    "lvnet": {"dice": 0.954},
}


def table_1(channels: int = 64, expansion: int = 4, kernel_size: int = 5) -> Table:
    """Convolution weights of LV-Net's blocks beside V-Net's.

    Our columns count the weights of the modules themselves; the paper's are its text's formulas.
    """
    from lvnet.network import DownSampling, IRBBlock, UpSampling
    from torch import nn

    def weights(module: nn.Module) -> int:
        kinds = (nn.Conv3d, nn.ConvTranspose3d)
        return sum(m.weight.numel() for m in module.modules() if isinstance(m, kinds))

    c, e, k = channels, expansion, kernel_size
    blocks = (
        (f"IRB, eps {e} | {k}^3 convolution", k**3 * c * e + 2 * c * c * e, k**3 * c * c,
         IRBBlock(c, e, k), nn.Conv3d(c, c, k, bias=False)),
        ("down C to 2C | strided 2^3", 2 * c * c, 16 * c * c,
         DownSampling(c, 2 * c), nn.Conv3d(c, 2 * c, 2, stride=2, bias=False)),
        ("up C to C/2 | transposed 2^3", c * c // 2, 4 * c * c,
         UpSampling(c, c // 2), nn.ConvTranspose3d(c, c // 2, 2, stride=2, bias=False)),
    )  # fmt: skip
    rows: Rows = []
    for name, light, heavy, module, vanilla in blocks:
        ours, theirs = weights(module), weights(vanilla)
        name = name.replace(" | ", " instead of ")
        rows.append((name, f"{light:,}", f"{ours:,}", f"{heavy:,}", f"{theirs:,}", f"{100 * ours / theirs:.2f} %"))
    return Table(
        f"Convolution weights of a block, C = {c}",
        ("block", "LV-Net, paper", "ours", "V-Net, paper", "ours", "share"),
        rows,
        ("Weights of convolutions only, as in the paper's text; the layout of its own Table 1 is not known to us.",),
    )


def table_2(evaluations: Sequence[str]) -> Table:
    """Mean scores of evaluation runs beside the paper's.

    Args:
        evaluations: each `NETWORK=FILE` or `FILE`: JSON of `lvnet evaluate --json` or `lvnet-train evaluate --json`.
            A name or a file's stem that is a network's (lvnet, vnet, unet3d, unet, cenet) stands beside
            the paper's row; any other is a row of its own.

    Raises:
        ConfigurationError: a file cannot be read or holds no scores.
    """
    from .baselines import NETWORKS

    runs: Dict[str, Dict[str, Tuple[Optional[float], int]]] = {}
    counts: Dict[str, int] = {}
    for given in evaluations:
        name, equals, path = given.partition("=")
        if not equals:
            name, path = Path(given).stem, given
        key = name.lower().replace("-", "").replace("_", "").replace(" ", "")
        key = {"3dunet": "unet3d"}.get(key, key)
        key = key if key in NETWORKS else name
        if key in runs:
            raise ConfigurationError(f"two evaluations are called {key}; name them, as in vnet=FILE")
        scores = _scores(Path(path))
        counts[key] = len(scores)
        runs[key] = {metric: _mean([case.get(metric) for case in scores]) for metric, _ in METRICS}
    rows: Rows = []
    gaps = []
    for key in [*NETWORKS, *(k for k in runs if k not in NETWORKS)]:
        paper, ours = PAPER_TABLE_2.get(key, {}), runs.get(key, {})
        cells = [NETWORKS[key].title if key in NETWORKS else key, str(counts.get(key, "-"))]
        for metric, heading in METRICS:
            value, missing = ours.get(metric, (None, 0))
            cells += [_number(paper.get(metric), 3), _number(value, 4 if metric in ("dice", "voe", "rvd") else 2)]
            if missing:
                gaps.append(f"{heading} of {cells[0]}: mean without {missing} undefined")
        rows.append(tuple(cells))
    head = ["network", "cases"]
    for _, heading in METRICS:
        head += [f"{heading}, paper", "ours"]
    remarks = ["A dash: not known to us (paper), or not run (ours). The paper's test split is 31 scans of LiTS."]
    return Table("Table 2: segmentation of the liver, means over cases", tuple(head), rows, (*remarks, *gaps))


def table_3() -> Table:
    """Parameters, operations and size of every network, counted the paper's way."""
    from lvnet.complexity import measure

    from .baselines import NETWORKS, build

    rows: Rows = []
    for name, network in NETWORKS.items():
        parameters, gflops, megabytes = PAPER_TABLE_3[name]
        ours = measure(build(name), network.input_size)
        rows.append(
            (
                network.title,
                *(f"{parameters:,}", f"{ours.parameters:,}", _change(ours.parameters, parameters)),
                *(f"{gflops:,.2f}", f"{ours.macs / 1e9:,.2f}", _change(ours.macs / 1e9, gflops)),
                *(f"{megabytes:.2f}", f"{ours.megabytes:.2f}"),
                "x".join(map(str, network.input_size[1:])),
            )
        )
    return Table(
        "Table 3: parameters, multiply-accumulates (the paper's GFLOPs) and MiB of the state",
        ("network", "parameters, paper", "ours", "change", "GFLOPs, paper", "ours", "change", "MB, paper", "ours",
         "input"),
        rows,
        tuple(f"{network.title}: {network.reading}." for network in NETWORKS.values() if network.reading),
    )  # fmt: skip


def _change(ours: float, paper: float) -> str:
    return "0" if ours == paper else f"{100 * (ours / paper - 1):+.3f} %"


def _number(value: Optional[float], digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _mean(values: Sequence[Optional[float]]) -> Tuple[Optional[float], int]:
    """The mean of the defined values, and how many are not."""
    defined = [float(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v)]
    return (sum(defined) / len(defined) if defined else None), len(values) - len(defined)


def _scores(path: Path) -> List[Mapping[str, Any]]:
    """The metrics of every case of an evaluation file, whichever command wrote it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read the evaluation {path}: {error}") from error
    found = list(_cases(data))
    if not found:
        raise ConfigurationError(f"{path} holds no scores; write it with `lvnet evaluate --json {path.name}`")
    return found


def _cases(data: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(data, dict):
        return
    if "dice" in data:
        yield data
    elif "labels" in data:
        # Several organs: the paper's is the liver, the first.
        first = next(iter(data["labels"].values()), None)
        yield from _cases(first)
    else:
        for case in data.get("cases", data).values():
            yield from _cases(case)
