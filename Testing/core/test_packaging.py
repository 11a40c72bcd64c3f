"""Packaging: which files are installed, and that the metadata of all catalogues agree."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from pathlib import Path
from typing import Dict, List, Set

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "LVNetSegmentation"
NAME = "LVNetSegmentation"
ADDRESS = "https://github.com/lvnet-segmentation/SlicerLVNetSegmentation"
RAW_ADDRESS = "https://raw.githubusercontent.com/lvnet-segmentation/SlicerLVNetSegmentation/main"
WEIGHTS = {
    f"lvnet/weights/{name}" for name in ("lvnet-liver.safetensors", "MODEL_CARD.md", "LICENSE.txt", "SHA256SUMS")
}
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.1.json#"
)
TEXT_SUFFIXES = {".py", ".md", ".txt", ".toml", ".cff", ".json", ".s4ext", ".ui", ".svg", ".yaml", ".yml", ".cfg", ""}


def tracked(folder: str = ".") -> List[Path]:
    """The files tracked by git; all existing files if this is not a checkout."""
    try:
        done = subprocess.run(["git", "ls-files", "-z", "--", folder], cwd=ROOT, capture_output=True, check=True)
        paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in sorted((ROOT / folder).rglob("*")) if "__pycache__" not in path.parts]
    return [path for path in paths if path.is_file()]


def cmake_list(text: str, name: str) -> List[str]:
    """The values of `set(NAME ...)`, with variables for the module's name expanded and comments removed."""
    text = re.sub(r"#[^\n]*", "", text)
    match = re.search(rf"set\(\s*{name}\b([^)]*)\)", text)
    assert match, f"set({name} ...) is missing"
    values = re.findall(r'"([^"]*)"|(\S+)', match.group(1))
    return [(quoted or bare).replace("${MODULE_NAME}", NAME) for quoted, bare in values]


@pytest.fixture(scope="module")
def extension() -> Dict[str, str]:
    """EXTENSION_* of the extension's CMakeLists, read as by the Extensions Index: from one line each."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"\n]*)"\)$', text, re.MULTILINE))


@pytest.fixture(scope="module")
def entry() -> Dict[str, object]:
    return json.loads((ROOT / f"{NAME}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def classic_entry() -> Dict[str, str]:
    lines = (ROOT / f"{NAME}.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return {keyword: value.strip() for keyword, _, value in pairs}


@pytest.fixture(scope="module")
def module_lists() -> Dict[str, List[str]]:
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    return {kind: cmake_list(text, f"MODULE_PYTHON_{kind}") for kind in ("SCRIPTS", "RESOURCES")}


def files_of_the_module() -> Set[str]:
    return {path.relative_to(MODULE).as_posix() for path in tracked(NAME)} - {"CMakeLists.txt"}


def test_cmake_installs_every_python_file_by_name(module_lists):
    assert set(module_lists["SCRIPTS"]) == {name for name in files_of_the_module() if name.endswith(".py")}


def test_cmake_installs_every_other_file_by_name(module_lists):
    assert set(module_lists["RESOURCES"]) == {name for name in files_of_the_module() if not name.endswith(".py")}


def test_cmake_names_no_file_twice_and_none_in_another_folder(module_lists):
    names = [*module_lists["SCRIPTS"], *module_lists["RESOURCES"]]
    assert len(names) == len(set(names))
    # CMake would copy an absolute or upward path to a place where the code does not look for it.
    assert not [name for name in names if name.startswith(("/", "$")) or ".." in name]


def test_the_weights_are_installed_where_the_core_looks_for_them(module_lists):
    from lvnet.checkpoint import BUNDLED_WEIGHTS

    assert set(module_lists["RESOURCES"]) >= WEIGHTS
    assert BUNDLED_WEIGHTS.relative_to(MODULE).as_posix() in WEIGHTS


def test_the_wheel_takes_the_weights_along():
    """setuptools takes them from the package's own folder, from which CMake takes them too."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'\[tool\.setuptools\.package-data\]\nlvnet = \[[^\]]*"weights/\*"', text)


