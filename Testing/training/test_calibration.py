"""The expected DICE: fitted to known results, with a valid uncertainty for new patients, stored with the weights."""

import csv

import numpy as np
import pytest
from lvnet import phantom
from lvnet.checkpoint import load_checkpoint
from lvnet.errors import ConfigurationError
from lvnet.image_io import write_image, write_labels
from lvnet.inference import load_model
from lvnet.pipeline.python import segment
from lvnet.quality import FEATURES, Quality
from lvnet.recipe import LIVER
from lvnet_training.calibration import Judged, collect, fit_quality, held_out, read_scores, report
from lvnet_training.cli import main


def results(count=120, patients=20, seed=0, noise=0.1):
    """Results whose error increases with the fraction of doubtful voxels and with the disagreement of slabs."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        features = dict(zip(FEATURES, rng.uniform(0, 1, len(FEATURES))))
        error = -1.6 + 0.6 * features["doubtful"] + 0.6 * features["disagreement"] + rng.normal(0, noise)
        rows.append(Judged(f"case{number}", f"patient{number % patients}", float(1 - 10**error), features))
    return rows


def test_the_fit_finds_bad_results_of_patients_it_has_not_seen():
    rows = results()
    quality = fit_quality(rows)
    dice = np.array([row.dice for row in rows])
    expected = np.array([answer[0] for answer in held_out(rows)])
    flagged = expected < quality.look_below
    assert flagged[dice < 0.90].mean() >= 0.85
    assert flagged[dice >= 0.94].mean() <= 0.10
    assert np.abs(dice - expected).mean() < 0.04


def test_the_interval_holds_eight_of_ten_results():
    rows = results(count=200)
    answers = np.array(held_out(rows))
    dice = np.array([row.dice for row in rows])
    covered = (dice >= answers[:, 1]) & (dice <= answers[:, 2])
    assert 0.7 <= covered.mean() <= 0.9
    assert (answers[:, 1] < answers[:, 0]).all() and (answers[:, 0] < answers[:, 2]).all()
    fresh = results(count=200, seed=9)
    quality = fit_quality(rows)
    expected = [quality.expect(row.features) for row in fresh]
    inside = [e.low <= row.dice <= e.high for e, row in zip(expected, fresh)]
    assert 0.7 <= np.mean(inside) <= 0.9


def test_features_that_say_nothing_flag_no_better_than_chance():
    rows = results()
    rng = np.random.default_rng(4)
    useless = [Judged(r.case, r.group, r.dice, dict(zip(FEATURES, rng.uniform(0, 1, len(FEATURES))))) for r in rows]
    quality = fit_quality(useless)
    expected = np.array([answer[0] for answer in held_out(useless)])
    bad = np.array([row.dice for row in useless]) < 0.90
    assert (expected < quality.look_below)[bad].mean() < 0.5, "the report must not promise what the data do not hold"


def test_the_report_counts_flags_coverage_and_limits():
    rows = results()
    text = "\n".join(report(rows, fit_quality(rows)))
    assert "120 results of 20 patients" in text
    assert "flagged of those with DICE < 0.9" in text and "80 % expected" in text and "review below" in text


@pytest.mark.parametrize(
    "rows", [results(count=10), [Judged(r.case, r.group, 0.95, r.features) for r in results()], results(patients=2)]
)
def test_too_few_or_too_equal_results_are_refused(rows):
    with pytest.raises(ConfigurationError, match="calibration needs"):
        fit_quality(rows)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for seed in (7, 8):
        ct, label = phantom.make_phantom(seed, size=(32, 80, 96), spacing=(7.0, 4.5, 4.0))
        (folder / f"phantom{seed}").mkdir()
        write_image(ct, folder / f"phantom{seed}" / "ct.nii.gz")
        write_labels(label, folder / f"phantom{seed}" / "liver.nii.gz", (LIVER,))
    return folder


def test_the_command_measures_fits_and_writes_weights_that_print_what_to_expect(scans, tmp_path, capsys):
    """Combines measured results with synthetic ones, which make a fit possible, in one file of scores."""
    scores, weights = tmp_path / "scores.csv", tmp_path / "calibrated.safetensors"
    rows = collect(load_model(None, "cpu"), [scans], scores)
    assert [row.case for row in rows] == [f"{scans.name}/phantom7", f"{scans.name}/phantom8"]
    assert all(0.5 < row.dice < 1 and set(row.features) == set(FEATURES) for row in rows)
    assert [row.dice for row in read_scores(scores)] == pytest.approx([row.dice for row in rows], abs=1e-5)
    # An existing file of scores is reused: synthetic errors from 0.02 to 0.4 of 40 patients allow a fit.
    with scores.open(newline="") as file:
        table = list(csv.DictReader(file))
    names = []
    for number in range(40):
        (scans / f"made{number:02}").mkdir(exist_ok=True)
        ct, label = (scans / "phantom7" / f"{stem}.nii.gz" for stem in ("ct", "liver"))
        for stem, source in (("ct", ct), ("liver", label)):
            link = scans / f"made{number:02}" / f"{stem}.nii.gz"
            if not link.exists():
                link.symlink_to(source)
        share = number / 39
        error = 0.02 + 0.38 * share
        names.append(dict(table[0], case=f"{scans.name}/made{number:02}", group=f"p{number}", dice=1 - error,
                          doubtful=0.05 + 0.3 * share))  # fmt: skip
    with scores.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows([*table, *names])
    assert main(["calibrate", str(scans), "--scores", str(scores), "--output", str(weights), "--device", "cpu"]) == 0
    assert "42 results of 42 patients" in capsys.readouterr().out
    recipe = load_checkpoint(weights).recipe
    assert isinstance(recipe.quality, Quality)
    result = segment(scans / "phantom7" / "ct.nii.gz", model=load_model(weights, "cpu"))
    check = next(check for check in result.checks if check.name == "liver expected dice")
    assert check.sentence.startswith("expected DICE of the liver 0.")
    assert result.expected[1].low < result.expected[1].dice < result.expected[1].high
    # Without a calibration there is no expected DICE.
    plain = segment(scans / "phantom7" / "ct.nii.gz", model=load_model(None, "cpu"))
    assert plain.measured[1].keys() == set(FEATURES)
    np.testing.assert_array_equal(plain.labels.array, result.labels.array)


def test_scores_that_are_none_are_one_line(scans, tmp_path, capsys):
    (tmp_path / "scores.csv").write_text("something,else\n1,2\n")
    assert main(["calibrate", str(scans), "--scores", str(tmp_path / "scores.csv")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
