"""Installation of PyTorch through the PyTorch extension: every failure gives a one-line message with a remedy."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import types

import pytest
from lvnet.errors import DependencyError
from lvnet.worker.client import torch_errors
from LVNetSegmentationLib import dependencies


class Machine:
    """A Python with simulated torch and PyTorchUtils; nothing real is imported."""

    def __init__(self, torch=None, extension=None):
        self.torch = torch
        self.extension = extension
        self.asked = []

    def find_spec(self, name):
        assert name == "torch"
        return None if self.torch is None else types.SimpleNamespace()

    def version(self, name):
        """The version from the installed package's metadata, without an import."""
        assert name == "torch"
        if self.torch is None or not self.torch.__version__:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.torch.__version__

    def import_module(self, name):
        assert name == "PyTorchUtils", "PyTorch must not be imported into Slicer"
        if self.extension is None:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return self.extension

    def offer(self, result):
        """Adds an extension whose installation gives a torch, None (declined) or an error."""

        class PyTorchUtilsLogic:
            def installTorch(logic, askConfirmation=False, torchVersionRequirement=None):  # noqa: N802, N803, N805
                self.asked.append((askConfirmation, torchVersionRequirement))
                if isinstance(result, Exception):
                    raise result
                self.torch = result
                return result

        self.extension = types.SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic)


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    stand_in = types.SimpleNamespace(
        import_module=made.import_module,
        invalidate_caches=importlib.invalidate_caches,
        util=types.SimpleNamespace(find_spec=made.find_spec),
        metadata=types.SimpleNamespace(
            version=made.version, PackageNotFoundError=importlib.metadata.PackageNotFoundError
        ),
    )
    for module in (dependencies, torch_errors):
        monkeypatch.setattr(module, "importlib", stand_in)
    return made


def torch_of(version):
    return types.SimpleNamespace(__version__=version)


def test_an_installed_torch_is_taken_without_a_question(machine):
    machine.torch = torch_of("2.13.0+cpu")
    dependencies.ensureTorch()
    assert machine.asked == []


def test_a_missing_torch_is_installed_by_the_extension_after_asking(machine):
    torch = torch_of("2.1.0")
    machine.offer(torch)
    assert torch_errors.torch_is_missing()
    dependencies.ensureTorch()
    assert machine.torch is torch
    assert machine.asked == [(True, ">=2.1")]
    assert not torch_errors.torch_is_missing()


def test_a_missing_extension_is_named(machine):
    with pytest.raises(DependencyError, match="extension 'PyTorch' is missing; install it in the Extensions Manager"):
        dependencies.ensureTorch()


def test_a_user_who_declines_can_click_again(machine):
    machine.offer(None)
    with pytest.raises(DependencyError, match="click Apply again"):
        dependencies.ensureTorch()
    machine.offer(torch_of("2.5.1"))
    dependencies.ensureTorch()
    assert not torch_errors.torch_is_missing()


def test_an_installation_that_fails_is_one_line(machine):
    machine.offer(RuntimeError("Command returned non-zero exit status 1\nmany\nlines"))
    with pytest.raises(DependencyError) as caught:
        dependencies.ensureTorch()
    assert "non-zero exit status 1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_installation_that_leaves_nothing_behind_asks_for_a_restart(machine):
    class PyTorchUtilsLogic:
        def installTorch(self, **_options):  # noqa: N802
            return torch_of("2.5.1")

    machine.extension = types.SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic)
    with pytest.raises(DependencyError, match="restart 3D Slicer"):
        dependencies.ensureTorch()


def test_a_torch_without_a_version_is_left_to_the_worker(machine):
    machine.torch = torch_of("")
    dependencies.ensureTorch()


@pytest.mark.parametrize(
    "error", [torch_errors.missing_torch(), torch_errors.broken_torch("DLL load failed"), torch_errors.old_torch("1.9")]
)
def test_every_sentence_about_pytorch_says_what_to_do(error):
    assert "\n" not in str(error)
    assert "install" in str(error)


@pytest.mark.parametrize("version", ["1.13.1", "2.0.1+cu118"])
def test_a_torch_that_is_too_old_says_how_to_replace_it(machine, version):
    machine.torch = torch_of(version)
    with pytest.raises(DependencyError, match=r"too old, >=2.1 is needed; uninstall"):
        dependencies.ensureTorch()
