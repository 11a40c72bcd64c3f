"""Compiled kernels are cached in files: reused from the second start on, and ignored if they cannot be trusted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="the [fast] extra is not installed")

from lvnet.acceleration.kernels import kernel_cache
from lvnet.acceleration.kernels.kernel_cache import SETTING, cache_folder, kernels_of
from lvnet.acceleration.kernels.native import open_kernels

LANES = 8
posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for kernels."""
    place = tmp_path / "kernels"
    monkeypatch.setenv(SETTING, str(place))
    return place


@pytest.fixture
def compiled(monkeypatch):
    """Records every compilation; the code is compiled once for all tests of this file."""
    counted = []

    def compile_kernels(functions):
        counted.append(sorted(functions))
        return machine_code()

    monkeypatch.setattr(kernel_cache, "compile_kernels", compile_kernels)
    return counted


_made = {}


def machine_code():
    if "code" not in _made:
        from lvnet.acceleration.kernels import native, numba_stages

        _made["code"] = native.compile_kernels(numba_stages.functions(LANES))
    return _made["code"]


def stages():
    return kernels_of("numba_stages", LANES)


def halves(kernels):
    """Whether the kernel `halve` computes means."""
    x = np.random.default_rng(1).normal(size=(2, 4, 6, LANES)).astype(np.float32)
    out = np.zeros((1, 2, 3, LANES), np.float32)
    open_kernels(kernels)["halve"](x.ctypes.data, LANES * 4, 2, 3, LANES, out.ctypes.data, LANES * 4, 0, 2)
    return np.allclose(out, x.reshape(1, 2, 2, 2, 3, 2, LANES).mean(axis=(1, 3, 5)), atol=1e-6)


def test_kernels_are_compiled_at_the_first_start_and_read_at_the_second(folder, compiled):
    first = stages()
    assert len(compiled) == 1
    assert halves(first)
    second = stages()
    assert len(compiled) == 1
    assert second == first
    assert halves(second)


def test_another_process_neither_compiles_nor_imports_the_compiler(folder):
    program = """
import sys
import torch
from lvnet.acceleration import accelerate
from lvnet.network import LVNet
from lvnet.recipe import Architecture
torch.manual_seed(1)
network = LVNet(Architecture(widths=(16, 16))).eval()
fast = accelerate(network)
assert type(fast.encoder[0]).__name__ == "FusedIRB"
x = torch.randn((1, 1, 4, 16, 24))
with torch.inference_mode():
    assert (fast(x) - network(x)).abs().max() < 1e-4
print("numba" in sys.modules)
"""
    answers = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()
        for _ in range(2)
    ]
    assert answers == ["True", "False"]


def test_two_processes_that_start_at_once_both_get_right_kernels(folder):
    program = """
from lvnet.acceleration.kernels.kernel_cache import kernels_of
from lvnet.acceleration.kernels.native import open_kernels
assert set(open_kernels(kernels_of("numba_stages", 8))) == {"stem", "halve", "double", "pointwise"}
"""
    both = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    (_file,) = folder.iterdir()
    assert halves(stages())


def damage_cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def damage_bit(file):
    data = bytearray(file.read_bytes())
    data[-500] ^= 4
    file.write_bytes(data)


def damage_header(file):
    file.write_bytes(b"{" + file.read_bytes())


def damage_empty(file):
    file.write_bytes(b"")


def damage_list(file):
    file.write_bytes(b"[]\n" + file.read_bytes().split(b"\n", 1)[1])


def damage_key(file):
    header, code = file.read_bytes().split(b"\n", 1)
    facts = json.loads(header)
    facts["key"]["processor"] = "another"
    file.write_bytes(json.dumps(facts).encode() + b"\n" + code)


@pytest.mark.parametrize(
    "damage", [damage_cut, damage_bit, damage_header, damage_empty, damage_list, damage_key], ids=lambda d: d.__name__
)
def test_a_damaged_file_is_compiled_anew_and_replaced(folder, compiled, damage):
    first = stages()
    (file,) = folder.iterdir()
    damage(file)
    assert stages() == first
    assert len(compiled) == 2
    assert stages() == first
    assert len(compiled) == 2


