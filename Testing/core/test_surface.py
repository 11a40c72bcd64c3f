"""Surfaces of a segmentation and their files."""

from __future__ import annotations

import numpy as np
import pytest
from lvnet.cli import main
from lvnet.errors import ConfigurationError, ImageError
from lvnet.image_io import write_labels
from lvnet.recipe import LIVER, LabelClass
from lvnet.surface import encoded, surface_of
from lvnet.volume import Volume

SPACING, ORIGIN = (2.5, 0.8, 1.1), (-30.0, 12.0, 100.0)
OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
MIRRORED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def ball(radius=20.0, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), shape=(24, 70, 54)):
    """A ball and its centre in LPS."""
    centre = [(size - 1) / 2 for size in shape]
    grids = np.ogrid[tuple(slice(0, size) for size in shape)]
    inside = sum(((grid - c) * step) ** 2 for grid, c, step in zip(grids, centre, SPACING)) < radius**2
    volume = Volume(inside.astype(np.uint8), SPACING, ORIGIN, tuple(map(float, direction)))
    matrix = volume.direction_matrix * np.asarray(SPACING[::-1])
    return volume, np.asarray(ORIGIN) + matrix @ centre[::-1]


def assert_closed(surface):
    """Every edge is traversed equally often in both directions."""
    edges = np.concatenate([surface.triangles[:, [0, 1]], surface.triangles[:, [1, 2]], surface.triangles[:, [2, 0]]])
    ways, counts = np.unique(edges, axis=0, return_counts=True)
    there = {tuple(edge): count for edge, count in zip(ways, counts)}
    assert all(there.get((b, a)) == count for (a, b), count in there.items())


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), OBLIQUE, MIRRORED])
def test_a_ball_is_smooth_closed_outward_and_in_its_place(direction):
    volume, centre = ball(direction=direction)
    surface = surface_of(volume)
    assert_closed(surface)
    distances = np.linalg.norm(surface.vertices - centre, axis=1)
    assert np.abs(distances - 20).max() < 0.9
    assert np.abs(distances - 20).mean() < 0.25
    assert surface.volume_ml == pytest.approx(4 / 3 * np.pi * 20**3 / 1000, rel=0.01)


def test_smoothing_takes_the_steps_of_the_voxels_away():
    volume, centre = ball()
    rough, smooth = (
        np.std(np.linalg.norm(surface_of(volume, width).vertices - centre, axis=1)) for width in (0.0, 1.5)
    )
    assert smooth < rough / 2


def test_an_organ_at_the_border_of_the_image_is_closed_too():
    array = np.zeros((6, 20, 20), np.uint8)
    array[:, 5:, 3:12] = 1
    surface = surface_of(Volume(array, SPACING))
    assert_closed(surface)
    assert surface.volume_ml == pytest.approx(array.sum() * np.prod(SPACING) / 1000, rel=0.06)


def test_noise_gives_a_closed_surface():
    array = (np.random.default_rng(0).random((9, 12, 11)) < 0.5).astype(np.uint8)
    for width in (0.0, 1.0):
        assert_closed(surface_of(Volume(array), width))


def read_stl(data):
    count = int.from_bytes(data[80:84], "little")
    assert len(data) == 84 + 50 * count
    records = np.frombuffer(data[84:], np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")]))
    return records["corners"], records["normal"]


def read_ply(data):
    header, _, body = data.partition(b"end_header\n")
    vertices, faces = (int(line.split()[2]) for line in header.decode().splitlines() if line.startswith("element"))
    points = np.frombuffer(body[: 12 * vertices], "<f4").reshape(-1, 3)
    corners = np.frombuffer(body[12 * vertices :], np.dtype([("n", "u1"), ("corners", "<i4", 3)]))
    assert len(corners) == faces and (corners["n"] == 3).all()
    return points[corners["corners"]]


def read_obj(data):
    lines = [line.split() for line in data.decode().splitlines()]
    points = np.array([line[1:] for line in lines if line[0] == "v"], float)
    return points[np.array([line[1:] for line in lines if line[0] == "f"], int) - 1]


def test_the_three_formats_hold_the_same_triangles_in_the_coordinates_that_are_said():
    surface = surface_of(ball()[0])
    expected = surface.vertices[surface.triangles]
    corners, normals = read_stl(encoded(surface, ".stl"))
    assert np.allclose(corners, expected, atol=1e-3)
    outward = corners.mean(axis=1) - surface.vertices.mean(axis=0)
    assert (np.einsum("ij,ij->i", normals, outward) > 0).mean() > 0.99
    assert np.allclose(read_ply(encoded(surface, ".ply")), expected, atol=1e-3)
    assert np.allclose(read_obj(encoded(surface, ".obj")), expected, atol=1e-3)
    ras = encoded(surface, ".stl", "ras")
    assert np.allclose(read_stl(ras)[0], expected * (-1, -1, 1), atol=1e-3)
    assert b"SPACE=RAS" in ras[:80] and b"SPACE=LPS" in encoded(surface, ".obj")


def test_what_has_no_surface_is_one_line():
    with pytest.raises(ImageError, match="empty"):
        surface_of(Volume(np.zeros((4, 5, 6), np.uint8)))
    one = np.zeros((4, 5, 6), np.uint8)
    one[2, 2, 2] = 1
    for width in (-1.0, float("nan"), 99.0):
        with pytest.raises(ConfigurationError, match="smoothing"):
            surface_of(Volume(one), width)
    with pytest.raises(ConfigurationError, match="coordinates"):
        encoded(surface_of(Volume(one), 0.0), ".stl", "xyz")


def test_the_command_writes_the_segment_that_is_named(tmp_path, capsys):
    volume, _ = ball()
    labels = volume.array.copy()
    labels[:4, :10, :10] = 2
    path = tmp_path / "a.seg.nrrd"
    write_labels(volume.with_array(labels), path, [LIVER, LabelClass(2, "spleen")])
    assert main(["surface", str(path), "-o", str(tmp_path / "liver.stl"), "--label", "Liver"]) == 0
    said = capsys.readouterr().err
    assert "ml, in mm, LPS" in said
    expected = encoded(surface_of(volume), ".stl")
    assert (tmp_path / "liver.stl").read_bytes() == expected
    assert main(["surface", str(path), "-o", str(tmp_path / "x.stl"), "--label", "kidney"]) == 2
    assert "it contains labels 1 (liver), 2 (spleen)" in capsys.readouterr().err
    assert main(["surface", str(path), "-o", str(path)]) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.seg.nrrd", "liver.stl"]
