"""The API for a WSGI server: ``gunicorn -c python:mailsync.web.gunicorn_conf wsgi:app``."""

import sys

from mailsync.errors import ConfigError
from mailsync.web import create_app

try:
    app = create_app()
except ConfigError as error:
    print(error, file=sys.stderr)
    sys.exit(4)  # gunicorn's code for an application that fails to load: the master stops too
