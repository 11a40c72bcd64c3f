"""The HTML report of an evaluation."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from lvnet.cli import main
from lvnet.errors import ImageError
from lvnet.evaluation import evaluate, evaluate_folders
from lvnet.report import write_report
from scipy.stats import wilcoxon

sitk = pytest.importorskip("SimpleITK")

SPACING = (5.0, 2.0, 1.0)
SHAPE = (16, 30, 40)
VOID = {"meta", "img", "br"}


def body(size, shift=0):
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:12, 8 : 8 + size, 6 + shift : 6 + shift + 2 * size] = 1
    return mask


def save(path, array, spacing=SPACING, direction=None, origin=(0.0, 0.0, 0.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def folders(tmp_path):
    """Three cases, of which `bad` is the worst, one without a partner, and one with an empty prediction."""
    predictions, references = tmp_path / "net", tmp_path / "experts"
    for name, size, shift in (("good", 10, 0), ("fair", 10, 2), ("bad", 7, 9)):
        save(predictions / f"{name}.nii.gz", body(size, shift))
        save(references / name / "liver.nii.gz", body(10))
    save(references / "good" / "ct.nii.gz", np.full(SHAPE, 50, np.int16))
    save(predictions / "missed.nii.gz", body(10) * 0)
    save(references / "missed" / "liver.nii.gz", body(10))
    save(predictions / "alone.nii.gz", body(10))
    return predictions, references


class Reader(HTMLParser):
    """Checks that tags are closed in order, and collects what a browser would load or show."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.addresses, self.ids, self.text = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        self.addresses += [found[name] for name in ("src", "href", "xlink:href", "data") if found.get(name)]
        if "id" in found:
            self.ids.append(found["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def report_of(folders, tmp_path, **options):
    result = evaluate_folders(*folders, **{k: v for k, v in options.items() if k in ("preset", "label", "hd95")})
    options = {k: v for k, v in options.items() if k not in ("preset", "hd95")}
    write_report(result, *folders, tmp_path / "r.html", dated=False, **options)
    return (tmp_path / "r.html").read_text(encoding="utf-8")


def test_the_page_is_one_file_that_loads_and_runs_nothing(folders, tmp_path):
    text = report_of(folders, tmp_path)
    page = Reader(text)
    assert page.addresses
    for address in page.addresses:
        assert address.startswith("data:image/png;base64,") or address[1:] in page.ids, address[:80]
    assert len(set(page.ids)) == len(page.ids)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert "http://" not in text and "https://" not in text and "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experts", "net", "r.html"]


def test_the_worst_case_comes_first_and_gaps_have_reasons(folders, tmp_path):
    text = report_of(folders, tmp_path, hd95=True)
    table = re.search(r'<table class="cases">.*?</table>', text, re.S).group()
    assert re.findall(r'<th scope="row">(?:<a[^>]*>)?(\w+)', table) == ["missed", "bad", "fair", "good"]
    words = Reader(text).words
    assert "ASSD, MSSD, HD95 undefined: the prediction is empty" in words
    assert "alone: no reference with this name" in words
    assert "preset lits" in words and "18-neighbourhood" in words
    for heading in ("VOE (%)", "ASSD (mm)", "MSSD (mm)", "HD95 (mm)", "reference (ml)", "prediction (ml)"):
        assert heading in words
    assert "3 (1 undefined)" in words


def test_every_case_has_its_slices_and_the_worst_its_surfaces(folders, tmp_path):
    text = report_of(folders, tmp_path)
    sections = re.findall(r'<section class="case" id="case\d">.*?</section>', text, re.S)
    assert [section.count("<svg") for section in sections] == [3, 3, 3, 1]
    names = [re.search(r"<h3>(\w+)<", section).group(1) for section in sections]
    assert names == ["missed", "bad", "fair", "good"]
    # `missed` has no distances, so the map is that of the next case.
    surfaces = text[text.index("<h2>Distances between the surfaces") : text.index("<h2>Slices")]
    assert "<h3>bad</h3>" in surfaces and "missed</h3>" not in surfaces
    assert surfaces.count("<svg") == 12
    for side in ("front", "behind", "right", "left", "above", "below"):
        assert surfaces.count(f"from {'the ' if side in ('front', 'right', 'left') else ''}{side}") >= 2


def test_only_cases_with_a_scan_have_outlines(folders, tmp_path):
    text = report_of(folders, tmp_path)
    sections = dict(zip(("missed", "bad", "fair", "good"), text.split('<section class="case" id="case')[1:]))
    assert {name: "vector-effect" in section for name, section in sections.items()} == {
        "missed": False, "bad": False, "fair": False, "good": True,
    }  # fmt: skip
    assert "level 40 HU, width 400 HU" in text


def test_scans_come_from_the_folder_that_is_named(folders, tmp_path):
    for name in ("fair", "bad"):
        save(tmp_path / "scans" / f"{name}.nii.gz", np.full(SHAPE, 50, np.int16))
    text = report_of(folders, tmp_path, images=tmp_path / "scans")
    assert text.count("vector-effect") == 2 * 2 * 3
    assert "no scan was found for good, missed" in text or "no scan was found for missed, good" in text


def test_a_scan_of_another_place_is_left_out_and_one_on_another_grid_is_interpolated(folders, tmp_path):
    save(tmp_path / "scans" / "fair.nii.gz", np.full(SHAPE, 50, np.int16), origin=(900.0, 0.0, 0.0))
    save(tmp_path / "scans" / "bad.nii.gz", np.full((32, 60, 40), 50, np.int16), spacing=(2.5, 1.0, 1.0))
    text = report_of(folders, tmp_path, images=tmp_path / "scans")
    assert text.count("vector-effect") == 2 * 3
    assert "does not overlap with the label maps" in text and "interpolated for the pictures" in text


def test_names_cannot_become_markup(tmp_path):
    name = "<img src=x onerror=alert(1)>&\"'"
    for folder in ("p", "r"):
        for case in (name, "b"):
            save(tmp_path / folder / f"{case}.nii.gz", body(10 if folder == "p" else 8))
    text = report_of((tmp_path / "p", tmp_path / "r"), tmp_path)
    page = Reader(text)
    assert name in page.words
    assert all(address.startswith(("data:image/png", "#")) for address in page.addresses)
    assert "<img src=x" not in text


def test_the_pictures_do_not_depend_on_how_the_file_stores_its_axes(tmp_path):
    """The same patient as axial slices from the feet, and as sagittal slices from the left."""
    rng = np.random.default_rng(2)
    one, other = body(10), body(10, 3)
    one[5, 9, 7:20:3] = 0
    scan = rng.integers(-100, 200, SHAPE).astype(np.int16)
    # Permutation of the (x, y, z) index axes to S, A and R.
    direction = (0, 0, -1, 0, -1, 0, 1, 0, 0)
    size = np.array(SHAPE[::-1]) - 1
    origin = (float(size[0]) * SPACING[2], float(size[1]) * SPACING[1], 0.0)
    pages = []
    for kind in ("axial", "sagittal"):
        for name, array in (("p", one), ("r", other), ("ct", scan)):
            if kind == "sagittal":
                stored = np.ascontiguousarray(array.transpose(2, 1, 0)[::-1, ::-1])
                save(tmp_path / kind / f"{name}.nii.gz", stored, SPACING[::-1], direction, origin)
            else:
                save(tmp_path / kind / f"{name}.nii.gz", array)
        pair = tmp_path / kind / "p.nii.gz", tmp_path / kind / "r.nii.gz"
        write_report(evaluate(*pair), *pair, tmp_path / kind / "page.html", dated=False)
        pages.append((tmp_path / kind / "page.html").read_text(encoding="utf-8"))
    figures = [re.findall(r"<figure>.*?</figure>", page, re.S) for page in pages]
    assert len(figures[0]) == 3 + 12
    assert figures[0][:12] == figures[1][:12]
    assert figures[0][12:] == figures[1][12:]
    assert "vector-effect" in figures[0][12]


def test_a_single_pair_has_no_averages(tmp_path):
    save(tmp_path / "p.nii.gz", body(10))
    save(tmp_path / "r.nii.gz", body(8))
    pair = tmp_path / "p.nii.gz", tmp_path / "r.nii.gz"
    write_report(evaluate(*pair), *pair, tmp_path / "page.html", dated=False)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    Reader(text)
    assert "Summary" not in text and "Bland" not in text
    assert "p.nii.gz against r.nii.gz" in text


def test_each_label_has_its_rows_pictures_and_averages(tmp_path):
    for name, size in (("a", 10), ("b", 9)):
        for folder, shift in (("p", 0), ("r", 1)):
            mask = body(size, shift)
            mask[6:8, 25:29, 30:36] = 5
            save(tmp_path / folder / f"{name}.nii.gz", mask)
    text = report_of((tmp_path / "p", tmp_path / "r"), tmp_path)
    page = Reader(text)
    assert "a, label 5" in page.words and "Label 1" in page.words and "Label 5" in page.words
    assert len([name for name in page.ids if name.startswith("case")]) == 4
    assert text.count("<h4>The prediction’s surface</h4>") == 1  # label 5 is equal in both: no distances


def test_several_processes_make_the_same_page(folders, tmp_path):
    assert report_of(folders, tmp_path, jobs=2) == report_of(folders, tmp_path)


def test_the_rvd_of_chaos_is_in_percent_already(folders, tmp_path):
    text = report_of(folders, tmp_path, preset="chaos")
    table = re.search(r'<table class="cases">.*?</table>', text, re.S).group()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", re.search(r"<tr><th[^>]*><a[^>]*>bad.*?</tr>", table, re.S).group())
    assert cells[2] == cells[3] == f"{100 * abs(7 * 14 / 200 - 1):.2f}"


@pytest.fixture
def two_methods(tmp_path):
    for number in range(7):
        save(tmp_path / "experts" / f"c{number}.nii.gz", body(10))
        save(tmp_path / "net" / f"c{number}.nii.gz", body(10, number % 4))
        save(tmp_path / "old" / f"c{number}.nii.gz", body(10 - number % 5, 1 + number))
    return tmp_path


def test_two_methods_are_compared_on_the_command_line_and_in_the_report(two_methods, capsys, monkeypatch):
    monkeypatch.chdir(two_methods)
    assert main(["evaluate", "net", "experts", "--compare", "old", "--report", "r.html", "--json", "r.json"]) == 0
    result = json.loads((two_methods / "r.json").read_text())
    dice = [[case["dice"] for case in cases.values()]
            for cases in (result["cases"], result["comparison"]["other_cases"])]  # fmt: skip
    p = wilcoxon(*dice).pvalue
    out = capsys.readouterr().out
    assert "net minus old (Wilcoxon" in out
    assert re.search(rf"^dice .* {p:.4f}", out, re.M)
    page = Reader((two_methods / "r.html").read_text(encoding="utf-8"))
    assert "Comparison of net and old" in page.words
    assert f"{p:.4f}" in page.words
    assert "Volumes, net" in page.words and "Volumes, old" in page.words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("net", "experts", "--report", "r.pdf"), "must end with .html"),
        (("net", "experts", "--report", "absent/r.html"), "folder"),
        (("net", "experts", "--report", "r.html", "--images", "absent"), "does not exist"),
        (("net", "experts", "--report", "r.html", "--images", "empty"), "no scan of any case"),
        (("net", "experts", "--report", "r.html", "--images", "net/c0.nii.gz"), "one scan"),
        (("net", "experts", "--images", "net"), "--report"),
        (("net/c0.nii.gz", "experts/c0.nii.gz", "--compare", "old"), "folders"),
        (("net", "experts", "--jobs", "0"), "1 or more"),
        (("net", "experts", "--csv", "absent/t.csv"), "folder"),
        (("net", "experts", "--json", "absent/t.json"), "folder"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(two_methods, arguments, words, capsys, monkeypatch):
    monkeypatch.chdir(two_methods)
    (two_methods / "empty").mkdir()
    before = sorted(two_methods.rglob("*"))
    assert main(["evaluate", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and words in lines[0], lines
    assert sorted(two_methods.rglob("*")) == before


def test_a_page_that_cannot_be_written_is_a_users_error(folders, tmp_path):
    result = evaluate_folders(*folders)
    with pytest.raises(ImageError, match="cannot be written"):
        write_report(result, *folders, tmp_path / "absent" / "r.html")
