"""Data sets in common layouts, labels by name, splits by patient, and validation before training."""

import base64
import csv
import dataclasses
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import yaml
from lvnet.errors import ConfigurationError, ImageError, ResourceError
from lvnet.evaluation import evaluate
from lvnet.image_io import write_image, write_labels
from lvnet.recipe import LIVER, Architecture, LabelClass, Preprocessing
from lvnet.volume import Volume
from lvnet_training.batches import draw_batch
from lvnet_training.cli import main
from lvnet_training.config import Config, Stage, load_config
from lvnet_training.dataset import cached_case, load_cases
from lvnet_training.labels import label_map
from lvnet_training.loop import fit
from lvnet_training.materials import gather, part_of
from lvnet_training.sources import find_cases
from lvnet_training.splits import Split, make_split, read_split, write_split
from lvnet_training.state import Run
from lvnet_training.validation import dice_of, load_pairs, model_of, score, validate

TUMOUR = LabelClass(2, "tumour")
NAMES = [LabelClass(value, f"value {value}") for value in range(1, 14)]


def scan_and_label(seed=0, values=(1,)):
    """A body with one block per label value."""
    rng = np.random.default_rng(seed)
    image = np.full((20, 24, 28), -1000, np.int16)
    image[:, 2:-2, 2:-2] = rng.integers(-30, 30, (20, 20, 24))
    label = np.zeros(image.shape, np.uint8)
    for number, value in enumerate(values):
        label[4:16, 4 + 5 * number : 8 + 5 * number, 4:14] = value
    image[label > 0] += 100
    return Volume(image, (3.0, 2.0, 2.0)), Volume(label, (3.0, 2.0, 2.0))


