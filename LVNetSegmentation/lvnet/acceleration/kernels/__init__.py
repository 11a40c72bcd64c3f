"""Kernels for a CPU: how they are written, compiled by Numba, kept in files and called without Numba."""
