"""Take a folder of images to labels, a calibrated model and an export."""
