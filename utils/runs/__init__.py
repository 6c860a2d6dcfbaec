"""A training run: its folder, state, callbacks, progress and summary."""
