"""A process that segments for another program and stays running between requests.

``python -m lvnet.worker`` reads one JSON request per line from stdin and answers with JSON lines on
stdout.  It keeps the last network loaded, exits when it has been idle for a while or its parent process
has ended, and stops a cancelled task within one slab.  Output printed by libraries goes to stderr.
Nothing here imports torch before a task needs it, so that a missing or broken PyTorch is reported as an
answer instead of crashing the worker at the start.

`server` and `tasks` are the computing side, `client` is the requesting side, `messages` defines the
protocol between them, and `exchange` the folder that passes voxels.

Requests::

    {"do": "segment", "id": 1, "folder": "...", "spacing": [z, y, x], "origin": [x, y, z],
     "direction": [9 numbers], "device": "auto", ...}
                                                     the folder holds the scan, see `exchange`; plus any setting
                                                     of lvnet.pipeline.SegmentOptions, null for its default
    {"do": "folder", "id": 2, "input": "...", "output": "...", "suffix": ".seg.nrrd",
     "series": null, ...}                            plus any other setting
    {"do": "devices", "id": 3}
    {"do": "torch", "id": 4}
    {"do": "pace", "id": 5, ...}                    estimated speed of a scan; plus any other setting
    {"do": "compare", "id": 6, "folder": "...", "spacing": ..., "reference_spacing": ..., "preset": "lits", ...}
                                                     two masks in the folder; see `messages.requests`
    {"do": "phantom", "id": 7, "folder": "...", "seed": 1}
                                                     makes a synthetic scan in the folder
    {"do": "cancel", "id": 1}                        stops request 1, queued or running

Answers::

    {"type": "ready", "pid": 1, "version": "..."}
    {"type": "accepted", "id": 1}                    work on it has begun
    {"type": "progress", "id": 1, "share": 0.5, "stage": "segmenting"}
    {"type": "scan", "id": 2, "scan": {...}}         one scan of a folder is done or has failed
    {"type": "result", "id": 1, ...}                 the result of the task
    {"type": "cancelled", "id": 1}
    {"type": "error", "id": 1, "kind": "...", ...}   see `messages.answers`
    {"type": "bye", "reason": "idle"}                the worker exits by itself
"""
