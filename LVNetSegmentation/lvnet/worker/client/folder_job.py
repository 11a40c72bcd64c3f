"""A folder of scans into a folder of segmentations; the scene is not touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

from lvnet.files import remove_stale
from lvnet.pipeline.options import SegmentOptions

from .dependencies import ensureTorch
from .jobs import ProgressCallback
from .remote import RemoteJob
from .service import Service


class FolderJob(RemoteJob):
    """Segments every scan of a folder; `onDone` gets a list of dict, one a scan, `onScan` each as it is done."""

    def __init__(
        self,
        service: Service,
        source: str,
        target: str,
        suffix: str,
        settings: Mapping[str, Any],
        onProgress: Optional[ProgressCallback] = None,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
        onScan: Optional[Callable[[Dict[str, Any]], None]] = None,
    ) -> None:
        self._onScan = onScan
        self._target = Path(os.path.abspath(target))
        places = {"input": os.path.abspath(source), "output": str(self._target)}
        self._fields = {"do": "folder", **places, "suffix": suffix}
        self._settings = settings
        super().__init__(service, True, onProgress, onDone, onError, onCancelled)

    def _begin(self) -> None:
        self._fields.update(SegmentOptions.from_request(self._settings).to_dict())
        ensureTorch()

    def _message(self) -> Optional[Dict[str, Any]]:
        return self._fields

    def forget(self) -> None:
        super().forget()
        self._onScan = None

    def _onPart(self, part: Dict[str, Any]) -> None:
        if self._onScan is not None:
            self._onScan(part)

    def _results(self, answer: Dict[str, Any]) -> tuple:
        if self._onScan is not None:
            for one in answer.get("left_out", ()):
                self._onScan({"input": one["input"], "left_out": one["reason"]})
        return (answer["scans"],)

    def _clean(self) -> None:
        super()._clean()
        if self.error is None:
            return
        # Whatever the process was writing when it was ended.
        remove_stale(self._target, grace=0.0)
