"""What the panel keeps in the scene."""

from typing import Annotated, Union

from lvnet.pipeline.options import OVERLAP_RANGE, SegmentOptions
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTableNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class LVNetSegmentationParameterNode:
    """What the user chose; saved with the scene.

    inputVolume - the CT, in HU
    outputSegmentation - takes the result; none adds a new one
    device - where to compute: auto, cpu, cuda:N, mps
    weights - a checkpoint file; empty takes the one that comes with the module
    overlap - share of a slab that its neighbour covers again
    postprocess - keep the largest piece and fill its holes
    threads - of the CPU; 0 takes as many as there are cores
    keepWarm - whether the worker process stays between runs
    comparedNode, referenceNode - what is compared with what
    referenceSet - the public data set whose label values the reference has; empty where it has names
    preset - whose definitions of the metrics
    metricsTable - takes the numbers; none adds a new one
    batchOfFolder - a folder rather than the volumes of the scene
    batchInputFolder, batchOutputFolder, batchFormat - where the scans are, and where and how results go
    batchSeries - which series of each folder of DICOM: number, UID or description; empty takes the most suitable
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
