"""Each preset of the metrics gives the values of the tool that it is named after."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from lvnet.metrics import compare
from scipy import ndimage


def blobs(rng, shape, sigma, level):
    first, second = (ndimage.gaussian_filter(noise, sigma) for noise in rng.normal(size=(2, *shape)))
    return first > level, first + 0.4 * second > level


def pairs():
    """Name, prediction, reference and spacing."""
    rng = np.random.default_rng(7)
    for name, shape, sigma, level, spacing in (
        ("blobs", (20, 30, 40), 3.0, 0.02, (1.0, 1.0, 1.0)),
        ("anisotropic blobs", (12, 40, 44), 2.5, 0.01, (5.0, 0.7, 0.8)),
        ("blobs at every border", (14, 15, 16), 2.0, -0.02, (1.5, 0.8, 0.8)),
        ("speckles", (10, 11, 12), 0.5, 0.5, (0.4, 2.0, 1.1)),
    ):
        yield (name, *blobs(rng, shape, sigma, level), spacing)
    one, other = np.zeros((2, 12, 13, 70), bool)
    one[3, 4, 5] = True
    other[8, 2, 60] = True
    yield "one voxel each", one, other, (3.0, 0.9, 0.7)
    near, far = np.zeros((2, 30, 40, 90), bool)
    near[3:9, 5:12, 4:14] = True
    far[4:9, 5:11, 4:13] = True
    far[20:26, 30:36, 70:84] = True
    yield "two far components", near, far, (2.0, 0.8, 0.9)
    yield "a component missed", far, near, (2.0, 0.8, 0.9)


PAIRS = pytest.mark.parametrize(
    ("prediction", "reference", "spacing"), [pytest.param(*rest, id=name) for name, *rest in pairs()]
)


@PAIRS
def test_medpy_agrees_with_the_medpy_preset(prediction, reference, spacing):
    medpy = pytest.importorskip("medpy.metric.binary")
    result = compare(prediction, reference, spacing, preset="medpy", hd95=True)
    assert result.dice == pytest.approx(medpy.dc(prediction, reference), abs=1e-12)
    assert result.voe == pytest.approx(1 - medpy.jc(prediction, reference), abs=1e-12)
    assert result.rvd == pytest.approx(medpy.ravd(prediction, reference), abs=1e-12)
    assert result.assd_mm == pytest.approx(medpy.assd(prediction, reference, spacing), abs=1e-6)
    assert result.mssd_mm == pytest.approx(medpy.hd(prediction, reference, spacing), abs=1e-6)
    assert result.hd95_mm == pytest.approx(medpy.hd95(prediction, reference, spacing), abs=1e-6)


@PAIRS
def test_medpy_with_18_neighbours_agrees_with_the_lits_preset(prediction, reference, spacing):
    medpy = pytest.importorskip("medpy.metric.binary")
    result = compare(prediction, reference, spacing, preset="lits")
    assert result.assd_mm == pytest.approx(medpy.assd(prediction, reference, spacing, connectivity=2), abs=1e-6)
    assert result.mssd_mm == pytest.approx(medpy.hd(prediction, reference, spacing, connectivity=2), abs=1e-6)


@pytest.fixture
def surface_distance(monkeypatch):
    """The package, patched because it uses names that newer versions of NumPy and SciPy have removed."""
    package = pytest.importorskip("surface_distance")
    if not hasattr(np, "Inf"):
        monkeypatch.setattr(np, "Inf", np.inf, raising=False)
    for name in ("filters", "morphology"):
        monkeypatch.setattr(ndimage, name, ndimage, raising=False)
    return package


@PAIRS
def test_surface_distance_agrees_with_the_surfel_preset(surface_distance, prediction, reference, spacing):
    found = surface_distance.compute_surface_distances(reference, prediction, spacing)
    areas = found["surfel_areas_gt"], found["surfel_areas_pred"]
    sums = [(found[f"distances_{way}"] * a).sum() for way, a in zip(("gt_to_pred", "pred_to_gt"), areas)]
    # An unusual tolerance, so that rounding never decides about a distance.
    result = compare(prediction, reference, spacing, preset="surfel", hd95=True, surface_dice_tolerance_mm=1.2345)
    assert result.assd_mm == pytest.approx(sum(sums) / sum(a.sum() for a in areas), abs=1e-3)
    assert result.mssd_mm == pytest.approx(surface_distance.compute_robust_hausdorff(found, 100), abs=1e-3)
    assert result.hd95_mm == pytest.approx(surface_distance.compute_robust_hausdorff(found, 95), abs=1e-3)
    assert result.surface_dice == pytest.approx(
        surface_distance.compute_surface_dice_at_tolerance(found, 1.2345), abs=1e-9
    )
    assert result.dice == pytest.approx(surface_distance.compute_dice_coefficient(reference, prediction), abs=1e-12)


def test_surface_distance_tabulates_the_same_area_for_every_pattern():
    tables = pytest.importorskip("surface_distance.lookup_tables")
    from lvnet.metrics.surfels import CORNERS, areas_by_code

    kernel = np.asarray(tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL)
    codes = np.arange(256)
    theirs = sum((codes >> bit & 1) * kernel[corner] for bit, corner in enumerate(CORNERS))
    for spacing in ((1.0, 1.0, 1.0), (5.0, 0.7, 0.8), (0.3, 2.1, 1.3)):
        expected = np.asarray(tables.create_table_neighbour_code_to_surface_area(spacing))[theirs]
        np.testing.assert_allclose(areas_by_code(spacing), expected, atol=1e-12)


@PAIRS
def test_monai_agrees_with_the_medpy_preset(prediction, reference, spacing):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monai = pytest.importorskip("monai.metrics")
    import torch

    one, other = (torch.from_numpy(np.ascontiguousarray(m))[None, None] for m in (prediction, reference))
    result = compare(prediction, reference, spacing, preset="medpy")
    options = {"include_background": True, "spacing": spacing}
    assd = monai.compute_average_surface_distance(one, other, symmetric=True, **options)
    mssd = monai.compute_hausdorff_distance(one, other, **options)
    # MONAI returns float32.
    assert result.assd_mm == pytest.approx(float(assd), rel=1e-6, abs=1e-6)
    assert result.mssd_mm == pytest.approx(float(mssd), rel=1e-6, abs=1e-6)
