"""Training of LV-Net: data, augmentation, training loop, and export to the checkpoint format."""
