"""The logic's methods about this computer: devices, PyTorch, weights and log files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, List, Optional

from .workerlogic import WorkerLogic

if TYPE_CHECKING:
    from lvnet.acceleration import ComputePath
    from lvnet.worker.client.job import Job
    from lvnet.worker.messages.results import Device

    from .interfaces import Json, Setting


class MachineLogic(WorkerLogic):
    """Public methods about the computer."""

    def devices(self) -> List[Device]:
        """The available devices, queried from the worker; blocks for some seconds the first time.

        Returns:
            One dict(id, name, freeMemory) per device, the CPU first: `id` is what :meth:`segment` takes,
            `freeMemory` is in bytes or None.

        Raises:
            LVNetError: PyTorch is missing or broken.
        """
        devices: List[Device] = self.devicesAsync().wait()[0]
        return devices

    def devicesAsync(
        self,
        onDone: Optional[Callable[[List[Device]], None]] = None,
        onError: Optional[Callable[[str], None]] = None,
    ) -> Job:
        """Like :meth:`devices`, without blocking: `onDone` gets the list.  Returns a job."""
        from lvnet.worker.client.job import Callbacks
        from lvnet.worker.client.questions import DevicesQuestion

        return self._start(DevicesQuestion(self.service, Callbacks(on_done=onDone, on_error=onError)))

    def paceAsync(
        self,
        onDone: Optional[Callable[[Optional[float], ComputePath], None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        **settings: Setting,
    ) -> Job:
        """Measures the speed of this computer on one slab in the worker, which also loads the network.

        Args:
            onDone: called with the estimated seconds per litre of a scan, None if they cannot be estimated, and with a
                lvnet.acceleration.ComputePath: how the network is computed.
            onError: called with one line.
            settings: device, weights, overlap and threads, see :meth:`segment`.

        Returns:
            A job.
        """
        from lvnet.worker.client.job import Callbacks
        from lvnet.worker.client.questions import PaceQuestion

        return self._start(PaceQuestion(self.service, settings, Callbacks(on_done=onDone, on_error=onError)))

    def checkTorchAsync(
        self, onDone: Optional[Callable[..., None]] = None, onError: Optional[Callable[[str], None]] = None
    ) -> Job:
        """Whether PyTorch works: `onDone` gets one sentence with its version and what it computes on.

        It is asked from the worker, so that a broken PyTorch cannot harm Slicer.  Returns a job.
        """
        from lvnet.worker.client.job import Callbacks
        from lvnet.worker.client.questions import TorchQuestion

        return self._start(TorchQuestion(self.service, Callbacks(on_done=onDone, on_error=onError)))

    def torchIsMissing(self) -> bool:
        """Whether PyTorch is not installed."""
        from lvnet.worker.client.torch_errors import torch_is_missing

        return torch_is_missing()

    def installTorch(self, askConfirmation: bool = True) -> None:
        """Installs PyTorch through the PyTorch extension where it is missing; waits.

        Raises:
            DependencyError: declined, failed, or the extension is missing; one line says what to do.
        """
        from .dependencies import ensureTorch

        ensureTorch(askConfirmation)

    def numbaIsMissing(self) -> bool:
        """Whether Numba, without which a CPU takes several times longer, is not installed."""
        from .numbainstall import numbaIsMissing

        return numbaIsMissing()

    def installNumba(self) -> None:
        """Installs Numba by Slicer's pip where it is missing, without a further question; blocks until it is done.

        The next run uses its kernels, in a new worker process; a run in progress is finished by the present one.

        Raises:
            DependencyError: it cannot be installed, and everything works as before; one line says why.
        """
        from lvnet.worker.client import pace

        from .numbainstall import installNumba

        installNumba()
        pace.forget()
        self.service.renew()

    def weightsInfo(self, path: Optional[str] = None) -> Json:
        """The metadata of a checkpoint file; needs no PyTorch.

        Args:
            path: a file; None takes the bundled weights.

        Returns:
            dict: `name`, `organs` (names), `scores` (free JSON from its provenance, may be empty),
            `licence` (may be empty), `summary` (one line for the panel), `path`.

        Raises:
            CheckpointError: the file is not a checkpoint, or is damaged.
        """
        from lvnet.checkpoint_summary import checkpoint_summary

        return checkpoint_summary(path)

    def logFolder(self) -> str:
        """The folder with the logs of the last runs; it exists."""
        from lvnet.worker.client.logs import log_folder

        return str(log_folder())
