"""A process that segments for another program and stays warm between its requests.

``python -m lvnet.worker`` reads one JSON request a line from stdin and answers with JSON lines on
stdout.  It keeps the network that was last used, ends itself once nothing was asked for a while or
once its parent is gone, and stops a task within a slab when told so.  Whatever libraries print goes
to stderr.  Nothing in here imports torch before a task needs it, so that a missing or broken
PyTorch is an answer and not a crash at the start.

`server` and `tasks` are the end that computes, `client` the end that asks, `messages` what they say
to each other, `exchange` the folder through which voxels go.

Requests::

    {"do": "segment", "id": 1, "folder": "...", "spacing": [z, y, x], "origin": [x, y, z],
     "direction": [9 numbers], "device": "auto", ...}
                                                     the scan lies in the folder, see `exchange`; and any setting
                                                     of lvnet.pipeline.SegmentOptions, null for its default
    {"do": "folder", "id": 2, "input": "...", "output": "...", "suffix": ".seg.nrrd",
     "series": null, ...}                            and any other setting
    {"do": "devices", "id": 3}
    {"do": "torch", "id": 4}
    {"do": "pace", "id": 5, ...}                    how fast a scan will be; and any other setting
    {"do": "cancel", "id": 1}                        stops request 1, waiting or under way

Answers::

    {"type": "ready", "pid": 1, "version": "..."}
    {"type": "accepted", "id": 1}                    its turn has come
    {"type": "progress", "id": 1, "share": 0.5, "stage": "segmenting"}
    {"type": "scan", "id": 2, "scan": {...}}         of a folder one is done, or has failed
    {"type": "result", "id": 1, ...}                 what the task gives
    {"type": "cancelled", "id": 1}
    {"type": "error", "id": 1, "kind": "...", ...}   see `messages.answers`
    {"type": "bye", "reason": "idle"}                it ends by itself
"""
