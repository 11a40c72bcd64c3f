"""Evaluation of nodes: transforms, different grids, label maps, surfaces; tables and CSV files."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from lvnet.errors import ConfigurationError, GeometryError, ImageError
from lvnet.evaluation import evaluate as evaluate_volumes
from lvnet.recipe import LIVER, LabelClass
from lvnet.volume import Volume

SPLEEN = LabelClass(value=3, name="spleen", code="78961009", meaning="Spleen")
SHAPE = (24, 40, 44)


def ball(centre, radius, shape=SHAPE, spacing=(2.5, 1.5, 1.5)):
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(((g - c) * s) ** 2 for g, c, s in zip(grids, centre, spacing)) < radius**2


ONE, OTHER = ball((12, 20, 22), 20), ball((12, 21, 23), 19)
TURN = np.radians(20.0)
ROTATION = np.array([[np.cos(TURN), -np.sin(TURN), 0], [np.sin(TURN), np.cos(TURN), 0], [0, 0, 1]])
#: IJK to RAS of an oblique grid.
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = ROTATION * (1.5, 1.5, 2.5)
OBLIQUE[:3, 3] = (-20.0, 35.0, 5.0)


@pytest.fixture
def make(slicer_core, scene):
    """Creates volume, segmentation and label map nodes, and transforms."""
    from LVNetSegmentationLib import nodes

    class Make:
        def volume(self, matrix=OBLIQUE, shape=SHAPE):
            return slicer_core.util.addVolumeFromArray(np.zeros(shape, np.int16), ijkToRAS=matrix, name="ct")

        def segmentation(self, mask, volume=None, entry=LIVER, name=None):
            volume = volume or self.volume(shape=mask.shape)
            node = nodes.addSegmentationNode(volume)
            labels = mask.astype(np.uint8) * np.uint8(entry.value)
            nodes.writeSegments(nodes.piecesOf(labels, [entry]), volume, node)
            node.SetName(name or node.GetName())
            return node

        def labelmap(self, labels, matrix=OBLIQUE):
            return slicer_core.util.addVolumeFromArray(
                labels, ijkToRAS=matrix, name="labels", nodeClassName="vtkMRMLLabelMapVolumeNode"
            )

        def transform(self, matrix):
            node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
            slicer_core.util.updateTransformMatrixFromArray(node, matrix)
            return node

    return Make()


def move(*offset):
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def expected_of(one=ONE, other=OTHER, preset="lits"):
    spacing = (2.5, 1.5, 1.5)
    return evaluate_volumes(
        Volume(one.astype(np.uint8), spacing), Volume(other.astype(np.uint8), spacing), preset=preset
    )


def same(result, expected, **tolerance):
    for key in ("dice", "voe", "rvd", "assd_mm", "mssd_mm", "prediction_ml", "reference_ml"):
        assert result[key] == pytest.approx(expected[key], **tolerance), key


@pytest.mark.parametrize("preset", ["lits", "chaos", "medpy", "surfel"])
def test_two_segmentations_of_one_volume_have_the_metrics_of_their_masks(make, logic, preset):
    volume = make.volume()
    result, table = logic.evaluate(make.segmentation(ONE, volume), make.segmentation(OTHER, volume), preset=preset)
    same(result, expected_of(preset=preset))
    assert result["preset"] == preset
    assert (result["segment"], result["reference_segment"]) == ("liver", "liver")
    assert "notes" not in result
    assert table.GetName() == "ct segmentation metrics"


def test_a_label_map_serves_as_reference_and_as_prediction(make, logic):
    segmentation, labels = make.segmentation(ONE), make.labelmap(OTHER.astype(np.uint8) * 7)
    same(logic.evaluate(segmentation, labels)[0], expected_of())
    same(logic.evaluate(labels, segmentation)[0], expected_of(OTHER, ONE))


def test_under_one_transform_nothing_changes(make, logic):
    volume = make.volume()
    one, other = make.segmentation(ONE, volume), make.segmentation(OTHER, volume)
    moved = np.eye(4)
    moved[:3, :3] = ROTATION
    moved[:3, 3] = (50, -20, 7.5)
    transform = make.transform(moved)
    for node in (one, other):
        node.SetAndObserveTransformNodeID(transform.GetID())
    result = logic.evaluate(one, other)[0]
    same(result, expected_of())
    assert "notes" not in result


def test_a_reference_that_lies_elsewhere_by_its_transform_does_not_overlap(make, logic):
    one, other = make.segmentation(ONE), make.segmentation(ONE)
    other.SetAndObserveTransformNodeID(make.transform(move(500.0, 0, 0)).GetID())
    result = logic.evaluate(one, other)[0]
    assert result["dice"] == 0
    assert result["mssd_mm"] > 400
    # Voxels outside the segmentation's grid count in full.
    assert result["reference_ml"] == pytest.approx(result["prediction_ml"], rel=0.02)


def test_a_move_by_whole_voxels_is_exact(make, logic):
    one, other = make.segmentation(ONE), make.segmentation(ONE)
    step = OBLIQUE[:3, 0] * 2
    other.SetAndObserveTransformNodeID(make.transform(move(*step)).GetID())
    same(logic.evaluate(one, other)[0], expected_of(ONE, np.roll(ONE, 2, axis=2)))


def test_a_transform_that_brings_the_reference_back_is_honoured(make, logic):
    """The reference was drawn on a displaced copy of the volume; its transform moves it back."""
    away = move(50.0, -20.0, 7.0) @ OBLIQUE
    one, other = make.segmentation(ONE), make.segmentation(OTHER, make.volume(away))
    assert logic.evaluate(one, other)[0]["dice"] < 0.5
    other.SetAndObserveTransformNodeID(make.transform(move(-50.0, 20.0, -7.0)).GetID())
    same(logic.evaluate(one, other)[0], expected_of())


def test_axes_that_are_permuted_and_flipped_are_matched_without_resampling(make, logic):
    turned = np.ascontiguousarray(OTHER.transpose(1, 2, 0)[:, ::-1])
    matrix = np.eye(4)
    # Array axes (y, x flipped, z): index axes (x', y', z') = (z, -x, y).
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = OBLIQUE[:3, 2], -OBLIQUE[:3, 0], OBLIQUE[:3, 1]
    matrix[:3, 3] = OBLIQUE[:3, 3] + OBLIQUE[:3, 0] * (SHAPE[2] - 1)
    result = logic.evaluate(make.segmentation(ONE), make.labelmap(turned.astype(np.uint8), matrix))[0]
    same(result, expected_of())


def test_other_grids_are_resampled_and_that_is_said_or_refused(make, logic):
    fine = OBLIQUE.copy()
    fine[:3, :3] /= 2
    # The corner of the first voxel stays in place.
    fine[:3, 3] += OBLIQUE[:3, :3] @ [-0.25, -0.25, -0.25]
    doubled = OTHER.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    reference = make.labelmap(doubled.astype(np.uint8), fine)
    result = logic.evaluate(make.segmentation(ONE), reference)[0]
    same(result, expected_of(), rel=0.03)
    assert "resampled" in " ".join(result["notes"])
    with pytest.raises(GeometryError, match="different grids"):
        logic.evaluate(make.segmentation(ONE), reference, resample=False)


def test_a_reference_that_sticks_out_of_the_grid_counts_in_full(make, logic):
    """The volume was cropped after the reference was drawn."""
    crop = (slice(8, 16), slice(10, 30), slice(12, 32))
    matrix = OBLIQUE @ move(12, 10, 8)
    one = make.segmentation(ONE[crop], make.volume(matrix, ONE[crop].shape))
    result = logic.evaluate(one, make.segmentation(OTHER))[0]
    inside = np.zeros(SHAPE, bool)
    inside[crop] = ONE[crop]
    same(result, expected_of(inside, OTHER))


def test_scaling_counts_in_millimetres_of_the_world(make, logic):
    volume = make.volume()
    one, other = make.segmentation(ONE, volume), make.segmentation(OTHER, volume)
    transform = make.transform(np.diag([2.0, 2.0, 2.0, 1.0]))
    for node in (one, other):
        node.SetAndObserveTransformNodeID(transform.GetID())
    result, expected = logic.evaluate(one, other)[0], expected_of()
    assert result["dice"] == pytest.approx(expected["dice"])
    assert result["assd_mm"] == pytest.approx(2 * expected["assd_mm"])
    assert result["prediction_ml"] == pytest.approx(8 * expected["prediction_ml"])


def test_transforms_that_shear_or_bend_are_resampled_and_that_is_said(make, logic, scene):
    import vtk

    volume = make.volume()
    one, other = make.segmentation(ONE, volume), make.segmentation(OTHER, volume)
    shear = np.eye(4)
    shear[0, 1] = 0.3
    bend = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    points = [[0, 0, 0], [100, 0, 0], [0, 100, 0], [0, 0, 100], [-100, -50, 20]]
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for number, point in enumerate(points):
        source.InsertNextPoint(point)
        target.InsertNextPoint(point[0] + 2 * number, point[1], point[2] - number)
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    bend.SetAndObserveTransformToParent(spline)
    for transform in (make.transform(shear), bend):
        for node in (one, other):
            node.SetAndObserveTransformNodeID(transform.GetID())
        result = logic.evaluate(one, other)[0]
        assert result["dice"] == pytest.approx(expected_of()["dice"], abs=0.02)
        assert result["prediction_ml"] == pytest.approx(expected_of()["prediction_ml"], rel=0.06)
        assert "bends or shears" in " ".join(result["notes"])
        with pytest.raises(GeometryError, match="harden"):
            logic.evaluate(one, other, resample=False)


def test_a_reference_made_of_surfaces_is_turned_into_voxels_in_a_copy(make, logic):
    volume = make.volume()
    one, other = make.segmentation(ONE, volume), make.segmentation(OTHER, volume)
    other.CreateClosedSurfaceRepresentation()
    other.GetSegmentation().SetSourceRepresentationName("Closed surface")
    other.RemoveBinaryLabelmapRepresentation()
    result = logic.evaluate(one, other)[0]
    assert result["dice"] == pytest.approx(expected_of()["dice"], abs=0.03)
    assert not other.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_the_scene_is_not_changed_but_for_the_table(make, logic, scene):
    volume = make.volume()
    one, other = make.segmentation(ONE, volume), make.segmentation(OTHER, volume)
    nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    times = [node.GetMTime() for node in nodes]
    table = logic.evaluate(one, other)[1]
    assert [node.GetMTime() for node in nodes] == times
    assert scene.GetNumberOfNodes() == len(nodes) + 1
    assert logic.evaluate(one, other, tableNode=table)[1] is table
    assert scene.GetNumberOfNodes() == len(nodes) + 1


# Choice of the segment.


def two_segments(make):
    from LVNetSegmentationLib import nodes

    volume = make.volume()
    node = make.segmentation(ONE, volume)
    labels = ONE.astype(np.uint8) * 1 + (~ONE & ball((4, 6, 6), 9)).astype(np.uint8) * 3
    nodes.writeSegments(nodes.piecesOf(labels, [LIVER, SPLEEN]), volume, node)
    return node


def test_segments_are_named_by_name_or_identifier(make, logic):
    node, reference = two_segments(make), make.segmentation(OTHER)
    identifier = node.GetSegmentation().GetSegmentIdBySegmentName("liver")
    for which in ("liver", identifier):
        same(logic.evaluate(node, reference, segment=which)[0], expected_of())
    same(logic.evaluate(reference, node)[0], expected_of(OTHER, ONE))
    with pytest.raises(ImageError, match="it has liver, spleen"):
        logic.evaluate(node, reference, segment="kidney")
    with pytest.raises(ImageError, match="say which one"):
        logic.evaluate(node, reference)


def test_segments_that_share_one_labelmap_are_told_apart(make, logic, slicer_core):
    node = two_segments(make)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    same(logic.evaluate(node, make.segmentation(OTHER), segment="liver")[0], expected_of())


def test_labels_of_a_label_map_are_numbers(make, logic):
    labels = OTHER.astype(np.uint8) * 2 + (~OTHER & ball((4, 6, 6), 9)).astype(np.uint8)
    reference, one = make.labelmap(labels), make.segmentation(ONE)
    with pytest.raises(ImageError, match="labels 1, 2"):
        logic.evaluate(one, reference)
    same(logic.evaluate(one, reference, referenceSegment=2)[0], expected_of())
    same(logic.evaluate(one, reference, referenceSegment="2")[0], expected_of())
    for which, words in ((5, "no label 5"), ("liver", "whole number")):
        with pytest.raises(ImageError, match=words):
            logic.evaluate(one, reference, referenceSegment=which)


TUMOUR = LabelClass(value=2, name="liver tumour")


def with_tumour(make):
    """A segmentation whose liver has a hole, which is filled by a segment for the tumour."""
    from LVNetSegmentationLib import nodes

    volume = make.volume()
    node = make.segmentation(OTHER, volume)
    labels = OTHER.astype(np.uint8) + (ball((12, 21, 23), 6)).astype(np.uint8)
    nodes.writeSegments(nodes.piecesOf(labels, [LIVER, TUMOUR]), volume, node)
    return node


def test_tumours_in_the_liver_count_as_liver_unless_somebody_asks_for_one_of_both(make, logic):
    one, reference = make.segmentation(ONE), with_tumour(make)
    result = logic.evaluate(one, reference)[0]
    same(result, expected_of())
    assert result["reference_segment"] == "liver + liver tumour"
    assert "tumours in the liver count as liver" in result["notes"]
    same(logic.evaluate(one, reference, referenceSegment="liver+liver tumour")[0], expected_of())
    assert logic.evaluate(one, reference, referenceSegment="liver")[0]["dice"] < expected_of()["dice"] - 0.01
    with pytest.raises(ImageError, match="no segment 'vessel'"):
        logic.evaluate(one, reference, referenceSegment="liver+vessel")


def test_labels_of_a_label_map_are_put_together(make, logic):
    labels = OTHER.astype(np.uint8) + (ball((12, 21, 23), 6)).astype(np.uint8)
    reference, one = make.labelmap(labels), make.segmentation(ONE)
    result = logic.evaluate(one, reference, referenceSegment="1+2")[0]
    same(result, expected_of())
    assert result["reference_segment"] == "labels (labels 1 + 2)"


def test_what_cannot_be_compared_is_reported(make, logic, scene, slicer_core):
    one = make.segmentation(ONE)
    with pytest.raises(ImageError, match="nothing was chosen"):
        logic.evaluate(one, None)
    with pytest.raises(ImageError, match="has no segments"):
        logic.evaluate(one, scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty"))
    with pytest.raises(ImageError, match="neither a segmentation nor a label map"):
        logic.evaluate(one, scene.AddNewNodeByClass("vtkMRMLModelNode", "model"))
    with pytest.raises(ImageError, match="image, not a label map"):
        logic.evaluate(one, slicer_core.util.addVolumeFromArray(np.arange(1000, dtype=np.int16).reshape(10, 10, 10)))
    with pytest.raises(ConfigurationError, match="preset"):
        logic.evaluate(one, one, preset="mine")
    far = make.segmentation(ONE)
    far.SetAndObserveTransformNodeID(make.transform(move(1e6, 0, 1e5)).GetID())
    with pytest.raises(ImageError, match="too far apart"):
        logic.evaluate(one, far)


# Tables.


def rows_of(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_a_comparison_and_goes_to_csv(make, logic, tmp_path):
    volume = make.volume()
    one, other = make.segmentation(ONE, volume, name="Leber, größer"), make.segmentation(OTHER, volume)
    _, table = logic.evaluate(one, other)
    logic.evaluate(one, other, preset="surfel", tableNode=table)
    logic.evaluate(one, other, tableNode=table)
    logic.exportTableToCsv(table, str(tmp_path / "Ergebnis ä.csv"))
    rows = rows_of(tmp_path / "Ergebnis ä.csv")
    assert [row["Preset"] for row in rows] == ["surfel", "lits"]
    assert rows[1]["Segmentation"] == "Leber, größer"
    assert float(rows[1]["DICE"]) == pytest.approx(expected_of()["dice"])
    assert float(rows[1]["ASSD [mm]"]) == pytest.approx(expected_of()["assd_mm"])
    assert table.GetTable().GetColumnByName("DICE").IsA("vtkDoubleArray")
    with pytest.raises(ImageError, match="cannot be written"):
        logic.exportTableToCsv(table, str(tmp_path / "absent" / "a.csv"))


def test_undefined_values_are_empty_cells_with_their_reason(make, logic, tmp_path):
    volume = make.volume()
    one, nothing = make.segmentation(ONE, volume), make.segmentation(np.zeros(SHAPE, bool), volume)
    result, table = logic.evaluate(one, nothing)
    assert result["rvd"] is None and result["dice"] == 0
    logic.exportTableToCsv(table, str(tmp_path / "a.csv"))
    (row,) = rows_of(tmp_path / "a.csv")
    assert row["RVD"] == "" and row["ASSD [mm]"] == "" and "rvd: " in row["Notes"]
    assert float(row["DICE"]) == 0
    # A defined row after it: programs still read the column as numbers.
    logic.evaluate(one, make.segmentation(OTHER, volume, SPLEEN), tableNode=table)
    logic.exportTableToCsv(table, str(tmp_path / "a.csv"))
    assert float(rows_of(tmp_path / "a.csv")[1]["RVD"]) == pytest.approx(expected_of()["rvd"])


def test_two_empty_masks_agree(make, logic):
    volume = make.volume()
    empty = [make.segmentation(np.zeros(SHAPE, bool), volume) for _ in range(2)]
    result, _ = logic.evaluate(*empty)
    assert result["dice"] == 1


def test_the_values_of_a_label_map_are_those_that_occur_however_many_there_are(slicer_core):
    from LVNetSegmentationLib.masks import labelValues

    many = np.random.default_rng(1).integers(-3, 300, (3, 400, 400)).astype(np.int16)
    assert labelValues(many) == sorted(np.unique(many).tolist())
    assert labelValues(many, most=256) is None
    assert labelValues(np.array([[5, 5], [0, 7]], np.uint8), most=3) == [0, 5, 7]
    assert labelValues(np.zeros((0, 2), np.uint8)) == []
