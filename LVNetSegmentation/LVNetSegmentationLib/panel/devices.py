"""The chooser for the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, List

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from lvnet.worker.messages.results import Device

    from ..interfaces import QComboBox


class DeviceChooser:
    """A combo box of the available devices; a device named in a scene stays in it even if it is missing."""

    def __init__(self, comboBox: QComboBox, onChosen: Callable[[str], None]) -> None:
        """Args:
        comboBox: shows the devices.
        onChosen: called with the identifier of a device that the user chose.
        """
        self._box = comboBox
        self._onChosen = onChosen
        self._identifiers: List[str] = []
        self.offer([])
        self._box.connect("activated(int)", self._onActivated)

    def offer(self, devices: List[Device]) -> None:
        """Fills the box.

        Args:
            devices: as the logic lists them: `id`, `name` and `freeMemory` (bytes or None) each.
        """
        chosen = self.chosen()
        entries = {"auto": _("Automatic"), "cpu": _("CPU")}
        for device in devices:
            entries[device["id"]] = describe(device)
        # GPUs before the CPU: most users look for them.
        self._identifiers = ["auto", *sorted(name for name in entries if name not in ("auto", "cpu")), "cpu"]
        self._box.clear()
        for identifier in self._identifiers:
            self._box.addItem(entries[identifier])
        self.choose(chosen)

    def chosen(self) -> str:
        index = self._box.currentIndex
        return self._identifiers[index] if 0 <= index < len(self._identifiers) else "auto"

    def choose(self, identifier: str) -> None:
        """Selects a device."""
        if identifier not in self._identifiers:
            self._identifiers.append(identifier)
            self._box.addItem(_("{device} (not found on this computer)").format(device=identifier))
        self._box.currentIndex = self._identifiers.index(identifier)

    def _onActivated(self, index: int) -> None:
        self._onChosen(self._identifiers[index])


def describe(device: Device) -> str:
    """A device as text, for example `GPU 0: NVIDIA RTX A4000, 14.2 GB free`."""
    free = device.get("freeMemory")
    kind, _colon, index = device["id"].partition(":")
    if kind == "cpu":
        return device["name"]
    words = _("GPU {index}: {name}").format(index=index, name=device["name"]) if index else device["name"]
    return words if free is None else _("{device}, {free:.1f} GB free").format(device=words, free=free / 2**30)
