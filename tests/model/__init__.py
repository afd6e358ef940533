"""Model-based tests: the mirror equals the server, whatever clients do and however the worker dies.

``clients`` change the server, ``worker`` takes turns and dies, ``judge`` checks what
must hold whenever the mirror has settled, ``story`` the three together, ``machine`` the random sequences.
"""
