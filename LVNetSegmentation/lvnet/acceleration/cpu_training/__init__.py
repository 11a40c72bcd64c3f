"""LV-Net's parts in training on a CPU."""
