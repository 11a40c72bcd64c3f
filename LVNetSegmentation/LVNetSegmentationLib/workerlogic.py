"""A logic with a worker process, and what polls it."""

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic


class WorkerLogic(ScriptedLoadableModuleLogic):
    """Starts the worker process when it is first needed, and takes in what it sends."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._service = None
        self._timer = None

    @property
    def service(self):
        """The LVNetSegmentationLib.service.Service of this logic: the worker process and its jobs."""
        if self._service is None:
            from .service import Service

            self._service = Service()
        return self._service

    @property
    def keepWarm(self) -> bool:
        """Whether the worker process stays for the next run (default); else it ends after each."""
        return self.service.keepWarm

    @keepWarm.setter
    def keepWarm(self, keep: bool) -> None:
        self.service.keepWarm = keep

    def poll(self) -> None:
        """Takes in what the worker has sent and calls the callbacks of the jobs; from the main thread."""
        self.service.poll()
        if self._timer is not None and not self.service.isBusy():
            self._timer.stop()

    def forgetJobs(self) -> None:
        """Takes the callbacks from all jobs: whom they would tell is about to go."""
        if self._service is not None:
            self._service.forgetJobs()

    def shutdown(self) -> None:
        """Cancels what runs and ends the worker process, at once; a later run starts a new one."""
        if self._timer is not None:
            self._timer.stop()
        if self._service is not None:
            self._service.shutdown()

    def _watched(self, job):
        """Has a job polled by a timer where Qt is at hand and an application runs its events."""
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
