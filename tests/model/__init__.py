"""Model-based tests: whatever mail clients do, and however the worker dies, the mirror equals the server.

``clients`` is what happens on the server, ``worker`` the turns of the mirror and their deaths, ``judge`` what
must hold whenever the mirror has settled, ``story`` the three together, ``machine`` the random sequences.
"""
