"""Fixtures for the tests of the worker and of bad input; validates every DICOM object that a test writes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from corpus.checking import make_place, removed_afterwards
from dciodvfy import TOOL, validate_what_is_saved

_specification = importlib.util.spec_from_file_location("worker_tools", Path(__file__).with_name("worker_tools.py"))
worker_tools = importlib.util.module_from_spec(_specification)
sys.modules.setdefault("worker_tools", worker_tools)
_specification.loader.exec_module(worker_tools)


@pytest.fixture(autouse=True)
def valid_objects(monkeypatch):
    """Fails the test if it writes an invalid DICOM SEG or SR; does nothing without dciodvfy (see test_dicom_seg)."""
    if TOOL is not None:
        validate_what_is_saved(monkeypatch)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> str:
    return worker_tools.save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def log_folder(tmp_path, monkeypatch):
    folder = tmp_path / "logs"
    monkeypatch.setenv("LVNET_LOG_DIR", str(folder))
    return folder


@pytest.fixture
def temporary_folder(tmp_path):
    folder = tmp_path / "exchange"
    folder.mkdir()
    return folder


@pytest.fixture
def service(log_folder, temporary_folder):
    """A service whose worker, folders and processes are removed after the test."""
    from lvnet.worker.client.service import Service

    made = Service(folder=lambda: temporary_folder)
    yield made
    made.shutdown()
    assert list(temporary_folder.iterdir()) == []


@pytest.fixture
def folder(request):
    """The folder in which a case of the corpus is created."""
    yield from removed_afterwards(make_place(large="slow" in request.keywords))


@pytest.fixture
def results(request):
    """The folder for the results."""
    yield from removed_afterwards(make_place(large="slow" in request.keywords))


@pytest.fixture
def everything_is_liver(monkeypatch):
    """Makes every loaded network label every voxel as liver."""
    torch = pytest.importorskip("torch")
    from lvnet.inference import Model
    from lvnet.pipeline import scan
    from lvnet.recipe import Recipe

    class Everything(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x * 0, x * 0 + 9], dim=1)

    model = Model(Everything().eval(), Recipe(), torch.device("cpu"), "for a test")
    monkeypatch.setattr(scan, "load_model", lambda *_: model)
