"""Python functions that the product gets from the stand-in or slicer-core have the parameters of Slicer's."""

from __future__ import annotations

import ast
import inspect
import sys

from slicer_windows.pythonqt import api_entries


def test_every_listed_function_takes_what_slicers_takes(slicer):
    """Names, order and default values of parameters, as the sources of both versions have them."""
    checked = []
    for entry in api_entries():
        function = stand_in_of(entry.owner, entry.name) if entry.kind == "function" else None
        if function is None:
            continue
        for evidence in (entry.in_5_8, entry.in_5_12):
            assert own_parameters(function) == declared_parameters(evidence), (entry.owner, entry.name)
            checked.append(entry.owner)
    assert len(checked) >= 62
    assert {"slicer.util", "slicer.i18n", "slicer.parameterNodeWrapper", "SampleDataSource"} <= set(checked)


def declared_parameters(evidence: str) -> list:
    """Name and default value of each parameter in a line of source text, without `**kwargs`."""
    (definition,) = ast.parse(f"{evidence[evidence.index('def ') :]}: pass").body
    names = [argument.arg for argument in definition.args.args]
    defaults = [ast.literal_eval(default) for default in definition.args.defaults]
    return list(zip(names, [inspect.Parameter.empty] * (len(names) - len(defaults)) + defaults))


def own_parameters(function) -> list:
    """Name and default value of each parameter of a function; a parameter that takes no keyword counts as nameless."""
    found = inspect.signature(function).parameters.values()
    return [(p.name if p.kind is p.POSITIONAL_OR_KEYWORD else "", p.default) for p in found]


def stand_in_of(owner: str, name: str):
    """The function that the product gets here, whether it is the stand-in's or one of slicer-core."""
    import slicer.ScriptedLoadableModule as base

    if owner == "parameterNodeWrapper class":
        from LVNetSegmentationLib.parameters import LVNetSegmentationParameterNode as holder
    elif owner == "ScriptedLoadableModule*":
        # Slicer's runTest is that of the module, which starts the test's own; here, only the latter exists.
        if name == "runTest":
            return None
        holder = next(kind for kind in vars(base).values() if isinstance(kind, type) and name in vars(kind))
    else:
        places = [sys.modules[place] for place in ("SampleData", "slicer.util", "slicer.parameterNodeWrapper")]
        kind = owner.rpartition(".")[2]
        found = (getattr(place, kind) for place in (base, *places) if hasattr(place, kind))
        holder = sys.modules.get(owner) or next(found)
    return getattr(holder, name)


def test_each_layer_of_the_slice_views_is_set_by_its_place(slicer):
    scene = slicer.mrmlScene
    view = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    first, second = (scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode") for _ in range(2))
    slicer.util.setSliceViewerLayers(first, second)
    slicer.util.setSliceViewerLayers(label=second.GetID())
    assert view.GetBackgroundVolumeID() == first.GetID()
    assert view.GetForegroundVolumeID() == view.GetLabelVolumeID() == second.GetID()
    scene.Clear(0)


def test_the_decorator_of_parameters_may_have_parentheses(slicer):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    @parameterNodeWrapper()
    class Parameters:
        count: int

    assert list(Parameters.allParameters) == ["count"]
