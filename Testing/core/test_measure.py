"""Volume and mean HU of a segmentation in its scan."""

from __future__ import annotations

import json

import numpy as np
import pytest
from lvnet.cli import main
from lvnet.image_io import write_image, write_labels
from lvnet.recipe import LIVER, LabelClass
from lvnet.volume import Volume

SPACING = (2.5, 0.8, 1.1)


@pytest.fixture
def pair(tmp_path):
    """A scan with known HU, and a liver with a tumour."""
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 20, 18), np.uint8)
    labels[1:7, 3:16, 3:15] = 1
    labels[3:5, 6:9, 6:9] = 2
    hu = np.where(labels == 1, 110, np.where(labels == 2, 60, -100)) + rng.integers(-9, 10, labels.shape)
    scan = Volume(hu.astype(np.int16), SPACING, (1.0, 2.0, 3.0))
    write_image(scan, tmp_path / "ct.nii.gz")
    write_labels(scan.with_array(labels), tmp_path / "a.seg.nrrd", [LIVER, LabelClass(2, "liver tumour")])
    write_labels(scan.with_array(labels), tmp_path / "a.nii.gz", [LIVER, LabelClass(2, "liver tumour")])
    return tmp_path, hu, labels


@pytest.mark.parametrize(("name", "options"), [("a.seg.nrrd", ()), ("a.nii.gz", ("--reference-set", "lits"))])
def test_volume_and_hu_are_those_of_the_voxels(pair, capsys, name, options):
    folder, hu, labels = pair
    assert main(["measure", str(folder / "ct.nii.gz"), str(folder / name), "--json", "-", *options]) == 0
    found = json.loads(capsys.readouterr().out)["labels"]
    assert list(found) == ["liver", "liver tumour", "liver with its tumours"]
    for entry, mask in zip(found.values(), (labels == 1, labels == 2, labels > 0)):
        assert entry["voxels"] == mask.sum()
        assert entry["volume_ml"] == pytest.approx(mask.sum() * np.prod(SPACING) / 1000, abs=1e-3)
        values = hu[mask]
        wanted = {"mean": values.mean(), "sd": values.std(), "min": values.min(), "p50": np.median(values)}
        assert {key: entry["hu"][key] for key in wanted} == pytest.approx(wanted, abs=1e-3)


def test_a_table_is_printed_and_json_written(pair, capsys):
    folder, _, labels = pair
    target = folder / "m.json"
    assert main(["measure", str(folder / "ct.nii.gz"), str(folder / "a.nii.gz"), "--json", str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1, "columns line up"
    assert [line.split()[:2] for line in lines[1:]] == [["label", "1"], ["label", "2"]]
    assert json.loads(target.read_text(encoding="utf-8"))["labels"]["label 2"]["voxels"] == (labels == 2).sum()


def test_another_grid_or_an_output_over_the_input_is_one_line(pair, capsys):
    folder, _, labels = pair
    other = Volume(labels, (2.5, 0.8, 1.3), (1.0, 2.0, 3.0))
    write_labels(other, folder / "other.nii.gz", [LIVER, LabelClass(2, "liver tumour")])
    for labels_name, target in (("other.nii.gz", "-"), ("a.nii.gz", str(folder / "ct.nii.gz"))):
        assert main(["measure", str(folder / "ct.nii.gz"), str(folder / labels_name), "--json", target]) == 2
        assert capsys.readouterr().err.count("\n") == 1
