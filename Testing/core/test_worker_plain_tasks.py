"""Evaluation and the phantom in the worker: same numbers and voxels as in this process, without PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lvnet.errors import Cancelled, ConfigurationError, LVNetError
from lvnet.evaluation import evaluate
from lvnet.phantom import make_phantom
from lvnet.volume import Volume
from lvnet.worker.exchange import LABEL_FILE, PREDICTION_FILE, REFERENCE_FILE, SCAN_FILE, map_array, write_array
from lvnet.worker.handing import handed_over
from lvnet.worker.messages.place import Place
from lvnet.worker.messages.requests import PhantomRequest, request_of
from lvnet.worker.plain_tasks import compare_task, phantom_task


def silent(share: float, stage: str) -> None:
    pass


def never() -> bool:
    return False


@pytest.fixture
def pair(tmp_path):
    """Two masks on different grids, as files in a folder, and the request to compare them."""
    rng = np.random.default_rng(5)
    one = Volume((rng.random((20, 24, 26)) > 0.4).astype(np.uint8), (3.0, 2.0, 2.0), (1.0, 2.0, 3.0))
    other = Volume((rng.random((20, 24, 26)) > 0.5).astype(np.uint8), (3.0, 2.0, 2.0), (1.7, 2.0, 3.0))
    request = {"do": "compare", "id": 1, "folder": str(tmp_path), "preset": "lits", "resample": True}
    for volume, file, prefix in ((one, PREDICTION_FILE, ""), (other, REFERENCE_FILE, "reference_")):
        write_array(tmp_path / file, volume.array, volume.shape, volume.array.dtype)
        request.update(Place.of(volume).to_fields(prefix))
    return one, other, request


def test_a_comparison_gives_what_the_core_gives(pair):
    one, other, request = pair
    found = compare_task(request_of(request), silent, never).metrics
    expected = evaluate(one, other, preset="lits", resample=True)
    assert {key: value for key, value in found.items() if key != "notes"} == {
        key: value for key, value in expected.items() if key != "notes"
    }
    assert len(found["notes"]) == len(expected["notes"]) > 0


def test_what_cannot_be_compared_is_an_error_of_one_line(pair):
    request = {**pair[2], "resample": False}
    with pytest.raises(LVNetError) as caught:
        compare_task(request_of(request), silent, never)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [{"preset": ""}, {"reference_spacing": [1, 1]}, {"folder": "relative"}, {"resample": "yes"}, {"origin": None}],
)
def test_a_request_that_makes_no_sense_is_refused(pair, change):
    with pytest.raises(ConfigurationError):
        request_of({**pair[2], **change})


def test_a_half_written_mask_is_refused(pair):
    path = Path(pair[2]["folder"]) / REFERENCE_FILE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(LVNetError, match="not handed over completely"):
        compare_task(request_of(pair[2]), silent, never)


def test_the_phantom_is_the_one_that_the_core_makes(tmp_path, monkeypatch):
    small = {"size": (10, 24, 24), "spacing": (20.0, 18.0, 18.0)}
    monkeypatch.setattr("lvnet.phantom.make_phantom", lambda seed, **rest: make_phantom(seed, **small, **rest))
    request = {"do": "phantom", "id": 1, "folder": str(tmp_path), "seed": 7}
    place = phantom_task(request_of(request), silent, never).place
    scan, label = make_phantom(7, **small)
    assert np.array_equal(map_array(tmp_path / LABEL_FILE), label.array)
    volume = handed_over(tmp_path, SCAN_FILE, place, "the phantom")
    assert np.array_equal(volume.array, scan.array)
    assert volume.same_grid(scan)


def test_a_phantom_can_be_cancelled(tmp_path):
    with pytest.raises(Cancelled):
        phantom_task(PhantomRequest(str(tmp_path), 7), silent, lambda: True)


@pytest.mark.parametrize("seed", [-1, 2**40, "7", True, None])
def test_a_seed_that_is_none_is_refused(tmp_path, seed):
    with pytest.raises(ConfigurationError):
        request_of({"do": "phantom", "folder": str(tmp_path), "seed": seed})
