"""Every benchmark runs in its quick mode, whose timings are meaningless; and tests of their shared code."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def load(name):
    """Loads a module of this folder, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def harness():
    path = list(sys.path)
    sys.path.insert(0, str(HERE))
    yield load("harness")
    sys.path[:] = path


def quick(name, folder, *options):
    file = folder / f"{name}.json"
    command = [sys.executable, str(HERE / f"{name}.py"), "--quick", "--threads", "1", "--json", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(file.read_text())
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1, done.stdout
    assert result["quick"] and "quick" in done.stdout
    return result, rows


def test_networks_are_compared_each_at_its_best(tmp_path):
    result, rows = quick("network", tmp_path, "--networks", "lvnet", "lvnet-tiles", "vnet")
    assert result["left_out"] == {}
    assert result["ratios"]["vnet"] == result["seconds"]["vnet"] / result["seconds"]["lvnet"]
    assert result["parameters"] == {"lvnet": 1_663_026, "lvnet-tiles": 1_663_026, "vnet": 65_173_903}
    assert len(result["trials"]["vnet"]) == 2
    chosen = min(result["trials"]["vnet"].values())
    setting = result["best"]["vnet"]
    assert result["trials"]["vnet"][f"vnet, {setting['format']}, {setting['allocator']} allocator"] == chosen
    names = {row.split("|")[1].strip() for row in rows[2:]}
    assert names == {"LV-Net (ours)", "LV-Net (ours) without Numba", "V-Net"}


def test_the_time_of_a_slab_is_divided_among_its_parts(tmp_path):
    pytest.importorskip("numba", reason="the [fast] extra is not installed")
    result, rows = quick("slab_profile", tmp_path)
    assert 0 < sum(result["parts"].values()) <= result["whole"]
    blocks = [name for name in result["parts"] if name.startswith("IRB")]
    assert len(blocks) == 9 and set(result["work"]) == set(result["parts"])
    assert rows[-1].split("|")[3].strip() == "100 %"


def test_parts_of_a_slab_do_fewer_operations_than_the_network_is_written_with(tmp_path):
    pytest.importorskip("numba", reason="the [fast] extra is not installed")
    result, rows = quick("slab_profile", tmp_path, "--avx2")
    lanes, first = result["roofline"]["lanes"], result["work"]["IRB block, encoder 1"]
    assert lanes == 8
    assert first["operations"] == 16 * 32 * 32 * (2 * 4 * 16**2 + 125 * 4 * 16)
    assert first["bytes"] == 16 * 32 * 32 * 2 * 16 * 4
    assert 0.5 * first["operations"] < first["instructions"] * lanes < first["operations"]
    # Nothing can be faster than the processor's limit.
    assert 0 < float(rows[-1].split("|")[-2].strip(" %")) < 100


def test_reading_is_compared_with_simple_itk(tmp_path):
    result, rows = quick("reading", tmp_path)
    assert len(rows) == 2 + len(result["rows"]) == 10
    for name, row in result["rows"].items():
        assert row["same"] and not row["left_out"] and min(row["seconds"].values()) > 0, name


def test_our_patches_are_compared_with_those_of_monai(tmp_path):
    result, rows = quick("augmentation", tmp_path)
    assert result["left_out"] == {}
    assert result["ratio"] == result["seconds"]["MONAI"] / result["seconds"]["ours"] > 0
    assert len(rows) == 5


def test_a_training_step_is_compared_with_stock_pytorch(tmp_path):
    result, rows = quick("training_step", tmp_path)
    assert result["left_out"] == {}
    assert result["ratio"] == result["seconds"]["stock"] / result["seconds"]["ours"] > 0
    assert len(rows) == 4


def test_peak_memory_is_measured_in_inference_and_training(tmp_path):
    result, _ = quick("memory", tmp_path, "--networks", "lvnet-stock", "vnet")
    assert result["left_out"] == {}
    # V-Net's weights alone are 249 MiB; gradients and Adam's two moments bring that to four times as much.
    assert result["mib"]["vnet"]["inference"] > 249
    assert result["mib"]["vnet"]["training"] > 4 * 249
    assert 0 < result["mib"]["lvnet-stock"]["inference"] < result["mib"]["vnet"]["inference"]


def test_the_pipeline_is_timed_as_a_process_and_by_stage(tmp_path):
    result, _ = quick("pipeline", tmp_path)
    assert result["left_out"] == {}
    assert result["size"] == "64x64x24"
    assert abs(result["phantom"]["body"] - 0.6) < 0.06
    stages = list(result["stages"])
    assert stages[:2] == ["starting", "reading the scan"]
    assert stages.index("looking for the organ") < stages.index("preparing the scan") < stages.index("segmenting")
    assert "segmenting" in stages and stages[-1] == "writing"
    assert result["seconds"] > 0


def test_a_second_click_is_timed_by_stage_each_with_its_bar(harness, tmp_path):
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    result, rows = quick("worker_overhead", tmp_path)
    stages, bars = result["stages"], load("worker_overhead").BARS
    assert list(stages) == list(bars) and len(rows) == 2 + len(bars) + 3
    assert all(seconds > 0 for seconds in stages.values())
    # All stages together make up the whole click.
    assert sum(stages.values()) == pytest.approx(result["seconds"], rel=1e-6)
    over = [name for name, bar in bars.items() if stages[name] > bar]
    assert [name for name in result["over"] if name != "hold"] == over
    assert result["cold_seconds"] > 0 and 0 < result["longest_hold"] < result["seconds"]


def test_children_see_this_checkout_and_only_the_settings_of_their_own(harness, monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    monkeypatch.setenv("LVNET_ACCELERATION", "off")
    default = harness.environment(3)
    assert not [name for name in default if name.startswith("MALLOC_")] and "LVNET_ACCELERATION" not in default
    assert default["OMP_NUM_THREADS"] == default["NUMBA_NUM_THREADS"] == "3"
    assert default["PYTHONPATH"].split(os.pathsep)[0] == str(HERE.parents[1] / "LVNetSegmentation")
    tuned = harness.environment(3, "tuned", {"LVNET_ACCELERATION": "off"})
    assert tuned["MALLOC_MMAP_MAX_"] == "0" and tuned["LVNET_ACCELERATION"] == "off"


def test_a_configuration_that_fails_is_left_out_with_its_reason_and_the_rest_goes_on(harness):
    order = []

    def works():
        order.append("works")
        return {"seconds": [3.0, 1.0]}

    def fails():
        order.append("fails")
        raise harness.MeasurementError("no such package")

    found, failed = harness.in_turns({"works": works, "fails": fails}, 3)
    assert failed == {"fails": "no such package"}
    assert order == ["works", "fails", "works", "works"]
    assert harness.median(found["works"]) == 2.0 and harness.spread(found["works"]) == (1.0, 3.0)


def recorded(file):
    return json.loads(file.read_text())["measurements"]


def benchmark(harness, tmp_path, configurations, *arguments, rounds=2):
    """Runs a benchmark with these configurations to its end in this process."""
    file = tmp_path / "measured.json"

    def run(options):
        found, failed = harness.in_turns(configurations(file), rounds)
        if not found:
            raise harness.NothingMeasuredError(str(failed))
        return {"seconds": {name: harness.median(runs) for name, runs in found.items()}, "left_out": failed}

    def measure(task):
        """Never called."""

    measure.__module__ = __name__
    code = harness.main(__file__, measure, run, lambda parser: None, str, ["--json", str(file), *arguments])
    return code, json.loads(file.read_text()) if file.exists() else None


def test_every_measurement_is_in_the_file_as_soon_as_it_is_taken(harness, tmp_path):
    seen = []

    def configurations(file):
        def first():
            seen.append(recorded(file) if file.exists() else None)
            return {"seconds": 1.0}

        return {"first": first, "second": lambda: seen.append(recorded(file)) or {"seconds": 2.0}}

    code, result = benchmark(harness, tmp_path, configurations)
    one, two = [{"seconds": 1.0}], [{"seconds": 2.0}]
    assert seen == [None, {"first": one}, {"first": one, "second": two}, {"first": one * 2, "second": two}]
    assert code == 0 and result["finished"] and result["measurements"] == {"first": one * 2, "second": two * 2}
    assert [path.name for path in tmp_path.iterdir()] == ["measured.json"]


def test_ctrl_c_keeps_what_was_measured_and_makes_the_table_of_it(harness, tmp_path, capsys):
    def stop():
        raise KeyboardInterrupt

    code, result = benchmark(harness, tmp_path, lambda _: {"first": lambda: {"seconds": 1.0}, "second": stop})
    assert code == 130 and not result["finished"] and "Ctrl-C" in result["stopped"]
    assert result["measurements"] == {"first": [{"seconds": 1.0}]}
    assert result["seconds"] == {"first": 1.0} and "Ctrl-C" in result["left_out"]["second"]
    assert "'first': 1.0" in capsys.readouterr().out
    assert benchmark(harness, tmp_path, lambda _: {"first": stop})[0] == 130


def test_no_measurement_begins_that_would_end_after_the_time_that_was_given(harness, tmp_path, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(sys.modules["session"].time, "monotonic", lambda: now[0])

    def takes(seconds):
        def work():
            now[0] += seconds
            return {"seconds": seconds}

        return work

    configurations = {"short": takes(20.0), "long": takes(90.0)}
    code, result = benchmark(harness, tmp_path, lambda _: configurations, "--minutes", "4", rounds=9)
    # 20 + 90 + 20 + 90: a third long one would end after 330 s, and the third short one after 240 s.
    assert now[0] == 240.0 and [len(runs) for runs in result["measurements"].values()] == [3, 2]
    assert code == 0 and not result["finished"] and "4 minutes" in result["stopped"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "0:20 round 1 of 9: long" and "4 minutes" in lines[-1]
    now[0] = 0.0
    assert benchmark(harness, tmp_path, lambda _: configurations, "--minutes", "-1")[0] == 1


def test_ctrl_c_ends_a_benchmark_and_the_process_that_it_measures_in(tmp_path):
    script, file = tmp_path / "sleeping.py", tmp_path / "measured.json"
    script.write_text(
        f"""import sys, time
sys.path.insert(0, {str(HERE)!r})
from functools import partial
import harness

def measure(task):
    \"\"\"Sleeps.\"\"\"
    open(task["begun"], "w").close()
    time.sleep(task["seconds"])
    return dict(seconds=task["seconds"])

def run(options):
    tasks = [dict(seconds=s, begun={str(tmp_path)!r} + f"/{{s}}") for s in (0.01, 600.0)]
    found, failed = harness.in_turns({{str(t["seconds"]): partial(harness.child, __file__, t, 1) for t in tasks}}, 1)
    return dict(seconds=found, left_out=failed)

sys.exit(harness.main(__file__, measure, run, lambda parser: None, str))
"""
    )
    process = subprocess.Popen(
        [sys.executable, str(script), "--json", str(file)],
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "600.0").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    result = json.loads(file.read_text())
    assert result["measurements"] == {"0.01": [{"seconds": 0.01}]} and not result["finished"]
    assert list(result["left_out"]) == ["600.0"]


@pytest.mark.parametrize("name", ["network", "training_step", "pipeline", "worker_overhead"])
def test_the_help_says_that_the_default_takes_less_than_five_minutes(name):
    command = [sys.executable, str(HERE / f"{name}.py"), "--help"]
    printed = " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "less than five minutes" in printed and "default: 4.5" in printed


def test_what_is_left_out_stands_in_the_table_with_its_reason(harness):
    load("networks")
    result = {
        "size": "1x16x256x256", "quick": False, "command": "", "machine": harness.machine(2), "best": {}, "ratios": {},
        "seconds": {}, "left_out": {"nnunet": "No module named 'dynamic_network_architectures'"},
    }  # fmt: skip
    rows = [line for line in load("network").table(result).splitlines() if line.startswith("|")]
    assert "nnU-Net" in rows[2] and "No module named" in rows[2]
    assert len({row.count("|") for row in rows}) == 1


def test_a_child_that_ends_without_a_measurement_is_an_error_that_says_why(harness, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("raise ImportError('nothing here')")
    with pytest.raises(harness.MeasurementError, match="nothing here"):
        harness.child(str(script), {}, 1)


@pytest.mark.slow
def test_everything_about_a_gpu_is_rehearsed_on_a_cpu(tmp_path):
    pytest.importorskip("triton", reason="Triton exists on Linux only; the [test] extra installs it there")
    file = tmp_path / "gpu.json"
    command = ["sh", str(HERE / "gpu.sh"), "--rehearse", "--ways", "ours", "vnet", "compiled", "--threads", "1",
               "--minutes", "60", "--json", str(file)]  # fmt: skip
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": ""}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    result = json.loads(file.read_text())
    assert result["finished"] and result["wrong"] == [] and len(result["cases"]) == 6
    assert all(case["right"] and max(case["off"].values()) <= 1 for case in result["cases"])
    assert result["tuned"]["slab"]["choices"] and "failed" not in result["tuned"]["step"]
    ways = result["ways"]
    assert list(ways) == ["ours", "vnet", "compiled"] and not any(way["said"] for way in ways.values())
    for way in ways.values():
        slab, scan, step = (way["parts"][part] for part in ("slab", "scan", "step"))
        assert min(slab["float16"]["seconds"], slab["float32"]["seconds"], scan["network"]["seconds"]) > 0
        assert step["2"]["seconds"] > 0 and step["2"]["kind"] == "bfloat16"
    ours = ways["ours"]["parts"]
    assert ours["slab"]["kernels"] and ours["step"]["2"]["kernels"] and "segmenting" in ours["scan"]["stages"]
    assert not ways["compiled"]["parts"]["slab"]["kernels"]
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1 and len(rows) == 2 + 3 * 5 - 1 and "failed" not in done.stdout
    assert "Kernels: 6 of 6 cases" in done.stdout and "Rehearsed on a CPU" in done.stdout


def test_without_a_card_one_line_says_so(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    command = [sys.executable, str(HERE / "gpu.py"), "--json", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "finds no CUDA card; --rehearse runs on a CPU" in done.stderr.splitlines()[-1]


@pytest.fixture
def gpu(harness):
    for name in ("gpu_card", "gpu_ways"):
        load(name)
    return load("gpu")


def measured_by(gpu, harness, monkeypatch, tmp_path, answers, *options):
    """The benchmark, with prepared answers in place of its child processes."""

    def child(script, task, *_):
        answer = answers(task)
        if isinstance(answer, str):
            raise harness.MeasurementError(answer)
        return answer

    monkeypatch.setattr(harness, "child", child)
    monkeypatch.setattr(gpu, "make_scan", lambda path, options: None)
    file = tmp_path / "gpu.json"
    code = harness.main(gpu.__file__, gpu.measure, gpu.run, gpu.add_options, gpu.table, ["--json", str(file), *options])
    return code, json.loads(file.read_text())


CARD = {"name": "Card", "memory_gib": 80.0, "capability": "9.0", "driver": "1", "torch": "2", "cuda": "13", "cudnn": 9,
        "triton": "3.9"}  # fmt: skip
CASE = {"shape": "1x1x1x1x1", "k": 5, "kind": "float16"}


def part_of(seconds, **more):
    return {"seconds": seconds, "range": [seconds, seconds], "mib": 100.0, **more}


def test_a_process_that_is_ended_is_measured_part_by_part_and_the_table_says_what_failed(
    gpu, harness, monkeypatch, tmp_path, capsys
):
    asked = []

    def answers(task):
        if task["job"] != "way":
            right = {"cases": [{**CASE, "off": {}, "right": True}]}
            return {"card": CARD, "proof": right, "tune": "took longer than 100 s"}[task["job"]]
        asked.append((task["way"], *task["parts"]))
        if task["way"] == "compiled" and "slab" in task["parts"]:
            return "took longer than 150 s"
        slab = {"kernels": True, "float16": part_of(0.002 if task["way"] == "ours" else 0.008, right=True)}
        step = {"4": {"failed": "OutOfMemoryError: too much", "kind": "bfloat16", "batch": 4, "kernels": True}}
        parts = {"slab": slab, "step": step}
        return {"parts": {part: parts[part] for part in task["parts"]}, "said": []}

    code, result = measured_by(gpu, harness, monkeypatch, tmp_path, answers, "--ways", "ours", "compiled", "vnet",
                               "--parts", "slab", "step")  # fmt: skip
    assert code == 0 and result["wrong"] == []
    assert asked == [("ours", "slab", "step"), ("compiled", "slab", "step"), ("vnet", "slab", "step"),
                     ("compiled", "slab"), ("compiled", "step")]  # fmt: skip
    printed = capsys.readouterr().out
    assert "| slab, float16 | V-Net | 8.00 | 8.00 to 8.00 | 4.00 | 100 | - |" in printed
    assert "| slab | LV-Net, torch.compile | failed: took longer than 150 s | - |" in printed
    assert printed.count("failed: OutOfMemoryError: too much") == 3
    assert "launches failed: took longer than 100 s" in printed and "Card, 80.0 GiB, compute capability 9.0" in printed


@pytest.mark.parametrize(
    ("case", "slab", "sentence"),
    [
        ({"off": {"result": 3.0}, "right": False}, {}, "kernel k=5, float16, 1x1x1x1x1: result 3 times what"),
        ({"failed": "RuntimeError: no"}, {}, "kernel k=5, float16, 1x1x1x1x1: RuntimeError: no"),
        ({"right": True}, {"kernels": False}, "a slab is computed without the Triton kernels"),
        ({"right": True}, {"float16": part_of(1.0, right=False, off=0.5)}, "a slab in float16 are off by 0.5"),
    ],
    ids=["off", "failed", "not used", "another result"],
)
def test_kernels_that_are_wrong_or_not_used_make_the_exit_code_1(
    gpu, harness, monkeypatch, tmp_path, capsys, case, slab, sentence
):
    def answers(task):
        found = {"card": CARD, "proof": {"cases": [{**CASE, **case}]}, "tune": {}}
        return found.get(task["job"], {"parts": {"slab": {"kernels": True, **slab}}, "said": []})

    code, result = measured_by(gpu, harness, monkeypatch, tmp_path, answers, "--ways", "ours", "--parts", "slab")
    assert code == 1 and len(result["wrong"]) == 1 and sentence in result["wrong"][0]
    assert f"WRONG: {result['wrong'][0]}." in capsys.readouterr().out


def test_a_process_that_takes_too_long_is_ended_with_what_it_has_started(harness, tmp_path):
    script = tmp_path / "sleeping.py"
    script.write_text(
        "import subprocess, sys\n"
        "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'helper')!r}, 'w').write(str(helper.pid))\n"
        "helper.wait()\n"
    )
    began = time.monotonic()
    with pytest.raises(harness.MeasurementError, match="took longer than 5 s"):
        harness.child(str(script), {}, 1, limit=5.0)
    assert time.monotonic() - began < 60
    helper = int((tmp_path / "helper").read_text())
    deadline = time.monotonic() + 30
    while Path(f"/proc/{helper}/stat").exists() and Path(f"/proc/{helper}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "what it has started goes on"
        time.sleep(0.05)


def test_whole_commands_are_compared_with_the_import_of_torch(tmp_path):
    result, rows = quick("start", tmp_path)
    assert result["left_out"] == {}
    seconds = result["seconds"]
    assert list(seconds) == ["import torch", "lvnet --help", "lvnet info", "lvnet segment"]
    assert seconds["lvnet --help"] < seconds["import torch"] < seconds["lvnet segment"]
    assert 0 < result["own"] < seconds["lvnet segment"]
    assert len(rows) == 6
