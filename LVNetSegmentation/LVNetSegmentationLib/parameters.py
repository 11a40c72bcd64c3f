"""The settings of the panel, stored in the scene."""

from typing import Annotated, Union

from lvnet.pipeline.options import OVERLAP_RANGE, SegmentOptions
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTableNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class LVNetSegmentationParameterNode:
    """The user's choices, saved with the scene.

    inputVolume - the CT, in HU
    outputSegmentation - receives the result; none adds a new one
    device - where to compute: auto, cpu, cuda:N, mps
    weights - a checkpoint file; empty takes the bundled one
    overlap - fraction by which neighbouring slabs overlap
    postprocess - keep the largest connected component and fill its holes
    threads - number of CPU threads; 0 takes all cores
    keepWarm - whether the worker process is kept between runs
    comparedNode, referenceNode - the segmentation to score, and its reference
    referenceSet - the public data set whose label values the reference has; empty if it has names
    preset - the metric definitions
    metricsTable - receives the metrics; none adds a new one
    batchOfFolder - segment a folder rather than the volumes of the scene
    batchInputFolder, batchOutputFolder, batchFormat - where the scans are, and where and how to write results
    batchSeries - the series in each DICOM folder: number, UID or description; empty takes the most suitable
    """

    inputVolume: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    device: str = SegmentOptions.device
    weights: str = ""
    overlap: Annotated[float, WithinRange(*OVERLAP_RANGE)] = SegmentOptions.overlap
    postprocess: bool = SegmentOptions.postprocess
    threads: Annotated[int, WithinRange(0, 256)] = 0
    keepWarm: bool = True
    comparedNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]
    referenceNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]
    referenceSet: str = ""
    preset: Annotated[str, Choice(["lits", "chaos", "medpy", "surfel"])] = "lits"
    metricsTable: vtkMRMLTableNode
    batchOfFolder: bool = False
    batchInputFolder: str = ""
    batchOutputFolder: str = ""
    batchFormat: Annotated[str, Choice([".seg.nrrd", ".nii.gz", ".nrrd", ".mha"])] = ".seg.nrrd"
    batchSeries: str = ""
