"""What a logic knows of this computer: devices, PyTorch, weights, and where the logs are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from .workerlogic import WorkerLogic

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job
    from lvnet.worker.messages.results import Device


class MachineLogic(WorkerLogic):
    """The public calls about the computer."""

    def devices(self) -> List[Device]:
        """The devices that can be chosen, asked from the worker; waits some seconds the first time.

        Returns:
            dict(id, name, freeMemory) each: `id` is what :meth:`segment` takes, `freeMemory` is in
            bytes or None; the CPU first.

        Raises:
            LVNetError: PyTorch is missing or broken.
        """
        devices: List[Device] = self.devicesAsync().wait()[0]
        return devices

    def devicesAsync(
        self, onDone: Optional[Callable[..., None]] = None, onError: Optional[Callable[[str], None]] = None
    ) -> Job:
        """The same without waiting: `onDone` gets the list.  Returns a job."""
        from lvnet.worker.client.job import Callbacks
        from lvnet.worker.client.questions import DevicesQuestion

        return self._start(DevicesQuestion(self.service, Callbacks(on_done=onDone, on_error=onError)))

    def paceAsync(
        self,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        **settings: Any,
    ) -> Job:
        """How fast this computer is, tried on one slab in the worker, which then has the network loaded.

        Args:
            onDone: called with the seconds that a litre of a scan will take, None if they cannot be estimated, and
                with a lvnet.acceleration.ComputePath: how the network is computed.
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
        """Whether Numba is not installed, without which a CPU takes several times longer."""
        from .numbainstall import numbaIsMissing

        return numbaIsMissing()

    def installNumba(self) -> None:
        """Installs Numba by Slicer's pip where it is missing, without a further question; waits.

        The next run uses its kernels, in a new worker process; a run that is under way is finished by the present one.

        Raises:
            DependencyError: it cannot be installed, and everything works as before; one line says why.
        """
        from lvnet.worker.client import pace

        from .numbainstall import installNumba

        installNumba()
        pace.forget()
        self.service.renew()

    def weightsInfo(self, path: Optional[str] = None) -> Dict[str, Any]:
        """What a checkpoint file says of itself; needs no PyTorch.

        Args:
            path: a file; None takes the bundled weights.

        Returns:
            dict: `name`, `organs` (names), `scores` (free JSON from its provenance, may be empty),
            `licence` (may be empty), `summary` (one line for the panel), `path`.

        Raises:
            CheckpointError: it is no checkpoint, or a damaged one.
        """
        from lvnet.checkpoint_summary import checkpoint_summary

        return checkpoint_summary(path)

    def logFolder(self) -> str:
        """The folder with the logs of the last runs; it is there."""
        from lvnet.worker.client.logs import log_folder

        return str(log_folder())
