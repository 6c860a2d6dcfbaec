"""The network, its losses, and its weights files. Keras only; runs on every Keras backend."""
