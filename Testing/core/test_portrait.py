"""The picture of a result: true to scale, in the right orientation, and drawn over the right scan."""

import struct
import zlib

import numpy as np
import pytest
from lvnet.cli import main
from lvnet.errors import ConfigurationError
from lvnet.image_io import write_image, write_labels
from lvnet.recipe import Recipe
from lvnet.report.palette import PREDICTION, REFERENCE, rgb
from lvnet.report.portrait import portrait
from lvnet.volume import Volume

SIDE = 120
ORANGE = rgb(PREDICTION)


def scan(shape=(40, 60, 80), spacing=(3.0, 2.0, 1.0), value=0):
    return Volume(np.full(shape, value, np.int16), spacing, (0.0, 0.0, 0.0))


def marked(like, *box):
    array = np.zeros(like.shape, np.uint8)
    array[tuple(slice(*side) for side in box)] = 1
    return like.with_array(array)


def views(picture):
    count = (picture.shape[1] + 4) // (SIDE + 4)
    return [picture[:, n * (SIDE + 4) : n * (SIDE + 4) + SIDE] for n in range(count)]


def outlined(view):
    """First and last row and column of the outline."""
    rows, columns = np.nonzero((view == ORANGE).all(axis=2))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_each_plane_shows_the_segmentation_where_it_is_the_right_way_round():
    ct = scan(spacing=(2.0, 2.0, 2.0), shape=(60, 60, 60))
    # Near the feet, anterior, on the patient's right: low indices of LPS.
    labels = marked(ct, (5, 15), (5, 15), (5, 15))
    axial, coronal, sagittal = views(portrait(ct, labels, body=False, side=SIDE))
    _, bottom, _, right = outlined(axial)
    assert bottom < SIDE / 2
    assert right < SIDE / 2
    top, _, _, right = outlined(coronal)
    assert top > SIDE / 2
    assert right < SIDE / 2
    top, _, _, right = outlined(sagittal)
    assert top > SIDE / 2
    assert right < SIDE / 2


def test_millimetres_are_the_same_in_all_directions():
    ct = scan()
    labels = marked(ct, (10, 20), (20, 35), (20, 50))  # 30 mm in each direction
    for view in views(portrait(ct, labels, body=False, side=SIDE)):
        top, bottom, left, right = outlined(view)
        assert abs((bottom - top) - 30) <= 2
        assert abs((right - left) - 30) <= 2


def test_orientation_of_the_file_does_not_change_the_picture():
    random = np.random.default_rng(1)
    ct = Volume(random.normal(0, 100, (20, 30, 40)).astype(np.int16), (4.0, 3.0, 2.0), (0.0, 0.0, 0.0))
    labels = marked(ct, (5, 12), (8, 20), (10, 25))
    direction = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)

    def turned(volume):
        array = np.ascontiguousarray(volume.array[:, ::-1, ::-1])
        return Volume(array, volume.spacing, (78.0, 87.0, 0.0), direction)

    assert (portrait(ct, labels, side=SIDE) == portrait(turned(ct), turned(labels), side=SIDE)).all()


