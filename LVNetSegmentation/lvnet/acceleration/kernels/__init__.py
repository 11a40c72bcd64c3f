"""CPU kernels: written in Python, compiled by Numba, cached in files and called without Numba."""
