"""Settings of gunicorn: ``gunicorn -c python:mailsync.web.gunicorn_conf wsgi:app``.

gunicorn takes a module's variables as they are after its import, so this is the one module that reads the
environment when it is imported. A bad value ends the master with one line and exit code 2 before any
worker is forked. ``WEB_CONCURRENCY`` adds workers (one is plenty, for what the API does is wait).
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from mailsync import logs
from mailsync.config import Settings, read_environment
from mailsync.errors import ConfigError

try:
    _settings = Settings.from_env(read_environment(), require=("DATABASE_URL", "API_TOKEN"))
except ConfigError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)

bind = (
    f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
)
worker_class = "gthread"
threads = 16
# A worker that does not even heartbeat for this long is ended; a slow request alone does not cause that.
timeout = 60
graceful_timeout = 30
keepalive = 5
proc_name = "mailsync-api"
# Everything is logged through mailsync.logs, the line for each request by mailsync.web.guard.
errorlog = None
accesslog = None
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Before the first worker: let gunicorn's own lines look like ours, and keep secrets out of them."""
    logs.configure(_settings)
    logging.getLogger("gunicorn.error").propagate = True


on_reload = on_starting


def post_worker_init(worker: Any) -> None:
    """In each new worker, after the fork: run the checks once, so that the log tells what is wrong."""
    readiness = worker.wsgi.extensions["mailsync.readiness"]
    readiness.failures()
