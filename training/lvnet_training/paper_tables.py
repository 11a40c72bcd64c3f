"""The paper's tables next to our numbers, which are computed on request."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from lvnet.errors import ConfigurationError

from . import paper

Rows = List[Tuple[str, ...]]
#: The results of `lvnet-train compare`, if the repository contains them.
RESULTS = Path(__file__).parents[1] / "data" / "comparison.json"


class Table(NamedTuple):
    """A text table: headings, rows of the same length, and remarks below."""

    title: str
    head: Tuple[str, ...]
    rows: Rows
    remarks: Tuple[str, ...] = ()

    def markdown(self) -> str:
        """The table in Markdown with aligned columns, so that it is also readable in a terminal."""
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = [self._line(self.head, widths), "| " + " | ".join("-" * w for w in widths) + " |"]
        lines += [self._line(row, widths) for row in self.rows]
        return "\n".join([self.title, "", *lines, *(f"\n{remark}" for remark in self.remarks)])

    @staticmethod
    def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
        first = cells[0].ljust(widths[0])
        return "| " + " | ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:]))]) + " |"


def table_1() -> Table:
    """Convolution weights of an IRB block and of a vanilla convolution, step by step as in the paper.

    Ours are counted from the modules themselves.  Two additional rows contain the paper's statements about down-
    and up-sampling.
    """
    from lvnet.network import DownSampling, IRBBlock, UpSampling
    from torch import nn

    k, c, eps = (paper.TABLE_1_SIZES[name] for name in ("k", "C", "eps"))

    def weights(module: nn.Module) -> List[int]:
        kinds = (nn.Conv3d, nn.ConvTranspose3d)
        return [m.weight.numel() for m in module.modules() if isinstance(m, kinds)]

    vanilla = sum(weights(nn.Conv3d(c, c, k, bias=False)))
    expansion, depth_wise, contraction = weights(IRBBlock(c, eps, k))
    total = expansion + depth_wise + contraction
    rows: Rows = [
        ("expansion, point-wise", "1 x 1 x 1 x C x C x eps", f"{c * c * eps:,}", f"{expansion:,}", "", "", ""),
        ("depth-wise", "k x k x k x C x eps", f"{k**3 * c * eps:,}", f"{depth_wise:,}", "", "", ""),
        ("contraction, point-wise", "1 x 1 x 1 x C x eps x C", f"{c * eps * c:,}", f"{contraction:,}", "", "", ""),
        ("total", "k^3 C eps + 2 C^2 eps", f"{paper.TABLE_1_TOTALS['irb']:,}", f"{total:,} ({total / vanilla:.2%})",
         "k^3 C^2", f"{paper.TABLE_1_TOTALS['vanilla']:,}", f"{vanilla:,} (100 %)"),
    ]  # fmt: skip
    sampling = (
        ("down-sampling, C to 2C", "2 C^2", 2 * c * c, DownSampling(c, 2 * c), "16 C^2", 16 * c * c,
         nn.Conv3d(c, 2 * c, 2, stride=2, bias=False)),
        ("up-sampling, C to C/2", "C^2 / 2", c * c // 2, UpSampling(c, c // 2), "4 C^2", 4 * c * c,
         nn.ConvTranspose3d(c, c // 2, 2, stride=2, bias=False)),
    )  # fmt: skip
    for name, light, lights, module, heavy, heavies, other in sampling:
        ours, theirs = sum(weights(module)), sum(weights(other))
        rows.append((name, light, f"{lights:,}", f"{ours:,} ({ours / theirs:.2%})", heavy, f"{heavies:,}",
                     f"{theirs:,} (100 %)"))  # fmt: skip
    return Table(
        f"Table 1: convolution weights of a block, k = {k}, C = {c}, eps = {eps}",
        ("step", "LV-Net", "paper", "ours", "V-Net", "paper", "ours"),
        rows,
        ("Weights of convolutions only; the last two rows are from the paper's text, section 2.1.",),
    )


def table_2(evaluations: Sequence[str] = ()) -> Table:
    """Mean scores of evaluation runs next to the paper's.

    Args:
        evaluations: each `NETWORK=FILE` or `FILE`: JSON of `lvnet evaluate --json` or `lvnet-train evaluate --json`,
            or `results.json` of `lvnet-train compare`.  If the name or the file's stem is that of a network (lvnet,
            vnet, unet3d, unet, cenet), the scores are in the paper's row; others have a row of their own.

    Raises:
        ConfigurationError: a file cannot be read or contains no scores.
    """
    from lvnet.baselines import NETWORKS

    runs: Dict[str, Any] = {}
    for given in evaluations:
        name, equals, path = given.partition("=")
        if not equals:
            name, path = Path(given).stem, given
        data = _read(Path(path))
        if isinstance(data, dict) and isinstance(data.get("networks"), dict):
            found = data["networks"]
        else:
            key = name.lower().replace("-", "").replace("_", "").replace(" ", "")
            key = {"3dunet": "unet3d"}.get(key, key)
            found = {key if key in NETWORKS else name: data}
        for key, value in found.items():
            if key in runs:
                raise ConfigurationError(f"two evaluations have the name {key}; name them, as in vnet=FILE")
            if not list(_cases(value)):
                raise ConfigurationError(
                    f"{path} contains no scores; write it with `lvnet evaluate --json {Path(path).name}`"
                )
            runs[key] = value
    return table_2_of(runs)


def table_2_of(runs: Mapping[str, Any]) -> Table:
    """The same for evaluations in memory, by network; `title` names the row of a network that is not in the paper."""
    from lvnet.baselines import NETWORKS

    rows: Rows = []
    gaps = []
    for key in [*NETWORKS, *(k for k in runs if k not in NETWORKS)]:
        scores = list(_cases(runs[key])) if key in runs else []
        printed = paper.TABLE_2.get(key, {})
        title = NETWORKS[key].title if key in NETWORKS else str(runs[key].get("title", key))
        cells = [title, str(len(scores) or "-")]
        for metric, heading, digits in paper.METRICS:
            value, missing = _mean([case.get(metric) for case in scores])
            cells += [in_digits(printed.get(metric), digits), in_digits(value, digits)]
            if missing:
                gaps.append(f"{heading} of {title}: mean without {missing} undefined")
        rows.append(tuple(cells))
    head = ["network", "cases"]
    for _, heading, _ in paper.METRICS:
        head += [f"{heading}, paper", "ours"]
    remarks = [f"A dash: not run, or not in the paper. The paper's are means over {paper.SPLIT[2]} test scans of LiTS."]
    return Table("Table 2: segmentation of the liver, means over cases", tuple(head), rows, (*remarks, *gaps))


def table_3() -> Table:
    """Parameters, operations and size of every network, counted as in the paper."""
    from lvnet.baselines import NETWORKS, build
    from lvnet.complexity import measure

    rows: Rows = []
    for name, network in NETWORKS.items():
        parameters, gflops, megabytes = paper.TABLE_3[name]
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


def in_digits(value: Optional[float], digits: int) -> str:
    """A number with that many decimals; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def _mean(values: Sequence[Optional[float]]) -> Tuple[Optional[float], int]:
    """The mean of the defined values, and how many are not."""
    defined = [float(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v)]
    return (sum(defined) / len(defined) if defined else None), len(values) - len(defined)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read the evaluation {path}: {error}") from error


def _cases(data: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(data, dict):
        return
    if "dice" in data:
        yield data
    elif "labels" in data:
        # Several organs: the first is the liver, as in the paper.
        first = next(iter(data["labels"].values()), None)
        yield from _cases(first)
    else:
        for case in data.get("cases", data).values():
            yield from _cases(case)
