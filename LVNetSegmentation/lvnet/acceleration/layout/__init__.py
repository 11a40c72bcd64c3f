"""The memory layout that kernels and their callers share."""
