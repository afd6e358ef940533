"""What mailsync can be told: every environment variable, its default and its range.

It may import ``errors`` alone of mailsync. Begin with :class:`Settings`, which lists them all.
"""

from mailsync.config.settings import SECRETS, Settings, read_environment, unknown_variables

__all__ = ["SECRETS", "Settings", "read_environment", "unknown_variables"]
