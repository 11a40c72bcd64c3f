"""The requesting side of the worker: starts its process, sends requests, and follows them as jobs.

Plain Python: the 3D Slicer module calls it from a timer on the main thread, tests from a loop.  Some
messages mention 3D Slicer, since that is where users read them.

`service.Service` holds the process and the jobs; `job.Job` is one task, `remote_job.RemoteJob` a task
that the worker performs; `process.WorkerProcess` is the process itself.
"""
