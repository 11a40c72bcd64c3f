"""LV-Net's depth-wise convolution on a GPU, and the precision of inference there."""