def test_the_window_is_that_of_soft_tissue():
    ct = scan(shape=(60, 60, 60), spacing=(2.0, 2.0, 2.0), value=-1000)
    ct.array[:, 20:40, :] = 40
    axial = views(portrait(ct, marked(ct, (0, 0), (0, 0), (0, 0)), body=False, side=SIDE))[0]
    assert abs(int(axial[SIDE // 2, SIDE // 3, 0]) - 127) < 3
    assert axial[SIDE // 4, SIDE // 3, 0] == 0


def test_an_empty_segmentation_shows_the_middle_of_the_scan_and_no_body():
    ct = scan(value=50)
    drawn = views(portrait(ct, marked(ct, (0, 0), (0, 0), (0, 0)), side=SIDE))
    assert len(drawn) == 4
    assert not (drawn[3] != 0).any()
    assert not any((view == ORANGE).all(axis=2).any() for view in drawn)


def test_the_body_is_seen_from_the_front():
    ct = scan(spacing=(2.0, 2.0, 2.0), shape=(60, 60, 60))
    array = marked(ct, (5, 55), (20, 30), (5, 15)).array | marked(ct, (5, 15), (20, 30), (5, 55)).array
    body = views(portrait(ct, ct.with_array(array), side=SIDE))[3].max(axis=2) > 40
    body[: SIDE // 8] = body[-SIDE // 8 :] = False
    # An L: its upright is on the patient's right, which is on the left of the picture, and its foot is at the feet.
    upper, lower = body[SIDE // 3 : SIDE // 2], body[2 * SIDE // 3 :]
    assert upper[:, 15 : SIDE // 2].any()
    assert not upper[:, SIDE // 2 : -15].any()
    assert lower[:, SIDE // 2 : -15].any()


def test_a_reference_is_drawn_below_in_the_planes_that_differ_most():
    ct = scan(spacing=(2.0, 2.0, 2.0), shape=(60, 60, 60))
    found = marked(ct, (10, 50), (10, 50), (10, 50))
    true = found.with_array(found.array.copy())
    true.array[20, 30, 50:58] = 1  # not visible in a single slice
    axial = views(portrait(ct, found, body=False, side=SIDE, reference=true))[0]
    assert (axial == rgb(REFERENCE)).all(axis=2).any()
    assert (axial == ORANGE).all(axis=2).any()
    alone = views(portrait(ct, found, body=False, side=SIDE))[0]
    assert not (alone == rgb(REFERENCE)).all(axis=2).any()


@pytest.mark.parametrize("stored", ["turned", "cropped"])
def test_the_command_takes_masks_in_another_orientation_or_cropped(tmp_path, stored):
    ct = scan()
    write_image(ct, tmp_path / "ct.nii.gz")
    mask = marked(ct, (10, 20), (20, 35), (20, 50))
    write_labels(mask, tmp_path / "whole.nii.gz", Recipe().classes)
    if stored == "turned":
        array = np.ascontiguousarray(mask.array[:, ::-1, ::-1])
        other = Volume(array, mask.spacing, (79.0, 118.0, 0.0), (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    else:
        other = Volume(mask.array[5:25, 15:40, 10:60].copy(), mask.spacing, (10.0, 30.0, 15.0))
    write_labels(other, tmp_path / "other.nii.gz", Recipe().classes)
    for name in ("whole", "other"):
        reference = str(tmp_path / "whole.nii.gz")
        arguments = ["picture", str(tmp_path / "ct.nii.gz"), str(tmp_path / f"{name}.nii.gz"), "--reference", reference]
        assert main([*arguments, "-o", str(tmp_path / f"{name}.png"), "--quiet"]) == 0
    assert (tmp_path / "whole.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_a_scan_of_another_shape_is_refused():
    with pytest.raises(ConfigurationError, match="another grid"):
        portrait(scan(), scan(shape=(3, 3, 3)))


def test_the_command_writes_a_png(tmp_path, capsys):
    ct = scan()
    write_image(ct, tmp_path / "ct.nii.gz")
    write_labels(marked(ct, (10, 20), (20, 35), (20, 50)), tmp_path / "liver.nii.gz", Recipe().classes)
    out = tmp_path / "out.png"
    assert main(["picture", str(tmp_path / "ct.nii.gz"), str(tmp_path / "liver.nii.gz"), "-o", str(out)]) == 0
    data = out.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert height == 320
    assert width == 4 * 320 + 3 * 4
    start = data.index(b"IDAT") + 4
    length = struct.unpack(">I", data[start - 8 : start - 4])[0]
    assert len(zlib.decompress(data[start : start + length])) == height * (1 + 3 * width)


def test_the_command_refuses_what_does_not_belong_together(tmp_path, capsys):
    ct = scan()
    write_image(ct, tmp_path / "ct.nii.gz")
    other = scan(spacing=(2.9, 2.0, 1.0))
    write_labels(marked(other, (1, 5), (1, 5), (1, 5)), tmp_path / "liver.nii.gz", Recipe().classes)
    arguments = ["picture", str(tmp_path / "ct.nii.gz"), str(tmp_path / "liver.nii.gz"), "-o"]
    assert main([*arguments, str(tmp_path / "out.png")]) == 2
    assert "the scan that it belongs to" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "out.jpg")]) == 2
    assert main([*arguments, str(tmp_path / "ct.nii.gz")]) == 2
    assert not list(tmp_path.glob("out*"))
