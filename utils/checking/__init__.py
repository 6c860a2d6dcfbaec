"""The check of a VOC folder: pairs, pixels, problems, and a corrected copy."""
