"""A logic with a worker process, and what polls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, TypeVar

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job
    from lvnet.worker.client.service import Service

    SomeJob = TypeVar("SomeJob", bound=Job)


class WorkerLogic(ScriptedLoadableModuleLogic):
    """Starts the worker process when it is first needed, and takes in what it sends."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._service: Optional[Service] = None
        #: A QTimer; None where there is no Qt, or no job yet.
        self._timer: Optional[Any] = None

    @property
    def service(self) -> Service:
        """The worker process of this logic, and its jobs."""
        if self._service is None:
            from .pythonslicer import makeService

            self._service = makeService()
        return self._service

    @property
    def keepWarm(self) -> bool:
        """Whether the worker process stays for the next run (default); else it ends after each."""
        return self.service.keep_warm

    @keepWarm.setter
    def keepWarm(self, keep: bool) -> None:
        self.service.keep_warm = keep

    def poll(self) -> None:
        """Takes in what the worker has sent and calls the callbacks of the jobs; from the main thread."""
        self.service.poll()
        if self._timer is not None and not self.service.is_busy():
            self._timer.stop()

    def forgetJobs(self) -> None:
        """Takes the callbacks from all jobs: whom they would tell is about to go."""
        if self._service is not None:
            self._service.forget_jobs()

    def shutdown(self) -> None:
        """Cancels what runs and ends the worker process, at once; a later run starts a new one."""
        if self._timer is not None:
            self._timer.stop()
        if self._service is not None:
            self._service.shutdown()

    def _start(self, job: SomeJob) -> SomeJob:
        """Starts a job and has it polled by a timer where Qt is at hand and an application runs its events."""
        job.start()
        try:
            import qt

            if self._timer is None:
                self._timer = qt.QTimer()
                self._timer.setInterval(50)
                self._timer.connect("timeout()", self.poll)
            self._timer.start()
        except (ImportError, AttributeError):
            self._timer = None
        return job
