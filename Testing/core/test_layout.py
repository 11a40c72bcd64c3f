"""Import rules of the packages, the cost of importing them, and forbidden constructs in shipped code."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Set

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "LVNetSegmentation"
SOURCES = {"lvnet": MODULE, "LVNetSegmentationLib": MODULE, "lvnet_training": ROOT / "training"}

CORE_MAY_IMPORT = {"numpy", "scipy", "SimpleITK", "torch"}
#: Optional acceleration packages, allowed only below this prefix.
ACCELERATION_MAY_IMPORT = CORE_MAY_IMPORT | {"numba", "llvmlite", "triton"}  # llvmlite is part of Numba
#: DICOM SEG and RTSTRUCT, an optional extra: only in their own files, and imported only when needed.
DICOM_SEG_MAY_IMPORT = CORE_MAY_IMPORT | {"highdicom", "pydicom", "skimage"}
DICOM_SEG_FILES = ("dicom_codes", "dicom_seg", "dicom_sr", "dicom_objects", "rtstruct")
NEVER_IMPORTED = {
    "pickle": "no pickle anywhere",
    "cPickle": "no pickle anywhere",
    "_pickle": "no pickle anywhere",
    "dill": "no pickle anywhere",
    "joblib": "no pickle anywhere",
    "shelve": "no pickle anywhere",
    "marshal": "no pickle anywhere",
    "imp": "gone in Python 3.12",
    "distutils": "gone in Python 3.12",
    "socket": "no network",
    "ssl": "no network",
    "http": "no network",
    "urllib": "no network",
    "ftplib": "no network",
    "requests": "no network",
}


class Import(NamedTuple):
    """One imported module, under its absolute name."""

    name: str
    line: int
    at_import_time: bool
    for_types_only: bool


def modules_of(package: str) -> Dict[str, Path]:
    """Dotted names and files of a package, or of a single module."""
    folder = SOURCES[package]
    found = {}
    for path in sorted((folder / package).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def shipped() -> Dict[str, Path]:
    found = {"LVNetSegmentation": MODULE / "LVNetSegmentation.py"}
    for package in SOURCES:
        found.update(modules_of(package))
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(module: str, path: Path, known: Set[str]) -> Iterator[Import]:
    """Every import of a file; `from package import name` is `package.name` if that is a module."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def walk(node: ast.AST, at_import_time: bool, for_types_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_import_time, for_types_only)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    above = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*above, *([child.module] if child.module else [])])
                for alias in child.names:
                    full = f"{base}.{alias.name}"
                    yield Import(full if full in known else base, child.lineno, at_import_time, for_types_only)
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                yield from walk(child, False, for_types_only)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                yield from walk(child, at_import_time, True)
            else:
                yield from walk(child, at_import_time, for_types_only)

    yield from walk(parse(path), True, False)


def offences(package_or_module: Dict[str, Path], allowed: Set[str]) -> List[str]:
    known = set(shipped())
    return [
        f"{path.relative_to(ROOT)}:{entry.line} imports {entry.name}"
        for module, path in package_or_module.items()
        for entry in imports_of(module, path, known)
        if entry.name.partition(".")[0] not in allowed | set(sys.stdlib_module_names)
    ]


def test_the_core_imports_only_what_slicer_has_and_torch():
    core = {name: path for name, path in modules_of("lvnet").items() if not name.startswith("lvnet.acceleration")}
    assert "lvnet.inference" in core
    seg = {name: core.pop(name) for name in [f"lvnet.image_io.{file}" for file in DICOM_SEG_FILES]}
    assert offences(core, CORE_MAY_IMPORT | {"lvnet"}) == []
    assert offences(seg, DICOM_SEG_MAY_IMPORT | {"lvnet"}) == []
    eager = [i.name for entry in seg.items() for i in imports_of(*entry, set()) if i.at_import_time]
    assert not [name for name in eager if name.partition(".")[0] in ("highdicom", "pydicom", "skimage")]


def test_only_the_acceleration_of_the_core_may_use_numba_or_triton():
    fast = {name: path for name, path in modules_of("lvnet").items() if name.startswith("lvnet.acceleration")}
    assert fast
    assert offences(fast, ACCELERATION_MAY_IMPORT | {"lvnet"}) == []


def test_the_network_knows_nothing_of_what_makes_it_faster():
    known = set(shipped())
    names = {entry.name for entry in imports_of("lvnet.network", MODULE / "lvnet" / "network.py", known)}
    assert "lvnet.errors" in names
    assert not [name for name in names if name.startswith("lvnet.acceleration")]


def test_the_rooms_of_the_acceleration_lean_on_what_they_share_and_not_on_each_other():
    known, home = set(shipped()), "lvnet.acceleration"
    may = {
        "cpu_inference": {"cpu_inference", "kernels", "layout"},
        "cpu_training": {"cpu_training", "kernels", "layout"},
        "gpu": {"gpu"},
        "kernels": {"kernels", "layout"},
        "layout": {"layout", "kernels"},  # for types only
    }
    for room, allowed in may.items():
        modules = {name: path for name, path in modules_of("lvnet").items() if name.startswith(f"{home}.{room}")}
        assert len(modules) > 1
        for module, path in modules.items():
            for entry in imports_of(module, path, known):
                other = entry.name.removeprefix(f"{home}.").partition(".")[0] if entry.name.startswith(home) else ""
                assert other not in set(may) - allowed, (module, entry.name)


