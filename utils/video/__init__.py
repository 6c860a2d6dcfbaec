"""Segmenting a video: frames read, predicted, shown and written."""