def put(scan_path, label_path, seed=0, values=(1,)):
    scan, label = scan_and_label(seed, values)
    for path in (scan_path, label_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_image(scan, scan_path)
    write_labels(label, label_path, NAMES)


def lits(folder, numbers, values=(1, 2)):
    for number in numbers:
        put(folder / f"volume-{number}.nii", folder / f"segmentation-{number}.nii", number, values)


def decathlon(folder, names, labels, ending="", values=(1, 2)):
    for seed, name in enumerate(names):
        put(folder / "imagesTr" / f"{name}{ending}.nii.gz", folder / "labelsTr" / f"{name}.nii.gz", seed, values)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def plain(folder, names):
    for seed, name in enumerate(names):
        put(folder / name / "ct.nii.gz", folder / name / "liver.nii.gz", seed)


def test_lits_is_taken_as_it_is_downloaded_with_the_tumour_as_liver(tmp_path):
    lits(tmp_path / "Training Batch 1", [0, 10])
    lits(tmp_path / "Training Batch 2", [9])
    cases, refused = load_cases(find_cases(tmp_path), tmp_path / "cache")
    assert [case.name for case in cases] == ["volume-0", "volume-9", "volume-10"]
    assert refused == []
    assert {int(v) for case in cases for v in np.unique(case.label)} == {0, 1}
    assert int((cases[0].label == 1).sum()) == 2 * 12 * 4 * 10


def test_liver_and_tumour_become_two_classes_where_two_are_asked_for(tmp_path):
    lits(tmp_path, [3])
    case = cached_case(find_cases(tmp_path)[0], tmp_path / "cache", (LIVER, TUMOUR))
    assert [int((case.label == value).sum()) for value in (1, 2)] == [480, 480]
    # Different label mappings use different caches.
    merged = cached_case(find_cases(tmp_path)[0], tmp_path / "cache", (LIVER, TUMOUR), {1: "liver", 2: "liver"})
    assert [int((merged.label == value).sum()) for value in (1, 2)] == [960, 0]


@pytest.mark.parametrize("ending", ["", "_0000"])
@pytest.mark.parametrize("labels", [{"0": "background", "1": "liver", "2": "cancer"}, {"background": 0, "liver": 1,
                                                                                      "tumor": 2}])  # fmt: skip
def test_folders_of_the_decathlon_and_of_nnunet_are_taken(tmp_path, ending, labels):
    decathlon(tmp_path, ["liver_0", "liver_12"], labels, ending)
    # The hidden files of macOS in the Decathlon's archives are not cases.
    (tmp_path / "imagesTr" / "._liver_0.nii.gz").write_bytes(b"x")
    (tmp_path / "labelsTr" / "._liver_0.nii.gz").write_bytes(b"x")
    cases, refused = load_cases(find_cases(tmp_path), tmp_path / "cache")
    assert [case.name for case in cases] == ["liver_0", "liver_12"]
    assert refused == []
    assert int((cases[0].label == 1).sum()) == 960


def test_the_cache_does_not_keep_what_files_held_before_they_changed(tmp_path):
    plain(tmp_path / "data", ["one"])
    (source,) = find_cases(tmp_path / "data")
    cached_case(source, tmp_path / "cache")
    cached_case(source, tmp_path / "cache", labels={1: "background"})
    assert len(list((tmp_path / "cache").iterdir())) == 2
    put(source.scan, source.label, seed=5)
    cached_case(source, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    plain(tmp_path / "data", ["one"])
    (source,) = find_cases(tmp_path / "data")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(ResourceError, match="--cache"):
        cached_case(source, tmp_path / "cache")
    monkeypatch.undo()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(ResourceError, match="No space left"):
        cached_case(source, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_one_organ_of_many_is_taken_by_its_name(tmp_path):
    decathlon(tmp_path, ["a"], {"background": 0, "spleen": 1, "liver": 6}, "_0000", values=(1, 6))
    case = cached_case(find_cases(tmp_path)[0], tmp_path / "cache")
    assert int((case.label == 1).sum()) == 480
    spleen = cached_case(find_cases(tmp_path)[0], tmp_path / "cache", (LabelClass(1, "spleen"),))
    assert spleen.box != case.box
    with pytest.raises(ConfigurationError, match="kidney"):
        cached_case(find_cases(tmp_path)[0], tmp_path / "cache", (LabelClass(1, "kidney"),))


def test_cases_without_a_partner_are_named_and_left_out(tmp_path):
    lits(tmp_path / "lits", [1, 2])
    (tmp_path / "lits" / "segmentation-2.nii").unlink()
    decathlon(tmp_path / "msd", ["a", "b", "c"], {"0": "background", "1": "liver", "2": "cancer"}, "_0000")
    (tmp_path / "msd" / "labelsTr" / "b.nii.gz").unlink()
    put(tmp_path / "msd" / "imagesTr" / "c_0001.nii.gz", tmp_path / "x.nii.gz")
    plain(tmp_path / "plain", ["one", "two"])
    (tmp_path / "plain" / "two" / "liver.nii.gz").unlink()
    left = {}
    for folder in ("lits", "msd", "plain"):
        cases, refused = load_cases(find_cases(tmp_path / folder), tmp_path / "cache")
        assert len(cases) == 1
        left[folder] = "\n".join(refused)
    assert "volume-2 is left out: there is no segmentation-2" in left["lits"]
    assert "b_0000 is left out: there is no label" in left["msd"]
    assert "c is left out: it has 2 channels" in left["msd"]
    assert "two is left out: there is no label beside ct.nii.gz" in left["plain"]
    with pytest.raises(ImageError, match="segmentation-2"):
        load_pairs(find_cases(tmp_path / "lits"))


def test_a_value_that_nobody_explained_leaves_the_case_out(tmp_path):
    lits(tmp_path, [1], values=(1, 3))
    cases, refused = load_cases(find_cases(tmp_path), tmp_path / "cache")
    assert cases == []
    assert "value 3" in refused[0]
    cases, _ = load_cases(find_cases(tmp_path), tmp_path / "cache", labels={1: "liver", 3: "background"})
    assert int(cases[0].label.sum()) == 480


def test_a_scan_that_is_not_in_hu_leaves_the_case_out(tmp_path):
    plain(tmp_path, ["one"])
    scan, _ = scan_and_label()
    write_image(scan.with_array((scan.array / 1000).astype(np.float32)), tmp_path / "one" / "ct.nii.gz")
    cases, refused = load_cases(find_cases(tmp_path), tmp_path / "cache")
    assert cases == []
    assert "HU" in refused[0]


def test_labels_are_named_by_class_and_unknown_names_are_refused():
    assert label_map({}, [LIVER], {}) == {0: 0, 1: 1}
    assert label_map({1: "background", 2: "Liver"}, [LIVER], {}) == {0: 0, 1: 0, 2: 1}
    assert label_map({}, [LIVER, LabelClass(2, "tumor")], {1: "liver", 2: "tumour"}) == {0: 0, 1: 1, 2: 2}
    with pytest.raises(ConfigurationError, match="spleen"):
        label_map({1: "spleen"}, [LIVER], {})


def test_validation_labels_have_the_values_of_the_classes(tmp_path):
    lits(tmp_path, [1])
    classes = (dataclasses.replace(LIVER, value=7), dataclasses.replace(TUMOUR, value=9))
    ((_, _, label),) = load_pairs(find_cases(tmp_path), classes)
    assert set(np.unique(label.array)) == {0, 7, 9}


CASES = [f"volume-{number}" for number in range(131)]
PATIENTS = {"volume-0": "A", "volume-1": "A", "volume-6": "B", "volume-7": "B", "volume-8": "B"}


def test_a_split_has_the_papers_numbers_and_is_the_same_for_the_same_seed():
    split = make_split(CASES, "90/10/31", 1, PATIENTS)
    assert [len(split.train), len(split.validation), len(split.test)] == [90, 10, 31]
    assert sorted(split.train + split.validation + split.test) == sorted(CASES)
    assert make_split(CASES[::-1], "90/10/31", 1, PATIENTS) == split
    assert make_split(CASES, "90/10/31", 2, PATIENTS).test != split.test


def test_the_cases_of_a_patient_are_never_in_two_parts():
    for seed in range(30):
        split = make_split(CASES[:12], "6/3/3", seed, PATIENTS)
        for patient in "AB":
            held = [case for case, other in PATIENTS.items() if other == patient]
            assert sum(bool(set(held) & set(part)) for part in (split.train, split.validation, split.test)) == 1
    with pytest.raises(ConfigurationError, match="no room"):
        make_split(CASES[6:9], "1/1/1", 0, PATIENTS)
    with pytest.raises(ConfigurationError, match="patient A"):
        Split(("volume-0",), ("volume-1",), (), patients=PATIENTS)


def test_counts_are_shares_where_they_do_not_add_up():
    split = make_split(CASES[:20], "90/10/31", 1, {})
    assert [len(split.train), len(split.validation), len(split.test)] == [14, 1, 5]
    for counts in ("90/10", "a/b/c", "0/0/0", "5/-1/2"):
        with pytest.raises(ConfigurationError, match="90/10/31"):
            make_split(CASES, counts, 1, {})


@pytest.mark.parametrize("name", ["split.yaml", "split.json"])
def test_split_files_are_read_as_they_were_written(tmp_path, name):
    split = make_split(CASES, "90/10/31", 4, PATIENTS)
    write_split(split, tmp_path / name)
    assert read_split(tmp_path / name) == split
    (json.loads if name.endswith("json") else yaml.safe_load)((tmp_path / name).read_text())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [a]\nvalidation: [a]", "twice"),
        ("training: [a]", "unknown part"),
        ("[a, b]", "no entries"),
        ("train: 5", "cannot be used"),
        ("a: [", "cannot read"),
    ],
)
def test_bad_split_files_are_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=words) as refusal:
        read_split(tmp_path / "s.yaml")
    assert "\n" not in str(refusal.value)


