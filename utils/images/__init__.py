"""Reading, converting, resizing and writing images."""
