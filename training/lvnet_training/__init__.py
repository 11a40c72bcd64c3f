"""Training of LV-Net: data, augmentation, the loop, and export to the bundled format."""