def test_the_module_is_built_and_its_self_test_registered():
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    assert cmake_list(text, "MODULE_NAME") == [NAME]
    assert re.search(r"slicerMacroBuildScriptedModule\(\s*NAME \$\{MODULE_NAME\}", text)
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in text
    assert f"add_subdirectory({NAME})" in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def test_the_extension_is_called_what_its_first_project_is_called(extension):
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"^project\((\w+)", text, re.MULTILINE)[0] == NAME
    assert not NAME.lower().startswith("slicer")
    needed = {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"}
    assert set(extension) == needed


def test_the_catalogue_entry_has_the_fields_of_its_schema(entry):
    kinds = {
        "$schema": str,
        "build_dependencies": list,
        "build_subdirectory": str,
        "category": str,
        "scm_revision": str,
        "scm_url": str,
        "tier": int,
    }
    assert {name: type(value) for name, value in entry.items()} == kinds
    assert entry["$schema"] == SCHEMA
    assert 1 <= entry["tier"] <= 5
    assert b"\r" not in (ROOT / f"{NAME}.json").read_bytes()


def test_both_catalogue_entries_and_cmake_agree(entry, classic_entry, extension):
    assert classic_entry["scm"] == "git"
    assert classic_entry["scmurl"] == entry["scm_url"] == extension["HOMEPAGE"] == classic_entry["homepage"] == ADDRESS
    assert classic_entry["scmrevision"] == entry["scm_revision"]
    assert classic_entry["category"] == entry["category"]
    assert classic_entry["build_subdirectory"] == entry["build_subdirectory"]
    assert (
        classic_entry["depends"].split() == entry["build_dependencies"] == extension["DEPENDS"].split() == ["PyTorch"]
    )
    for keyword in ("contributors", "description", "iconurl", "screenshoturls"):
        assert classic_entry[keyword] == extension[keyword.upper()]
    assert classic_entry["enabled"] == "1"


def test_pictures_that_the_catalogue_shows_are_in_the_repository_as_png(extension):
    for url in [extension["ICONURL"], *extension["SCREENSHOTURLS"].split()]:
        assert url.startswith(f"{RAW_ADDRESS}/")
        assert png_size(ROOT / url[len(RAW_ADDRESS) + 1 :])


def test_the_icons_are_square_and_see_through():
    assert png_size(ROOT / "Resources" / f"{NAME}.png") == (128, 128, "RGBA")
    assert png_size(MODULE / "Resources" / "Icons" / f"{NAME}.png") == (64, 64, "RGBA")


def png_size(path: Path) -> tuple:
    head = path.read_bytes()[:26]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is no PNG"
    width, height, _, colour = struct.unpack(">IIBB", head[16:26])
    return width, height, {2: "RGB", 6: "RGBA"}.get(colour)


def test_the_icons_source_holds_nothing_but_a_drawing():
    text = re.sub(r"<!--.*?-->", "", (ROOT / "Resources" / f"{NAME}.svg").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"<script|<foreignObject|<image|<use|href|\bon\w+\s*=|url\(|@import", text, re.IGNORECASE)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_repository_has_one_address_wherever_it_stands():
    for path in tracked():
        if path.suffix not in TEXT_SUFFIXES or path == Path(__file__):
            continue
        for found in re.findall(r"https?://[\w.-]*github[\w.-]*/[\w./-]+", path.read_text("utf-8", errors="replace")):
            if "lvnet" in found.lower():
                prefix = RAW_ADDRESS if found.startswith(RAW_ADDRESS) else ADDRESS
                assert found.startswith(prefix), f"{path.relative_to(ROOT)}: {found}"
                assert found[len(prefix) : len(prefix) + 1] in ("", "/", "."), f"{path.relative_to(ROOT)}: {found}"


@pytest.mark.parametrize(
    "name",
    ["CMakeLists.txt", f"{NAME}.s4ext", f"{NAME}.json", "CITATION.cff", "README.md", "pyproject.toml"]
    + [f"{NAME}/{NAME}.py"],
)
def test_the_address_stands_in_every_file_that_needs_it(name):
    path = ROOT / name
    if name == "README.md" and not path.exists():
        pytest.skip("there is no README.md yet")
    assert ADDRESS in path.read_text(encoding="utf-8")


def test_the_version_is_the_same_wherever_it_stands():
    from lvnet import __version__

    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)[0] == __version__
    assert re.findall(r"^version: (\S+)$", citation, re.MULTILINE) == [__version__]
    stated = re.findall(r'^version = "([^"]+)"', project, re.MULTILINE)
    assert stated == [__version__] or 'version = { attr = "lvnet._version.__version__" }' in project


def test_the_licence_is_the_whole_apache_licence():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "license: Apache-2.0" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_panel_binds_only_parameters_that_the_module_has():
    panel = (MODULE / "Resources" / "UI" / f"{NAME}.ui").read_text(encoding="utf-8")
    module = (MODULE / f"{NAME}.py").read_text(encoding="utf-8")
    bound = re.findall(r'name="SlicerParameterName"[^>]*>\s*<string[^>]*>(\w+)<', panel)
    assert {"inputVolume", "outputSegmentation", "referenceNode", "metricsTable", "overlap"} <= set(bound)
    assert len(bound) == len(set(bound))
    parameters = (MODULE / f"{NAME}Lib" / "parameters.py").read_text(encoding="utf-8")
    for name in bound:
        assert re.search(rf"^    {name}: ", parameters, re.MULTILINE)
    widgets = set(re.findall(r'<widget class="\w+" name="(\w+)"', panel))
    sections = [path.read_text(encoding="utf-8") for path in sorted((MODULE / f"{NAME}Lib" / "panel").glob("*.py"))]
    used = {name for text in [module, *sections] for name in re.findall(r"\bui\.(\w+)", text)}
    assert used
    assert used <= widgets
