"""Installation of Numba with Slicer's pip: NumPy stays unchanged, and every failure gives a one-line message."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
import types

import pytest
from lvnet.errors import DependencyError
from LVNetSegmentationLib import numbainstall


class Machine:
    """Simulates a Slicer and its pip.

    Attributes:
        versions: versions of the installed packages.
        pip: called when something is to be installed.
        asked: the arguments of each call.
    """

    def __init__(self):
        self.versions = {"numpy": "1.26.4"}
        self.pip = self.install
        self.asked = []

    def install(self):
        self.versions["numba"] = "0.60.0"

    def pip_install(self, requirements):
        # Slicer 5.8 checks the exact type.
        assert type(requirements) is list
        self.asked.append(requirements)
        self.pip()

    def find_spec(self, name):
        return types.SimpleNamespace() if name in self.versions else None

    def version(self, name):
        if name not in self.versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.versions[name]


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    stand_in = types.SimpleNamespace(
        invalidate_caches=importlib.invalidate_caches,
        util=types.SimpleNamespace(find_spec=made.find_spec),
        metadata=types.SimpleNamespace(
            version=made.version, PackageNotFoundError=importlib.metadata.PackageNotFoundError
        ),
    )
    monkeypatch.setattr(numbainstall, "importlib", stand_in)
    slicer = types.ModuleType("slicer")
    slicer.util = types.SimpleNamespace(pip_install=made.pip_install)
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    return made


@pytest.mark.parametrize("numpy", ["1.26.4", "2.0.2", "2.4.6"])
def test_pip_may_neither_replace_numpy_nor_build_anything(machine, numpy):
    machine.versions["numpy"] = numpy
    assert numbainstall.numbaIsMissing()
    numbainstall.installNumba()
    assert machine.asked == [["--only-binary=:all:", "numba>=0.60", f"numpy=={numpy}"]]
    assert not numbainstall.numbaIsMissing()
    assert numbainstall.numbaVersion() == "0.60.0"


def test_what_is_installed_is_not_installed_again(machine):
    machine.install()
    numbainstall.installNumba()
    assert machine.asked == []


def test_without_a_known_numpy_pip_is_not_asked_at_all(machine):
    del machine.versions["numpy"]
    with pytest.raises(DependencyError, match="the version of NumPy is not known"):
        numbainstall.installNumba()
    assert machine.asked == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (subprocess.CalledProcessError(1, ["/home/somebody/Slicer/PythonSlicer"]), "pip ended with code 1"),
        (RuntimeError("PythonSlicer executable not found\nmany\nlines"), "PythonSlicer executable not found"),
        (OSError(), "OSError"),
    ],
    ids=["pip", "Slicer", "silent"],
)
def test_an_installation_that_fails_is_one_line_that_names_no_folder(machine, error, reason):
    def fail():
        raise error

    machine.pip = fail
    with pytest.raises(DependencyError) as caught:
        numbainstall.installNumba()
    line = str(caught.value)
    assert f"could not be installed ({reason}); everything works as before" in line
    assert "\n" not in line and "somebody" not in line


def test_an_installation_that_leaves_nothing_behind_asks_for_a_restart(machine):
    machine.pip = lambda: None
    with pytest.raises(DependencyError, match="restart 3D Slicer"):
        numbainstall.installNumba()


@pytest.mark.parametrize(("platform", "least", "most"), [("linux", 48, 64), ("win32", 31, 45), ("aix", 48, 64)])
def test_the_size_of_the_download_is_stated_for_every_system(monkeypatch, platform, least, most):
    monkeypatch.setattr(sys, "platform", platform)
    sizes = set()
    for python in ((3, 9), (3, 12)):
        monkeypatch.setattr(sys, "version_info", python)
        sizes.add(numbainstall.downloadSize())
    assert sizes == {least, most}
