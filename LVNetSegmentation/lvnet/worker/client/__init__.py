"""The asking end of the worker: starts its process, sends requests, and follows them as jobs.

Plain Python: 3D Slicer's module uses it from a timer on the main thread, tests from a loop.  Some
of its sentences speak of 3D Slicer, which is where they are read.

`service.Service` holds the process and the jobs; `job.Job` is one task, `remote_job.RemoteJob` one
that the worker does; `process.WorkerProcess` is the process itself.
"""
