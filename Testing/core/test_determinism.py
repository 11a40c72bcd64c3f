"""The same scan gives the same result: bit for bit with equal threads, almost so with other thread counts and paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lvnet.acceleration.switch import SWITCH
from lvnet.inference import load_model
from lvnet.phantom import make_phantom
from lvnet.pipeline.python import segment
from lvnet.volume import Volume


@pytest.fixture(scope="module")
def scan():
    """Some slices through the liver: one or two slabs for the network."""
    whole, liver = make_phantom(9001, size=(32, 80, 80))
    middle = int(np.argmax(liver.array.sum(axis=(1, 2))))
    return Volume(np.ascontiguousarray(whole.array[max(0, middle - 3) : middle + 3]), whole.spacing)


@pytest.fixture
def run(scan):
    """Segments with a model and the given number of threads."""
    before = torch.get_num_threads()

    def segmented(model, threads):
        torch.set_num_threads(threads)
        return segment(scan, model=model, overlap=0.25, probabilities=True)

    yield segmented
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fast():
    return load_model(device="cpu")


def dice(one, other):
    a, b = one.labels.array > 0, other.labels.array > 0
    assert a.any()
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_the_same_scan_gives_the_same_bits(run, fast):
    for threads in (1, 2):
        one, other = run(fast, threads), run(fast, threads)
        assert np.array_equal(one.labels.array, other.labels.array)
        assert np.array_equal(one.probabilities.array, other.probabilities.array)


def test_other_numbers_of_threads_give_the_same_labels(run, fast):
    one = run(fast, 1)
    assert dice(one, run(fast, 2)) >= 0.9999 and dice(one, run(fast, 4)) >= 0.9999


def test_the_plain_path_gives_the_same_labels_as_the_fast_one(run, fast, monkeypatch):
    monkeypatch.setenv(SWITCH, "off")
    plain = load_model(device="cpu")
    assert plain.fast is plain.network and fast.fast is not fast.network
    assert dice(run(fast, 1), run(plain, 1)) >= 0.999
