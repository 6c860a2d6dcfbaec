"""How many channels layers have. Needs no Keras."""

FULL = 64  # the `width` at which an encoder has the channels that its authors gave it
# Filters of the decoder's stages, in units of its width: one stage for each halving of the image in
# the encoder. All have a skip but the last ones, where the encoder's finest features are a half or
# fourth of the image's size.
DECODER_WIDENING = (8, 4, 2, 1, 1)


def scaled(channels, width):
    """As many channels as a layer has at `width`, of those that it has at `FULL`; at least 1."""
    return max(round(channels * width / FULL), 1)
