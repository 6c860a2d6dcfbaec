"""Weights files: read, adapted to a network, found, and written."""
