"""Writing DICOM SR with highdicom: measurements of a segmentation as a report that an archive stores with the series.

The template is TID 1500, `Measurement Report`, with one group per organ.  Together with a DICOM SEG a group describes a
volume of interest (TID 1411) that refers to its segment and has its tracking identifier; otherwise it is a plain group
(TID 1501) that refers to the slices.  Values without a code in a public scheme, which are those of the self-check, have
a code of the private scheme 99LVNET.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from .._version import __version__
from ..recipe import LabelClass, Recipe
from ..volume import Volume
from .dicom_codes import ALGORITHM, MANUFACTURER, algorithm, category_and_kind, tracking_id
from .dicom_objects import save_object
from .dicom_seg import SegSource, carried_over, load_highdicom, source_headers
from .names import PathLike

#: File name suffix of a DICOM SR.
SR_SUFFIX = ".dcm"
#: Name of a DICOM SR in messages, and what to write if one cannot be written.
SR, INSTEAD_OF_SR = "DICOM SR", ".json"

#: Scheme of codes that no public scheme has; in DICOM, private schemes begin with 99.
PRIVATE_SCHEME = "99LVNET"
_VERDICTS = {"ok": "as expected", "look": "to be looked at", "wrong": "probably wrong"}
_DICE = {"dice": ("expected Dice", "EXPECTED_DICE"), "low": ("lower bound of the expected Dice", "DICE_LOW"),
         "high": ("upper bound of the expected Dice", "DICE_HIGH")}  # fmt: skip
# A device is identified by a UID; ours is derived from the checksum of the weights.
_DEVICES = uuid.UUID("5b0d2c9a-0f6e-5c39-9a55-1f4f9a6f2a11")


@dataclass(frozen=True)
class Findings:
    """The reported values of one organ.

    Attributes:
        entry: the class.
        volume_ml: its volume.
        hu: `mean`, `sd`, `p50`, `min` and `max` of its voxels; None if it has none.
        expected_dice: `dice`, `low` and `high`; None if the weights are not calibrated.
        verdicts: pairs of a check of the self-check, such as `volume` or `edge`, and "ok", "look" or "wrong".
    """

    entry: LabelClass
    volume_ml: float
    hu: Optional[Mapping[str, float]] = None
    expected_dice: Optional[Mapping[str, float]] = None
    verdicts: Tuple[Tuple[str, str], ...] = ()


def write_dicom_sr(
    findings: Sequence[Findings],
    labels: Volume,
    path: PathLike,
    source: SegSource,
    recipe: Recipe,
    checksum: str = "",
    segmentation: Any = None,
) -> None:
    """Writes the measurements of a label map as one Comprehensive SR.

    Args:
        findings: of every class, in the recipe's order.
        labels: (z, y, x) label map on the grid of the scan.
        path: the file to write.
        source: from :func:`~lvnet.image_io.dicom_seg.open_seg_source`, for the path of the scan.
        recipe: of the network.
        checksum: of the weights, for the algorithm's description.
        segmentation: DICOM SEG of the same labels, from :func:`~lvnet.image_io.dicom_seg.write_dicom_seg`, if any.

    Raises:
        ImageError: the file cannot be written, or the series' headers contradict each other.
        ValueError: the labels are not on the grid of the series.
    """
    if labels.shape[0] != len(source.stack.layers):
        raise ValueError(f"labels of {labels.shape} voxels are not on the grid of the series")
    highdicom = load_highdicom(SR, INSTEAD_OF_SR)
    with carried_over(source, SR, INSTEAD_OF_SR):
        headers = source_headers(source.stack)
        groups = [
            _group(found, _images(labels.array == found.entry.value, source, headers), recipe, checksum, segmentation)
            for found in findings
        ]
        report = _report(groups, recipe, checksum)
        first = headers[0]
        document = highdicom.sr.ComprehensiveSR(
            evidence=[*headers, *([] if segmentation is None else [segmentation])],
            content=report[0],
            series_instance_uid=highdicom.UID(),
            # After the segmentation's series in a list sorted by number.
            series_number=2000 + max(0, int(first.get("SeriesNumber") or 0)),
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            is_final=False,
            is_verified=False,
        )
        document.SeriesDescription = f"{ALGORITHM}: measurements"
        document.ManufacturerModelName = ALGORITHM
        document.SoftwareVersions = __version__
        document.DeviceSerialNumber = checksum[:16] or "none"
    save_object(document, path)


def _report(groups: Sequence[Any], recipe: Recipe, checksum: str) -> Any:
    sr = load_highdicom().sr
    from pydicom.sr.codedict import codes

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=load_highdicom().UID.from_uuid(str(uuid.uuid5(_DEVICES, checksum or recipe.name))),
        name=ALGORITHM,
        manufacturer_name=MANUFACTURER,
        model_name=recipe.name[:64],
    )
    observer = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _group(found: Findings, images: List[Tuple], recipe: Recipe, checksum: str, segmentation: Any) -> Any:
    sr = load_highdicom().sr
    category, kind = category_and_kind(found.entry)
    known = algorithm(recipe, checksum)
    common: Dict[str, Any] = {
        "finding_category": category,
        "finding_type": kind,
        "finding_sites": [sr.FindingSite(kind)] if found.entry.code else None,
        "algorithm_id": sr.AlgorithmIdentification(
            name=known["name"],
            version=known["version"],
            parameters=[f"{name}={value}" for name, value in known["parameters"].items()],
        ),
        "measurements": _measurements(found),
        "qualitative_evaluations": [
            sr.QualitativeEvaluation(
                _private(f"CHECK_{what.upper()}", f"self-check of the {what}"),
                _private(verdict.upper(), _VERDICTS[verdict]),
            )
            for what, verdict in found.verdicts
        ],
    }
    if segmentation is None:
        tracking = sr.TrackingIdentifier(uid=load_highdicom().UID(), identifier=tracking_id(found.entry))
        sources = [sr.SourceImageForMeasurementGroup(*image) for image in images]
        return sr.MeasurementsAndQualitativeEvaluations(tracking, source_images=sources, **common)
    number = [entry.value for entry in recipe.classes].index(found.entry.value) + 1
    segment = segmentation.SegmentSequence[number - 1]
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(uid=segment.TrackingUID, identifier=segment.TrackingID),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_images=[sr.SourceImageForSegmentation(*image) for image in images],
        ),
        **common,
    )


def _measurements(found: Findings) -> List[Any]:
    sr = load_highdicom().sr
    from pydicom.sr.codedict import codes

    unit = sr.CodedConcept("mL", "UCUM", "milliliter")
    result = [sr.Measurement(name=codes.SCT.Volume, value=found.volume_ml, unit=unit)]
    derivations = {
        "mean": codes.SCT.Mean,
        "sd": codes.SCT.StandardDeviation,
        "p50": codes.SCT.Median,
        "min": codes.SCT.Minimum,
        "max": codes.SCT.Maximum,
    }
    for key, derivation in derivations.items():
        if found.hu is not None:
            hu = sr.Measurement(
                name=codes.DCM.AttenuationCoefficient,
                value=found.hu[key],
                unit=codes.UCUM.HounsfieldUnit,
                derivation=derivation,
            )
            result.append(hu)
    for key, (words, code) in _DICE.items():
        if found.expected_dice is not None:
            dice = sr.Measurement(name=_private(code, words), value=found.expected_dice[key], unit=codes.UCUM.NoUnits)
            result.append(dice)
    return result


def _private(code: str, meaning: str) -> Any:
    # A code has at most 16 characters.
    return load_highdicom().sr.CodedConcept(code.replace(" ", "_")[:16], PRIVATE_SCHEME, meaning[:64])


def _images(mask: np.ndarray, source: SegSource, headers: Sequence[Any]) -> List[Tuple]:
    """SOP class, SOP instance and, for a multi-frame file, the frames of the slices that show an organ.

    For an organ that is on no slice these are all slices, since all were searched.
    """
    stack = source.stack
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    layers = [stack.layers[z] for z in (used if used.size else range(len(stack.layers)))]
    places = {place for layer in layers for place in ((layer.first, layer.second) if layer.weight else (layer.first,))}
    frames: Dict[str, List[int]] = {}
    for place in sorted(places):
        frames.setdefault(stack.slices[place].header.path, []).append(stack.slices[place].frame + 1)
    by_path = dict(zip(dict.fromkeys(slice_.header.path for slice_ in stack.slices), headers))
    return [
        (
            by_path[path].SOPClassUID,
            by_path[path].SOPInstanceUID,
            sorted(numbers) if "NumberOfFrames" in by_path[path] else None,
        )
        for path, numbers in frames.items()
    ]
