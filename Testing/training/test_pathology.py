"""Synthetic pathologies: each changes the right voxels in the right place, and its label is correct."""

import dataclasses

import numpy as np
import pytest
from lvnet.errors import ConfigurationError
from lvnet.recipe import Architecture, LabelClass
from lvnet_training.augmentation import draw_patch
from lvnet_training.case import make_case
from lvnet_training.config import Augmentation, Config, Stage
from lvnet_training.pathology import KINDS, Anatomy, Pathology, add_pathologies
from lvnet_training.pathology.artefacts import add_arms, add_low_dose, add_metal
from lvnet_training.pathology.brightness import shift_brightness
from lvnet_training.pathology.fluid import add_ascites, add_effusion
from lvnet_training.pathology.masses import add_lesions, add_mass

SPACING = (5.0, 4.0, 4.0)
SHAPE = (24, 64, 80)
LIVER, MUSCLE, FAT, LUNG, AIR = 100.0, 55.0, -100.0, -850.0, -1000.0


@pytest.fixture(params=[AIR, -200.0, -128.0], ids=["whole HU", "floor at -200", "floor at -128"])
def anatomy(request):
    """A trunk: skin and fat, a muscular wall, fat inside, a liver on the right, and lung above and behind it."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    across = ((y - 32) / 26.0) ** 2 + ((x - 40) / 34.0) ** 2
    hu = np.full(SHAPE, AIR, np.float32)
    hu[across < 1.0] = FAT
    hu[across < 0.85] = MUSCLE
    hu[across < 0.72] = FAT
    organ = (((z - 11) / 9.0) ** 2 + ((y - 32) / 14.0) ** 2 + ((x - 26) / 13.0) ** 2 < 1) & (across < 0.72)
    hu[organ] = LIVER
    hu[(across < 0.72) & (z >= 14) & ~organ] = LUNG
    hu += np.random.default_rng(5).normal(0, 6, SHAPE).astype(np.float32) * (across < 1)
    return Anatomy(np.maximum(hu, request.param), organ.astype(np.float32), SPACING)


def before(anatomy):
    return anatomy.hu.copy(), anatomy.organ.copy()


def ml(mask):
    return float(mask.sum()) * np.prod(SPACING) / 1000


def many(anatomy, make, count=6):
    """The same pathology generated with several seeds, each in a new anatomy."""
    for seed in range(count):
        fresh = Anatomy(anatomy.hu, anatomy.organ, anatomy.spacing)
        if make(np.random.default_rng(seed), fresh):
            yield fresh


def test_a_mass_is_soft_background_of_the_size_asked_for_and_leaves_the_rest_alone(anatomy):
    hu, organ = before(anatomy)
    made = list(many(anatomy, lambda rng, a: add_mass(rng, a, (50.0, 60.0))))
    assert len(made) >= 4
    for result in made:
        mass = result.made > 0.5
        assert 5 < ml(mass) < 200
        assert (result.organ[mass] < 0.5).all()
        assert -20 < np.median(result.hu[mass]) < 130
        np.testing.assert_array_equal(result.hu[result.made == 0], hu[result.made == 0])
        # The organ loses voxels only where the mass indents it, up to about a centimetre.
        lost = (organ > 0.5) & (result.organ <= 0.5)
        assert (mass | ~lost).all()
        assert anatomy.distance[lost].min(initial=0) > -16
        # The mass must not extend into the air around the body.
        assert not (mass & ~anatomy.body).any()


def test_lesions_belong_to_the_organ_and_change_its_brightness(anatomy):
    _, organ = before(anatomy)
    for result in many(anatomy, lambda rng, a: add_lesions(rng, a, (30.0, 50.0))):
        assert (result.organ >= organ - 1e-5).all()
        assert ml(result.organ > 0.5) < 1.6 * ml(organ > 0.5)
        assert not result.made.any()
        inside = organ > 0.5
        assert np.abs(result.hu[inside] - anatomy.hu[inside]).mean() > 0.5


@pytest.mark.parametrize("offset", [-60.0, 90.0])
def test_brightness_moves_the_organ_against_everything_else(anatomy, offset):
    hu, organ = before(anatomy)
    assert shift_brightness(np.random.default_rng(1), anatomy, (offset, offset))
    inside, far = organ > 0.5, anatomy.distance > 12
    moved = np.median(anatomy.hu[inside]) - np.median(hu[inside])
    assert moved == pytest.approx(offset, abs=6)
    np.testing.assert_allclose(anatomy.hu[far], hu[far], atol=1e-3)
    np.testing.assert_array_equal(anatomy.organ, organ)


def test_ascites_is_fluid_around_the_organ_that_becomes_smaller(anatomy):
    hu, organ = before(anatomy)
    made = list(many(anatomy, lambda rng, a: add_ascites(rng, a, (20.0, 25.0))))
    assert len(made) == 6
    for result in made:
        fluid = result.made > 0.9
        assert ml(fluid) > 20
        assert -15 < np.median(result.hu[fluid]) < 40
        assert ml(result.organ > 0.5) < ml(organ > 0.5)
        assert (result.organ <= organ + 1e-5).all()
        assert (result.hu[result.made == 0] == hu[result.made == 0]).all()
        assert not (fluid & ~anatomy.body).any()


def test_an_effusion_fills_the_lung_from_the_back_and_leaves_the_organ(anatomy):
    hu, organ = before(anatomy)
    lung = anatomy.enclosed_air
    assert ml(lung) > 500
    made = list(many(anatomy, lambda rng, a: add_effusion(rng, a, (0.4, 0.6))))
    assert len(made) == 6
    for result in made:
        fluid = (result.made > 0.9) & lung
        assert 0.1 < fluid.sum() / lung.sum() < 0.9
        assert -20 < np.median(result.hu[fluid]) < 110
        rows = np.nonzero(fluid)[1]
        assert rows.mean() > np.nonzero(lung & ~fluid)[1].mean(), "fluid lies at the back"
        np.testing.assert_array_equal(result.organ > 0.5, organ > 0.5)
        assert np.abs(result.hu - hu)[organ > 0.9].max() < 1e-3


def test_without_lung_there_is_no_effusion_and_without_organ_no_ascites_or_lesion():
    plain = Anatomy(np.full(SHAPE, MUSCLE, np.float32), np.zeros(SHAPE, np.float32), SPACING)
    hu = plain.hu.copy()
    for make in (add_effusion, add_ascites, add_lesions, shift_brightness):
        assert not make(np.random.default_rng(0), plain)
    np.testing.assert_array_equal(plain.hu, hu)


def test_low_dose_adds_noise_of_the_level_asked_for(anatomy):
    hu, organ = before(anatomy)
    made = list(many(anatomy, lambda rng, a: add_low_dose(rng, a, (30.0, 30.0))))
    deviations = [float((result.hu - hu)[organ > 0.5].std()) for result in made]
    assert np.median(deviations) == pytest.approx(30, abs=6)
    assert all((result.organ == organ).all() for result in made)


def test_arms_lie_beside_the_body_and_metal_in_it_and_neither_touches_the_label(anatomy):
    hu, organ = before(anatomy)
    body = anatomy.body.copy()
    for result in many(anatomy, add_arms):
        beside = (result.hu > hu.min() + 40) & ~body
        assert beside.any()
        np.testing.assert_array_equal(result.organ, organ)
    for result in many(anatomy, add_metal):
        assert (result.hu[~body] < 1500).all()
        np.testing.assert_array_equal(result.organ, organ)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_switch_of_its_own(anatomy, kind):
    hu, _ = before(anatomy)
    untouched = Anatomy(anatomy.hu, anatomy.organ, anatomy.spacing)
    others = Pathology(**dict.fromkeys(KINDS, 0.0))
    add_pathologies(np.random.default_rng(0), untouched, others)
    np.testing.assert_array_equal(untouched.hu, hu)
    changed = 0
    for seed in range(5):
        fresh = Anatomy(anatomy.hu, anatomy.organ, anatomy.spacing)
        add_pathologies(np.random.default_rng(seed), fresh, dataclasses.replace(others, **{kind: 1.0}))
        changed += bool((fresh.hu != hu).any())
    assert changed >= 3


def test_the_same_stream_makes_the_same_patch_and_settings_are_checked(anatomy):
    from lvnet.volume import Volume

    place = {"spacing": SPACING}
    scan = Volume(np.rint(anatomy.hu).astype(np.int16), **place)
    case = make_case("trunk", scan, scan.with_array((anatomy.organ > 0.5).astype(np.uint8)))
    everything = Pathology(**dict.fromkeys(KINDS, 1.0))

    def draw(pathology):
        rng = np.random.default_rng(3)
        return draw_patch(rng, case, (16, 48, 48), (5.0, 5.0, 5.0), Augmentation(), 1.0, pathology)

    first, again, without = draw(everything), draw(everything), draw(None)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != without[0]).any()
    with pytest.raises(ValueError, match="between 0 and 1"):
        Pathology(mass=1.5)
    stage = Stage(epochs=1, spacing=(4.0, 4.0, 4.0), patch=(16, 32, 32))
    two = (LabelClass(1, "liver", "1", "Liver"), LabelClass(2, "spleen", "2", "Spleen"))
    with pytest.raises(ConfigurationError, match="one class"):
        Config(stages=(stage,), classes=two, architecture=Architecture(classes=3), pathology=everything)
    plain = Config(stages=(stage,))
    assert plain.digest != Config(stages=(stage,), pathology=everything).digest


def test_each_kind_has_a_picture_in_the_docs_and_the_command_draws_it(tmp_path, capsys):
    from pathlib import Path

    from lvnet_training.pathology import gallery

    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "pathologies.md").read_text(encoding="utf-8")
    for kind in KINDS:
        picture = f"pathologies/{kind.replace('_', '-')}.png"
        assert picture in text
        assert (docs / picture).read_bytes().startswith(b"\x89PNG")
    gallery.draw_kind("mass", tmp_path / "mass.png")
    assert (tmp_path / "mass.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigurationError, match="unknown pathology 'measles'"):
        gallery.draw_kind("measles", tmp_path / "none.png")
    (tmp_path / "file").write_text("")
    assert gallery.main([str(tmp_path / "file")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
