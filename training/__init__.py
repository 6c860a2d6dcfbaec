"""A network in training: what it starts from, its phases, optimizer, loss, and the loop.

`settings` and `phases` need no Keras; the other modules do.
"""
