"""A logic with a worker process, which it polls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, TypeVar

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job
    from lvnet.worker.client.service import Service

    from .interfaces import QTimer

    SomeJob = TypeVar("SomeJob", bound=Job)


class WorkerLogic(ScriptedLoadableModuleLogic):
    """Starts the worker process when it is first needed, and handles its messages."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._service: Optional[Service] = None
        #: None without Qt, or before the first job.
        self._timer: Optional[QTimer] = None

    @property
    def service(self) -> Service:
        """The worker process of this logic, and its jobs."""
        if self._service is None:
            from .pythonslicer import makeService

            self._service = makeService()
        return self._service

    @property
    def keepWarm(self) -> bool:
        """Whether the worker process is kept for the next run (default) or ends after each run."""
        return self.service.keep_warm

    @keepWarm.setter
    def keepWarm(self, keep: bool) -> None:
        self.service.keep_warm = keep

    def poll(self) -> None:
        """Handles messages of the worker and calls the callbacks of the jobs; call it from the main thread."""
        self.service.poll()
        if self._timer is not None and not self.service.is_busy():
            self._timer.stop()

    def forgetJobs(self) -> None:
        """Removes the callbacks of all jobs, because their receivers are about to be destroyed."""
        if self._service is not None:
            self._service.forget_jobs()

    def shutdown(self) -> None:
        """Cancels running jobs and ends the worker process at once; a later run starts a new one."""
        if self._timer is not None:
            self._timer.stop()
        if self._service is not None:
            self._service.shutdown()

    def _start(self, job: SomeJob) -> SomeJob:
        """Starts a job, polled by a timer if Qt is available and an application runs the event loop."""
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
