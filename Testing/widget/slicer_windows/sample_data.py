"""The module SampleData: it accepts and rejects the same arguments as Slicer's."""

from __future__ import annotations

import types
from typing import Any, Callable, Dict, List

#: The registered sources by category, as in slicer.modules.sampleDataSources.
sources: Dict[str, List[SampleDataSource]] = {}


#: What a source has one of for each file; the last four may be left out of a source of several files.
LISTS = ("uris", "fileNames", "nodeNames", "checksums", "loadFiles", "loadFileTypes")


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
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType and loadFileTypes cannot be specified at the same time")
        self.sampleName, self.customDownloader, self.thumbnailFileName = sampleName, customDownloader, thumbnailFileName
        self.sampleDescription = sampleName if sampleDescription is None else sampleDescription
        self.loadFileProperties = {} if loadFileProperties is None else loadFileProperties
        self.uris, self.fileNames = uris, fileNames
        self.nodeNames, self.checksums, self.loadFiles = nodeNames, checksums, loadFiles
        self.loadFileTypes = loadFileType if loadFileTypes is None else loadFileTypes
        if isinstance(uris, str):
            for name in LISTS:
                setattr(self, name, [getattr(self, name)])
        elif isinstance(uris, (list, tuple)):
            for name in LISTS[2:]:
                if getattr(self, name) is None:
                    setattr(self, name, [None] * len(uris))
        # None has no length: a TypeError, as in Slicer.
        if len({len(getattr(self, name)) for name in LISTS}) > 1:
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
            loadFiles=loadFiles,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes,
            loadFileProperties=loadFileProperties,
            loadFileType=loadFileType,
        )
        sources.setdefault(category, []).append(source)


def module() -> types.ModuleType:
    made = types.ModuleType("SampleData")
    made.SampleDataLogic, made.SampleDataSource = SampleDataLogic, SampleDataSource
    return made