@pytest.mark.parametrize("what", ["processor", "features", "numba", "llvmlite", "source"])
def test_kernels_of_another_processor_compiler_or_source_are_not_used(folder, compiled, monkeypatch, what):
    stages()
    key = kernel_cache._key
    monkeypatch.setattr(kernel_cache, "_key", lambda *a: {**key(*a), what: "another"})
    stages()
    assert len(compiled) == 2
    assert len(list(folder.iterdir())) == 2


@posix
def test_files_of_somebody_else_are_neither_used_nor_written(folder, compiled, monkeypatch):
    stages()
    before = {file: file.read_bytes() for file in folder.iterdir()}
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    stages()
    assert len(compiled) == 2
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_can_write_into_is_not_used(folder, compiled, mode):
    stages()
    folder.chmod(mode)
    for file in folder.iterdir():
        file.write_bytes(b"something else")
    stages()
    assert len(compiled) == 2
    assert [file.read_bytes() for file in folder.iterdir()] == [b"something else"]


@posix
def test_a_link_in_the_place_of_a_file_or_of_the_folder_is_not_followed(folder, compiled, tmp_path):
    stages()
    (file,) = folder.iterdir()
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    stages()
    assert len(compiled) == 2
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    stages()
    assert len(compiled) == 3


@posix
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(folder, compiled):
    stages()
    (file,) = folder.iterdir()
    file.unlink()
    os.mkfifo(file)
    stages()
    assert len(compiled) == 2


@posix
def test_kernels_are_made_private_whatever_the_user_shares_by_default(folder, compiled):
    before = os.umask(0)
    try:
        stages()
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    stages()
    assert len(compiled) == 1


@pytest.mark.parametrize("place", ["/proc/nothing/here", "/dev/null/kernels"])
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="places of Linux")
def test_where_nothing_can_be_kept_kernels_work_all_the_same(monkeypatch, compiled, place):
    monkeypatch.setenv(SETTING, place)
    assert halves(stages())
    assert halves(stages())
    assert len(compiled) == 2


def test_keeping_can_be_switched_off(monkeypatch, compiled, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(SETTING, "off")
    stages()
    stages()
    assert len(compiled) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_a_home_gets_kernels(monkeypatch, compiled):
    monkeypatch.delenv(SETTING, raising=False)

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folder() is None
    assert halves(stages())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="places of Linux")
def test_kernels_are_kept_where_the_system_keeps_such_files(monkeypatch, tmp_path):
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "lvnet" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert cache_folder() == tmp_path / "other" / "lvnet" / "kernels"


def test_old_files_go_when_there_are_many(folder, compiled, monkeypatch):
    monkeypatch.setattr(kernel_cache, "_MOST_FILES", 3)
    key = kernel_cache._key
    for number in range(5):
        monkeypatch.setattr(kernel_cache, "_key", lambda *a, n=number: {**key(*a), "source": n})
        stages()
        for age, file in enumerate(sorted(folder.iterdir(), key=lambda f: f.stat().st_mtime, reverse=True)):
            os.utime(file, (1e9 - age, 1e9 - age))
    assert len(list(folder.iterdir())) == 3
    stages()
    assert len(compiled) == 5


def test_the_machine_code_calls_nothing_outside_itself():
    from llvmlite import binding

    native_object = binding.ObjectFileRef.from_data(machine_code().code)
    names = {section.name() for section in native_object.sections()}
    assert any(b"text" in name if isinstance(name, bytes) else "text" in name for name in names)
    # A call of Numba's runtime or of Python would need an external address: an undefined ELF symbol.
    undefined = [name for name in symbols(machine_code().code) if name]
    assert undefined == []


def symbols(code):
    """Names of the undefined symbols of a 64-bit ELF object."""
    if code[:4] != b"\x7fELF":
        pytest.skip("not an ELF object")
    word = lambda at, size: int.from_bytes(code[at : at + size], "little")  # noqa: E731
    sections = [word(0x28, 8) + i * word(0x3A, 2) for i in range(word(0x3C, 2))]
    for section in sections:
        if word(section + 4, 4) != 2:  # the symbol table
            continue
        start, size, names = word(section + 24, 8), word(section + 32, 8), sections[word(section + 40, 4)]
        strings = word(names + 24, 8)
        for entry in range(start + 24, start + size, 24):
            if word(entry + 6, 2) == 0:
                begin = strings + word(entry, 4)
                yield code[begin : code.index(b"\0", begin)].decode()
