"""What a checkpoint file says of itself, in the words of a panel."""

from __future__ import annotations

from typing import Any, Dict, Optional

from .checkpoint import load_checkpoint


def checkpoint_summary(path: Optional[str] = None) -> Dict[str, Any]:
    """What a checkpoint file says of itself; needs no PyTorch.

    Args:
        path: a file; None or empty takes the bundled weights.

    Returns:
        `name`, `organs` (names), `scores` (free JSON from its provenance, may be empty), `licence` (may be
        empty), `summary` (one line for a panel), `path`.

    Raises:
        CheckpointError: it is no checkpoint, or a damaged one.
    """
    checkpoint = load_checkpoint(path or None)
    recipe = checkpoint.recipe
    provenance = dict(recipe.provenance)
    organs = [entry.name for entry in recipe.classes]
    scores = {key: value for key, value in provenance.items() if "dice" in key.lower() and _is_number(value)}
    licence = str(provenance.get("licence") or provenance.get("license") or "")
    summary = f"{recipe.name}, for {', '.join(organs)}"
    if scores:
        # The training was developed on these scans: on others, not even the second decimal is certain.
        summary += f". Mean DICE on the validation scans: {_first(scores):.2f}; expect less on other scans, above all"
        summary += " with fluid next to the liver, low dose or large tumours"
    return {
        "name": recipe.name,
        "organs": organs,
        "scores": scores,
        "licence": licence,
        "summary": summary,
        "path": str(checkpoint.path),
    }


def _first(scores: Dict[str, float]) -> float:
    return float(next(iter(scores.values())))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
