"""From disk to a batch: sources, order, decoding, augmentation."""