def test_what_faces_slicer_imports_slicer_and_the_core_only():
    slicer_has = {"slicer", "vtk", "qt", "ctk", "numpy", "lvnet", "LVNetSegmentationLib"}
    assert offences(modules_of("LVNetSegmentationLib"), slicer_has) == []
    # Sample Data is a module of Slicer.
    assert offences({"LVNetSegmentation": MODULE / "LVNetSegmentation.py"}, slicer_has | {"SampleData"}) == []


def test_the_training_package_stands_on_the_core_and_not_on_slicer():
    known = set(shipped())
    for module, path in modules_of("lvnet_training").items():
        tops = {entry.name.partition(".")[0] for entry in imports_of(module, path, known)}
        assert not tops & {"slicer", "qt", "ctk", "vtk", "LVNetSegmentation", "LVNetSegmentationLib"}, path


def test_torch_is_never_imported_when_slicer_loads_the_module():
    """Slicer loads every module at its start, when PyTorch may be absent, broken or slow to import."""
    facing = {"LVNetSegmentation": MODULE / "LVNetSegmentation.py", **modules_of("LVNetSegmentationLib")}
    known = set(shipped())
    for module, path in facing.items():
        for entry in imports_of(module, path, known):
            assert not (entry.at_import_time and entry.name.partition(".")[0] == "torch"), (path, entry.line)
    panel = imports_of("LVNetSegmentation", facing["LVNetSegmentation"], known)
    assert not [entry for entry in panel if entry.at_import_time and entry.name.startswith("lvnet")]


def test_only_the_command_line_knows_argparse():
    known = set(shipped())
    users = {
        module
        for module, path in {**modules_of("lvnet"), **modules_of("LVNetSegmentationLib")}.items()
        for entry in imports_of(module, path, known)
        if entry.name == "argparse"
    }
    assert users
    assert {name for name in users if not name.startswith("lvnet.cli")} == set()


def test_nothing_in_the_core_stands_on_the_command_line():
    known = set(shipped())
    for module, path in modules_of("lvnet").items():
        if module.startswith("lvnet.cli") or module == "lvnet.__main__":
            continue
        names = {entry.name for entry in imports_of(module, path, known)}
        assert not {name for name in names if name.startswith("lvnet.cli")}, path


@pytest.mark.parametrize("package", sorted(SOURCES))
def test_no_two_modules_import_each_other_even_by_a_detour(package):
    modules = modules_of(package)
    graph = {
        module: {
            entry.name
            for entry in imports_of(module, path, set(modules))
            if entry.name in modules and not entry.for_types_only and entry.name != module
        }
        for module, path in modules.items()
    }
    # Raises graphlib.CycleError, which names the modules.
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(modules)


def test_shipped_code_neither_unpickles_nor_evaluates_nor_starts_shells_nor_goes_online():
    known = set(shipped())
    found = []
    for module, path in shipped().items():
        place = path.relative_to(ROOT)
        for entry in imports_of(module, path, known):
            reason = NEVER_IMPORTED.get(entry.name.partition(".")[0])
            if reason:
                found.append(f"{place}:{entry.line} imports {entry.name}: {reason}")
        found += [f"{place}:{line} {what}" for line, what in forbidden_calls(parse(path))]
    assert found == []


def forbidden_calls(tree: ast.Module) -> Iterator[tuple]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name in ("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"):
            yield node.lineno, f"calls {name}"
        if name.startswith("os.") and name.partition(".")[2].startswith(("system", "popen", "spawn", "exec")):
            yield node.lineno, f"calls {name}"
        if keywords.get("shell", "False") != "False":
            yield node.lineno, "starts a shell"
        if keywords.get("allow_pickle", "False") != "False":
            yield node.lineno, "allows pickle"
        if name == "torch.load" and keywords.get("weights_only") != "True":
            yield node.lineno, "unpickles with torch.load"


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "exec(code)",
        "os.system('ls')",
        "os.popen('ls')",
        "subprocess.run('ls', shell=True)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "__import__('os')",
    ],
)
def test_the_search_for_forbidden_calls_finds_them(text):
    assert list(forbidden_calls(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    ["network.eval()", "re.compile('a')", "subprocess.run(['ls'])", "torch.load(path, weights_only=True)"],
)
def test_the_search_for_forbidden_calls_lets_harmless_ones_pass(text):
    assert not list(forbidden_calls(ast.parse(text)))


def import_in_fresh_interpreter(statement: str) -> dict:
    script = (
        "import json, sys, time\n"
        # CPU time instead of wall-clock time: a busy machine must not fail this.
        "before = time.process_time()\n"
        f"{statement}\n"
        "seconds = time.process_time() - before\n"
        "print(json.dumps({'seconds': seconds, 'modules': sorted(sys.modules)}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(MODULE)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("statement", ["import lvnet", "import lvnet.metrics"])
def test_importing_needs_no_torch_and_less_than_half_a_second(statement):
    runs = [import_in_fresh_interpreter(statement) for _ in range(3)]
    for run in runs:
        assert not {"torch", "numba", "slicer", "qt"} & set(run["modules"])
    assert sorted(run["seconds"] for run in runs)[1] < 0.5


def test_importing_works_where_torch_is_not_installed():
    """None in sys.modules makes an import fail as if the package were absent."""
    import_in_fresh_interpreter("import sys; sys.modules['torch'] = None; import lvnet, lvnet.metrics, lvnet.cli")
