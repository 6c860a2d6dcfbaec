"""Annotations of other programs turned into a VOC folder."""
