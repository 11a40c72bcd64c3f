"""Runs the module's own self-test, which a real Slicer runs too."""

from __future__ import annotations


def test_the_self_test_of_the_module_passes(slicer, module):
    slicer.messages.clear()
    module.LVNetSegmentationTest().runTest()
    texts = [message for message in slicer.messages if isinstance(message, str)]
    assert texts[-1] == "Test passed"
    assert not [text for text in texts if "Not run" in text]
    assert sum(text.startswith("test_") for text in texts) == 3
    slicer.mrmlScene.Clear(0)
