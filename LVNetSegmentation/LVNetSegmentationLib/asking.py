"""Questions: to the worker about devices and PyTorch, to a file about its weights."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

from .dependencies import missingTorch, torchIsMissing
from .remote import RemoteJob
from .service import Service


class AskJob(RemoteJob):
    """Asks the worker for its `devices` (a list), whether `torch` works (a sentence), or its `pace` (a number or None).

    Args:
        settings: of SegmentOptions, which the pace depends on.
    """

    def __init__(
        self,
        service: Service,
        what: str,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        settings: Optional[Dict[str, Any]] = None,
    ) -> None:
        self._what, self._settings = what, settings or {}
        super().__init__(service, False, onDone=onDone, onError=onError)

    def _begin(self) -> None:
        if torchIsMissing():
            raise missingTorch()

    def _message(self) -> Optional[Dict[str, Any]]:
        return {"do": self._what, **self._settings}

    def _results(self, answer: Dict[str, Any]) -> tuple:
        if self._what == "devices":
            return (answer["devices"],)
        if self._what == "pace":
            return (answer["seconds_per_litre"],)
        return (f"PyTorch {answer['version']} works; Automatic computes on {answer['device']}",)


def weightsInfo(path: Optional[str] = None) -> Dict[str, Any]:
    """What a checkpoint file says of itself, see the logic's method of this name."""
    from lvnet.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path or None)
    recipe = checkpoint.recipe
    provenance = dict(recipe.provenance)
    organs = [entry.name for entry in recipe.classes]
    scores = {key: value for key, value in provenance.items() if "dice" in key.lower() and _isNumber(value)}
    licence = str(provenance.get("licence") or provenance.get("license") or "")
    summary = f"{recipe.name}, for {', '.join(organs)}"
    if scores:
        # Of scans that chose the epoch: the second decimal is the last that means anything on another scan.
        summary += f". On scans like those that it was checked on, expect a DICE of about {_first(scores):.2f}"
        summary += "; less on unusual ones, such as low dose, no contrast or large tumours"
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


def _isNumber(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