def settings(**changes):
    return Config(stages=(Stage(1, (4.0, 4.0, 4.0), (16, 16, 16)),), **changes)


def test_a_run_splits_once_and_keeps_to_it(tmp_path):
    lits(tmp_path / "data", range(6))
    run = settings(split="3/2/1")
    material = gather(run, tmp_path / "run", tmp_path / "data")
    split = read_split(tmp_path / "run" / "split.yaml")
    assert [case.name for case in material.cases] == list(split.train)
    assert [pair[0] for pair in material.pairs] == list(split.validation)
    # New cases do not change a run that has already started.
    lits(tmp_path / "data", [7, 8])
    again = gather(run, tmp_path / "run", tmp_path / "data")
    assert [case.name for case in again.cases] == list(split.train)
    with pytest.raises(ConfigurationError, match="volume-99"):
        part_of(find_cases(tmp_path / "data"), ["volume-99"])
    with pytest.raises(ConfigurationError, match="--data"):
        gather(run, tmp_path / "run", split=tmp_path / "run" / "split.yaml")


@pytest.mark.parametrize("name", ["bundled", "paper", "ablations/eps-6", "baselines/unet"])
@pytest.mark.parametrize("layout", ["lits", "decathlon"])
def test_the_same_configuration_draws_from_lits_or_the_decathlon_alone(tmp_path, pytestconfig, name, layout):
    if layout == "lits":
        lits(tmp_path / "data", range(5))
    else:
        names = {"0": "background", "1": "liver", "2": "cancer"}
        decathlon(tmp_path / "data", [f"liver_{number}" for number in range(5)], names)
    config = load_config(pytestconfig.rootpath / "training" / "configs" / f"{name}.yaml")
    material = gather(dataclasses.replace(config, phantoms=0), tmp_path / "run", tmp_path / "data")
    assert len(material.cases) == (5 if name == "bundled" else 4)
    stage = config.stages[0]
    labels = [draw_batch(config, stage, material.cases, [], 0, step, [0])[1] for step in range(4)]
    assert {tuple(label.shape[1:]) for label in labels} == {stage.patch}
    assert {int(v) for label in labels for v in label.unique()} == {0, 1}


