"""The settings: every environment variable, its default and its range.

It may import only ``errors``. Begin with :class:`Settings`, which lists all variables.
"""

from mailsync.config.settings import DEV_DIRECTORY, SECRETS, Settings, find_environment, read_environment

__all__ = ["DEV_DIRECTORY", "SECRETS", "Settings", "find_environment", "read_environment"]
