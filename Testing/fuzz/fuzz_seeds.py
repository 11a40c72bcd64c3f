"""Small valid inputs that the fuzzers mutate, by target and kind."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Dict, List

import numpy as np
import yaml

ROOT = Path(__file__).parents[2]
SHAPE = (4, 8, 10)
#: Kinds of scans, with the file names under which they are read.
SCANS = {
    "nii": "scan.nii", "nii.gz": "scan.nii.gz", "nii in gz": "scan.nii.gz", "nrrd": "scan.nrrd",
    "nrrd.gz": "scan.nrrd", "labels": "scan.nrrd", "layers": "scan.seg.nrrd", "mha": "scan.mha", "mha.z": "scan.mha",
    "mhd": "scan.mhd", "dicom": "1.dcm", "dicom implicit": "1.dcm", "dicom deflated": "1.dcm", "dicom rle": "1.dcm",
    "dicom jpeg": "1.dcm", "dicom jpegls": "1.dcm", "dicom jpeg2000": "1.dcm", "dicom enhanced": "1.dcm",
}  # fmt: skip
#: Kinds of slices that are also read as a single file: of a series, the largest valid part is used, so that a slice
#: with a damaged size would never be decoded.
ALONE = ("", " implicit", " rle", " jpeg", " jpegls", " jpeg2000")
SCANS.update({f"alone{kind}": "1.dcm" for kind in ALONE})
#: The recipe of the smallest network that has every part, as stored in a checkpoint.
RECIPE = {
    "architecture": {"in_channels": 1, "classes": 2, "widths": [2, 3], "expansion": 1, "kernel_size": 3},
    "preprocessing": {
        "window": [-160.0, 240.0], "mean": 10.0, "std": 80.0, "in_plane_spacing": [4.0, 4.0],
        "in_plane_size": [256, 256], "slice_spacing": 4.0, "slab_depth": 4,
    },
    "classes": [
        {"value": 1, "name": "liver", "code": "10200004", "meaning": "Liver", "category_code": "123037004",
         "category_meaning": "Anatomical Structure", "colour": [221, 130, 101]},
    ],
    "name": "tiny",
    "provenance": {"date": "2026-01-01", "epochs": 3},
}  # fmt: skip


def voxels() -> np.ndarray:
    """(z, y, x) int16 with every kind of tissue."""
    return np.random.default_rng(1).integers(-1000, 1500, SHAPE).astype(np.int16)


def scans() -> Dict[str, bytes]:
    """A valid file of every kind in `SCANS`, by kind."""
    from lvnet.image_io import write_image
    from lvnet.volume import Volume

    volume = Volume(voxels(), (2.5, 0.8, 0.7), (-100.0, -50.0, 20.0))
    found: Dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, name in (("nii", "a.nii"), ("nii.gz", "a.nii.gz"), ("nrrd.gz", "a.nrrd"), ("mha.z", "a.mha")):
            write_image(volume, Path(folder) / name)
            found[kind] = (Path(folder) / name).read_bytes()
        found.update(_through_itk(Path(folder)))
    found["nii in gz"] = found["nii"]
    found["labels"] = found["nrrd"]
    series = dicom_series()
    found.update({f"dicom{kind}": slices[1] for kind, slices in series.items()})
    found.update({f"alone{kind}": series[kind][1] for kind in ALONE})
    assert found.keys() == SCANS.keys()
    return found


def _through_itk(folder: Path) -> Dict[str, bytes]:
    """Files that our writers do not make: uncompressed ones, a detached header, layers of segments."""
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(voxels())
    image.SetSpacing((0.7, 0.8, 2.5))
    for name in ("b.nrrd", "b.mha", "b.mhd"):
        sitk.WriteImage(image, str(folder / name))
    layers = sitk.Compose(*(sitk.GetImageFromArray((voxels() > limit).astype(np.uint8)) for limit in (0, 500)))
    for index in range(2):
        layers.SetMetaData(f"Segment{index}_LabelValue", str(index + 1))
        layers.SetMetaData(f"Segment{index}_Name", f"part {index}")
        layers.SetMetaData(f"Segment{index}_Layer", str(index))
    sitk.WriteImage(layers, str(folder / "c.nrrd"))
    header = (folder / "b.mhd").read_bytes().replace(b"b.raw", b"scan.raw")
    return {"nrrd": (folder / "b.nrrd").read_bytes(), "mha": (folder / "b.mha").read_bytes(), "mhd": header,
            "layers": (folder / "c.nrrd").read_bytes()}  # fmt: skip


def dicom_series() -> Dict[str, List[bytes]]:
    """The slices of one series by storage format; keys as in `SCANS` without "dicom"."""
    from pydicom.uid import (
        DeflatedExplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEGLSLossless,
        RLELossless,
    )

    plain = [_dicom_slice(index, ExplicitVRLittleEndian) for index in range(SHAPE[0])]
    found = {"": plain}
    found[" implicit"] = [_dicom_slice(index, ImplicitVRLittleEndian) for index in range(SHAPE[0])]
    found[" deflated"] = [_dicom_slice(index, DeflatedExplicitVRLittleEndian) for index in range(SHAPE[0])]
    found[" rle"] = [_dicom_slice(index, RLELossless) for index in range(SHAPE[0])]
    found[" jpegls"] = [_dicom_slice(index, JPEGLSLossless) for index in range(SHAPE[0])]
    for name in ("JPEG", "JPEG2000"):
        found[f" {name.lower()}"] = [_compressed_slice(index, name) for index in range(SHAPE[0])]
    found[" enhanced"] = [_enhanced()] * 2
    return found


def _dicom_slice(index: int, syntax: str) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

    packed = syntax in (RLELossless, JPEGLSLossless)
    values = voxels()[index] + 1024
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.{index + 1}"
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if packed else syntax
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", "1.2.3.9"
    data.PatientName, data.PatientID, data.Modality = "Doe^Jane", "4711", "CT"
    data.ImageType, data.SeriesNumber, data.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 3, index + 1
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 2.5 * index], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [0.8, 0.7], 2.5
    data.Rows, data.Columns, data.SamplesPerPixel = *values.shape, 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.PixelData = values.astype("<i2").tobytes()
    data["PixelData"].VR = "OW"
    if packed:
        data.compress(syntax, generate_instance_uid=False)
    return _saved(data)


def _enhanced() -> bytes:
    import pydicom
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence
    from pydicom.uid import EnhancedCTImageStorage

    data = pydicom.dcmread(io.BytesIO(_dicom_slice(0, "1.2.840.10008.1.2.1")))
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = EnhancedCTImageStorage
    data.NumberOfFrames = SHAPE[0]
    data.PixelData = (voxels() + 1024).astype("<i2").tobytes()

    def group(name: str, **fields: object) -> Dataset:
        inner, outer = Dataset(), Dataset()
        for key, value in fields.items():
            setattr(inner, key, value)
        setattr(outer, name, Sequence([inner]))
        return outer

    shared = group("PixelMeasuresSequence", PixelSpacing=[0.8, 0.7], SliceThickness=2.5)
    shared.update(group("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0]))
    shared.update(group("PixelValueTransformationSequence", RescaleSlope=1, RescaleIntercept=-1024))
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence(
        [group("PlanePositionSequence", ImagePositionPatient=[0, 0, 2.5 * index]) for index in range(SHAPE[0])]
    )
    return _saved(data)


def _saved(data: object) -> bytes:
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)  # type: ignore[attr-defined]
    return file.getvalue()


def _compressed_slice(index: int, compressor: str) -> bytes:
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(voxels()[index : index + 1])
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((0.0, 0.0, 2.5 * index))
    image.SetMetaData("0008|0060", "CT")
    image.SetMetaData("0020|000e", "1.2.3.9")
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.KeepOriginalImageUIDOn()
    with tempfile.TemporaryDirectory() as folder:
        writer.SetFileName(f"{folder}/a.dcm")
        writer.Execute(image)
        return Path(f"{folder}/a.dcm").read_bytes()


def checkpoint() -> bytes:
    """A .safetensors file of the network of `RECIPE`."""
    import torch
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet
    from lvnet.recipe import Recipe

    recipe = Recipe.from_dict(RECIPE)
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "w.safetensors", LVNet(recipe.architecture).state_dict(), recipe)
        return (Path(folder) / "w.safetensors").read_bytes()


def config() -> Dict[str, object]:
    """The settings of a small run, with every type of setting."""
    settings = yaml.safe_load((ROOT / "training" / "configs" / "tiny.yaml").read_text(encoding="utf-8"))
    settings.update(
        samples_per_epoch=4, phantoms=0, trust={"case": 0.5}, labels={1: "liver"}, split="2/1/1", eta=[],
        architecture={"widths": [2, 3], "expansion": 1, "kernel_size": 3},
        augmentation={"rotation": 5.0, "scale": [0.9, 1.1]},
        classes=[{"value": 1, "name": "liver", "colour": [1, 2, 3]}],
        stages=[{"epochs": 2, "spacing": [8.0, 8.0, 8.0], "patch": [4, 8, 8], "batch": 2, "learning_rate": 0.001}],
    )  # fmt: skip
    settings["preprocessing"]["slab_depth"] = 4
    return settings


def run_file() -> bytes:
    """A .pt file of a run of `config`."""
    import torch
    from lvnet_training.state import Run

    with tempfile.TemporaryDirectory() as folder:
        run = Run.start(load(Path(folder), config()), torch.device("cpu"))
        loss = sum(p.square().sum() for p in run.network.parameters())
        loss.backward()
        run.optimiser.step()
        run.epoch = 1
        run.save(Path(folder) / "last.pt")
        return (Path(folder) / "last.pt").read_bytes()


def load(folder: Path, settings: Dict[str, object]) -> object:
    """The configuration with these settings."""
    from lvnet_training.config import load_config

    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load_config(path)


def requests(folder: str) -> List[Dict[str, object]]:
    """Requests to the worker; the scan is in `folder`."""
    return [
        {"do": "segment", "id": 1, "folder": folder, "spacing": [2.5, 0.8, 0.7], "origin": [0.0, 0.0, 0.0],
         "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1], "device": "cpu", "weights": f"{folder}/w.safetensors",
         "overlap": 0.5, "postprocess": True, "threads": 1},
        {"do": "folder", "id": 2, "input": f"{folder}/in", "output": f"{folder}/out", "suffix": ".nii.gz",
         "device": "cpu", "weights": f"{folder}/w.safetensors", "overlap": None, "postprocess": True, "threads": None},
        {"do": "devices", "id": 3},
        {"do": "torch", "id": 4},
        {"do": "cancel", "id": 9},
    ]  # fmt: skip


def as_json(value: object) -> bytes:
    """JSON, with NaN and infinity as accepted by Python's own reader."""
    return json.dumps(value).encode("utf-8", "surrogatepass")