def test_several_classes_are_trained_and_scored_each(tmp_path):
    lits(tmp_path / "data", [1, 2])
    config = Config(
        stages=(Stage(1, (3.0, 2.0, 2.0), (16, 16, 16), 2),),
        classes=(LIVER, TUMOUR),
        architecture=Architecture(classes=3, widths=(4, 6, 8, 8, 10), expansion=1, kernel_size=3),
        preprocessing=Preprocessing(mean=0.0, std=90.0, in_plane_spacing=(2.0, 2.0), slice_spacing=3.0),
        samples_per_epoch=2,
    )
    material = gather(config, tmp_path / "run", tmp_path / "data", tmp_path / "data")
    run = Run.start(config, torch.device("cpu"))
    fit(run, material.cases, [], tmp_path / "run", report=lambda _: None,
        validate=lambda network: validate(network, config.recipe(), material.pairs))  # fmt: skip
    scores = score(model_of(run.averaged_network(), config.recipe()), material.pairs)
    assert list(scores["volume-1"]["labels"]) == ["liver", "tumour"]
    # Compared with themselves, the labels of the pairs are perfect for both classes.
    for _, _, label in material.pairs:
        assert [evaluate(label, label, label=value)["dice"] for value in (1, 2)] == [1.0, 1.0]
    assert dice_of({"labels": {"liver": {"dice": 0.9}, "tumour": {"dice": 0.5}}}) == pytest.approx(0.7)
    with (tmp_path / "run" / "log.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert {"dice", "dice_volume-1", "dice_volume-2"} <= set(row)


def test_settings_that_came_later_do_not_change_the_digest_of_older_runs(pytestconfig):
    config = load_config(pytestconfig.rootpath / "training" / "configs" / "bundled-second.yaml")
    assert config.digest == "2093b84a9959d1009f3563f7a008a595211b71a1b27bd93e8c34cdb8fc0b7a8f"
    assert dataclasses.replace(config, labels={2: "liver"}).digest != config.digest


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.text = [], []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])

    def handle_data(self, data):
        self.text.append(data)


def test_prepare_writes_a_report_with_pictures_and_a_split(tmp_path, capsys):
    lits(tmp_path / "data", range(4))
    put(tmp_path / "data" / "volume-4.nii", tmp_path / "data" / "segmentation-4.nii", 4, values=(1, 5))
    put(tmp_path / "data" / "volume-5.nii", tmp_path / "data" / "segmentation-5.nii", 5, values=())
    (tmp_path / "patients.yaml").write_text("{volume-0: A, volume-1: A}")
    arguments = ["prepare", tmp_path / "data", "--cache", tmp_path / "cache", "--split", tmp_path / "split.json",
                 "--counts", "3/1/1", "--patients", tmp_path / "patients.yaml"]  # fmt: skip
    assert main([str(a) for a in arguments]) == 0
    out = capsys.readouterr().out
    assert "5 cases ready" in out
    assert "volume-4 is left out: the label contains the unknown value 5" in out
    split = read_split(tmp_path / "split.json")
    assert [len(split.train), len(split.validation), len(split.test)] == [3, 1, 1]
    assert {"volume-0", "volume-1"} <= set(split.train)
    report = tmp_path / "cache" / "report"
    page = Page()
    page.feed((report / "index.html").read_text())
    assert len(page.images) == 5
    start = "data:image/png;base64,"
    pictures = [base64.b64decode(image[len(start) :]) for image in page.images if image.startswith(start)]
    assert len(set(pictures)) == 5 and all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert sorted(path.name for path in report.iterdir()) == ["index.html", "report.json"], "the page holds everything"
    assert any("volume-4 is left out" in text for text in page.text)
    data = json.loads((report / "report.json").read_text())
    assert data["cases"][0]["volumes"] == {"liver": 11.5}
    assert "no voxel is labelled" in " ".join(data["cases"][4]["remarks"])


def test_a_label_that_lies_on_air_is_remarked(tmp_path, capsys):
    scan, label = scan_and_label()
    plain(tmp_path, ["one"])
    write_labels(label.with_array(np.where(scan.array < -500, 1, 0).astype(np.uint8)),
                 tmp_path / "one" / "liver.nii.gz", [LIVER])  # fmt: skip
    assert main(["prepare", str(tmp_path), "--cache", str(tmp_path / "c"), "--no-pictures"]) == 0
    assert "check the position of the label" in capsys.readouterr().out
