"""How an IRB block is divided on a processor: chosen by time, kept, and without effect on results."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lvnet.acceleration.cpu_inference import tiling
from lvnet.acceleration.cpu_inference.fused_block import FusedIRB, measurement
from lvnet.acceleration.folding import FoldedIRB
from lvnet.acceleration.kernels.processor import register_lanes

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def nothing_chosen_yet():
    tiling.tiling.cache_clear()
    yield
    tiling.tiling.cache_clear()


class Measured(list):
    """A measurement by which the third choice takes half as long as the others; lists what it measured."""

    def __call__(self, lanes):
        def seconds(choice):
            self.append(choice)
            return 0.5 if choice == tiling.CHOICES[2] else 1.0

        return seconds

    __hash__ = object.__hash__


@pytest.fixture
def measured():
    return Measured()


@pytest.mark.parametrize("few_results", [False, True])
def test_results_do_not_depend_on_how_a_block_is_divided(few_results):
    random = np.random.default_rng(1)
    channels, wide, results = 32, 128, 2 if few_results else 32
    block = FoldedIRB(
        expand=(random.normal(size=(wide, channels)) / 5, random.normal(size=wide)),
        depthwise=(random.normal(size=(wide, 5, 5, 5)) / 11, random.normal(size=wide)),
        project=(random.normal(size=(results, wide)) / 11, random.normal(size=results)),
        residual=random.normal(size=(results, channels)) if few_results else None,
    )
    x = torch.randn(4, 37, 75, channels)
    found = []
    for choice in tiling.CHOICES:
        for threads in (1, 2):
            out = torch.empty(*x.shape[:3], results)
            FusedIRB(block, division=choice)(x, out, threads)
            found.append(out)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_the_fastest_is_chosen_once_and_kept(measured, monkeypatch, tmp_path):
    monkeypatch.setenv("LVNET_KERNEL_CACHE", str(tmp_path))
    lanes = register_lanes()
    assert tiling.tiling(lanes, measured) == tiling.CHOICES[2]
    assert len(measured) == 3 * len(tiling.CHOICES)
    tiling.tiling.cache_clear()
    assert tiling.tiling(lanes, measured) == tiling.CHOICES[2]
    assert len(measured) == 3 * len(tiling.CHOICES)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"choice": 9}', '{"choice": true}', '{"choice": 1.0}', "x" * 5000])
def test_a_damaged_file_is_measured_anew(measured, monkeypatch, tmp_path, text):
    monkeypatch.setenv("LVNET_KERNEL_CACHE", str(tmp_path))
    tiling._path(register_lanes()).write_text(text)
    assert tiling.tiling(register_lanes(), measured) == tiling.CHOICES[2]
    assert measured
    tiling.tiling.cache_clear()
    measured.clear()
    assert tiling.tiling(register_lanes(), measured) == tiling.CHOICES[2]
    assert not measured


def test_without_a_cache_nothing_is_measured(measured, monkeypatch):
    monkeypatch.setenv("LVNET_KERNEL_CACHE", "off")
    assert tiling.tiling(register_lanes(), measured) == tiling.CHOICES[0]
    assert not measured


def test_a_small_difference_does_not_count():
    order = {choice: 1 - 0.02 * i for i, choice in enumerate(tiling.CHOICES)}
    assert tiling.fastest(order.__getitem__) == 0


def test_the_real_measurement_takes_less_than_a_few_seconds_and_gives_a_listed_choice():
    assert 0 <= tiling.fastest(measurement(register_lanes()), rounds=1) < len(tiling.CHOICES)
