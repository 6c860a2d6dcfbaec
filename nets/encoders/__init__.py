"""The encoders: each gives the features that the decoder takes."""
