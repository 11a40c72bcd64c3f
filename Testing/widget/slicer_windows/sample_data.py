"""The module SampleData: it accepts and rejects the same arguments as Slicer's."""

from __future__ import annotations

import types
from typing import Any, Callable, Dict, List

#: The registered sources by category, as in slicer.modules.sampleDataSources.
sources: Dict[str, List[SampleDataSource]] = {}


class SampleDataSource:
    """A list of files and their addresses; their numbers are checked as in Slicer."""

    def __init__(
        self,
        sampleName: Any = None,
        sampleDescription: Any = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        checksums: Any = None,
        loadFiles: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: Any = None,
        loadFileTypes: Any = None,
        loadFileProperties: Any = None,
        loadFileType: Any = None,
    ) -> None:
        self.sampleName, self.customDownloader, self.thumbnailFileName = sampleName, customDownloader, thumbnailFileName
        if isinstance(uris, str):
            uris, fileNames, nodeNames, checksums = [uris], [fileNames], [nodeNames], [checksums]
        self.uris, self.fileNames, self.nodeNames, self.checksums = uris, fileNames, nodeNames, checksums
        # None has no length: a TypeError, as in Slicer.
        if not len(uris) == len(fileNames) == len(nodeNames) == len(checksums):
            raise ValueError("All fields of sample data source must have the same length")


class SampleDataLogic:
    """Where modules register their samples."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: Any = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Callable[[SampleDataSource], Any] | None = None,
        thumbnailFileName: Any = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: Any = {},  # noqa: B006 - Slicer's own signature
        checksums: Any = None,
        loadFileType: Any = None,
    ) -> None:
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            checksums=checksums,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
        )
        sources.setdefault(category, []).append(source)


def module() -> types.ModuleType:
    made = types.ModuleType("SampleData")
    made.SampleDataLogic, made.SampleDataSource = SampleDataLogic, SampleDataSource
    return made
