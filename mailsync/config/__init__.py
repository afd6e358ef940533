"""The settings: every environment variable, its default and its range.

Of mailsync it may import only ``errors``. Begin with :class:`Settings`, which lists all variables.
"""

from mailsync.config.settings import SECRETS, Settings, read_environment

__all__ = ["SECRETS", "Settings", "read_environment"]
