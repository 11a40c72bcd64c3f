"""Segments a folder of scans into a folder of segmentations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ...files import remove_stale
from ...pipeline.options import SegmentOptions
from ..messages.requests import FolderRequest
from ..messages.results import FolderResult
from .job import NOBODY, Callbacks
from .remote_job import RemoteJob
from .service import Service

#: Called with the outcome of each scan as soon as it is known.
ScanCallback = Callable[[Dict[str, Any]], None]


class FolderJob(RemoteJob[FolderResult]):
    """Segments every scan of a folder; `on_done` gets a list with one dict per scan.

    Args:
        service: runs the worker.
        source: the folder of scans.
        target: the folder for the results.
        suffix: of the result files.
        settings: how to segment, by field names of SegmentOptions; None stands for the default.
        callbacks: see :class:`~lvnet.worker.client.job.Callbacks`.
        on_scan: gets each entry of the list as soon as it is done, then `input` and `left_out` of everything that
            is not a scan.
        prepare: called before the request is sent; an exception ends the job.
    """

    computes = True
    result_type = FolderResult

    def __init__(
        self,
        service: Service,
        source: str,
        target: str,
        suffix: str,
        settings: Mapping[str, Any],
        callbacks: Callbacks = NOBODY,
        on_scan: Optional[ScanCallback] = None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(service, callbacks)
        self._source, self._target = os.path.abspath(source), os.path.abspath(target)
        self._suffix = suffix
        self._settings = settings
        self._options = SegmentOptions()
        self._on_scan_done = on_scan
        self._prepare = prepare

    def forget(self) -> None:
        super().forget()
        self._on_scan_done = None

    def _begin(self) -> None:
        self._options = SegmentOptions.from_request(self._settings)
        self._prepare()

    def _request(self) -> FolderRequest:
        return FolderRequest(self._source, self._target, self._suffix, self._options)

    def _on_scan(self, scan: Dict[str, Any]) -> None:
        if self._on_scan_done is not None:
            self._on_scan_done(scan)

    def _results(self, result: FolderResult) -> Tuple[List[Dict[str, Any]]]:
        for one in result.left_out:
            self._on_scan({"input": one["input"], "left_out": one["reason"]})
        return (result.scans,)

    def _clean(self) -> None:
        super()._clean()
        if self.error is not None:
            # Files that the process was writing when it was ended.
            remove_stale(Path(self._target), grace=0.0)
