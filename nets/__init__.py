"""The network, its losses, and its weights files. Runs on every Keras backend."""
