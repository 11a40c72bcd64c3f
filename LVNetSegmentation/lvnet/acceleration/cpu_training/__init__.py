"""LV-Net's layers in training on a CPU."""
