"""LV-Net at inference on a CPU."""
