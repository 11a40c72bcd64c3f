"""Summary statistics over cases: averages with their uncertainty, and the comparison of two methods.

The intervals are percentile bootstrap intervals: cases are drawn again with replacement, always by
the same random numbers, so that the same scores give the same interval.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

#: How the intervals are made; written beside every summary.
BOOTSTRAP: Dict[str, Any] = {"resamples": 5000, "seed": 0, "level": 0.95}

#: Numbers drawn at a time; bounds the memory.
_PIECE = 2_000_000
_TOO_FEW = "fewer than two cases have a value"


def summarised(values: Sequence[float]) -> Dict[str, Any]:
    """Mean, sample standard deviation and median of one metric.

    Args:
        values: one per case; those that are not finite are left out and counted.

    Returns:
        Valid JSON: `mean`, `sd`, `median`, `mean_ci95` and `median_ci95` ([low, high]), each None
        with a `<name>_reason` where there are too few values; `count` of the values that are in
        them and `undefined`, the number of those that are not.
    """
    every = np.array(values, np.float64)
    defined = every[np.isfinite(every)]
    result: Dict[str, Any] = {"mean": None, "sd": None, "median": None, "mean_ci95": None, "median_ci95": None}
    if defined.size:
        result["mean"], result["median"] = float(defined.mean()), float(np.median(defined))
    else:
        result["mean_reason"] = result["median_reason"] = "no case has a value"
    if defined.size > 1:
        result["sd"] = float(defined.std(ddof=1))
        result["mean_ci95"], result["median_ci95"] = bootstrap_intervals(defined, np.mean, np.median)
    else:
        for name in ("sd", "mean_ci95", "median_ci95"):
            result[f"{name}_reason"] = _TOO_FEW
    return {**result, "count": int(defined.size), "undefined": int(every.size - defined.size)}


def compared(values: Sequence[float], others: Sequence[float]) -> Dict[str, Any]:
    """Two methods on the same cases.

    Args:
        values: one metric of the first method, one number per case.
        others: the other method's, in the same order; cases where either is not finite are left
            out and counted.

    Returns:
        Valid JSON: `mean` and `other_mean`; `mean_difference` (first minus second) with
        `mean_difference_ci95`; `wilcoxon_p`, two-sided, of the signed-rank test, not corrected
        for the number of metrics; each None with a reason where it cannot be said; `count`,
        `undefined`.
    """
    one, other = np.array(values, np.float64), np.array(others, np.float64)
    paired = np.isfinite(one) & np.isfinite(other)
    one, other, undefined = one[paired], other[paired], int(np.count_nonzero(~paired))
    result: Dict[str, Any] = {
        "mean": None,
        "other_mean": None,
        "mean_difference": None,
        "mean_difference_ci95": None,
        "wilcoxon_p": None,
    }
    if one.size:
        result.update(mean=float(one.mean()), other_mean=float(other.mean()))
        result["mean_difference"] = float((one - other).mean())
    else:
        for name in ("mean", "other_mean", "mean_difference"):
            result[f"{name}_reason"] = "no case has a value with both methods"
    if one.size > 1:
        result["mean_difference_ci95"] = bootstrap_intervals(one - other, np.mean)[0]
    else:
        result["mean_difference_ci95_reason"] = _TOO_FEW
    p, reason = _wilcoxon(one - other)
    result["wilcoxon_p"] = p
    if p is None:
        result["wilcoxon_p_reason"] = reason
    return {**result, "count": int(one.size), "undefined": undefined}


def bootstrap_intervals(values: np.ndarray, *statistics: Callable[..., np.ndarray]) -> List[List[float]]:
    """[low, high] of the 95 % percentile bootstrap interval of each statistic.

    Args:
        values: (n,) finite numbers.
        *statistics: take an array and `axis`, as `np.mean` does.
    """
    from scipy.stats import bootstrap  # a slow import that most runs do without

    intervals = []
    for statistic in statistics:
        found = bootstrap(
            (values,),
            statistic,
            n_resamples=BOOTSTRAP["resamples"],
            confidence_level=BOOTSTRAP["level"],
            method="percentile",
            batch=max(1, _PIECE // values.size),
            random_state=np.random.default_rng(BOOTSTRAP["seed"]),
        ).confidence_interval
        intervals.append([float(found.low), float(found.high)])
    return intervals


def _wilcoxon(differences: np.ndarray) -> Tuple[Any, str]:
    if differences.size < 2:
        return None, _TOO_FEW
    if not differences.any():
        return None, "both methods have the same value in every case"
    from scipy.stats import wilcoxon  # a slow import that most runs do without

    p = float(wilcoxon(differences).pvalue)
    return (p, "") if np.isfinite(p) else (None, "the test has no answer for these values")
