"""Settings of gunicorn: ``gunicorn -c python:mailsync.web.gunicorn_conf wsgi:app``.

gunicorn uses a module's variables as they are after the import, so this module alone reads the environment
when it is imported. A bad value ends the master with one line and exit code 2 before it forks a worker.
``WEB_CONCURRENCY`` adds workers; one is usually enough, because the API mostly waits.
``FORWARDED_ALLOW_IPS`` and ``GUNICORN_CMD_ARGS`` are gunicorn's own variables.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

from mailsync import logs
from mailsync.config import Settings, find_environment
from mailsync.errors import ConfigError
from mailsync.ops import core_dumps
from mailsync.web.server import malloc
from mailsync.web.server.connections import check_hooks
from mailsync.web.server.gunicorn_worker import Worker
from mailsync.web.server.systemd_probe import Probe

# in the master, so that workers inherit it, and before any secret is read
core_dumps.forbid()
try:
    check_hooks(Worker)
    _settings = Settings.from_env(
        find_environment(), require=("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN")
    )
except ConfigError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)

bind = (
    f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
)
worker_class = "mailsync.web.server.gunicorn_worker.Worker"
# more than resources.MAX_TURN_ENVIRONMENTS plus MAX_DOWNLOADS, so that health checks get a thread while all
# of those wait for mail servers and slow readers
threads = 24
preload_app = False
# The master kills a worker whose main loop is silent for this long. A request may take longer.
timeout = 60
# Requests still running then are cut off, so that the process ends within 10 s of SIGTERM, before `start` and
# systemd kill it.
graceful_timeout = 8
# longer than proxies keep idle connections, so that no proxy sends into one that we are closing
keepalive = 75
# Each connection needs a file descriptor; the database, mail servers and files need others. Below this limit,
# mailsync.web.server.connections closes the connections that have waited longest for their client.
_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
worker_connections = 1000 if _files == resource.RLIM_INFINITY else max(100, min(1000, _files - 200))
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
# Drop headers with an underscore in their name, even from a proxy: by default gunicorn accepts SCRIPT_NAME
# and PATH_INFO from any client on this host.
forwarder_headers = ""
header_map = "drop"
# The parser that our tests cover. By default gunicorn prefers a faster one if it is installed.
http_parser = "python"
proc_name = "mailsync-api"
# mailsync.logs handles all log lines; mailsync.web.http.auth writes one for each request.
errorlog = None
accesslog = None
control_socket_disable = True

_probe: Probe | None = None


def on_starting(server: Any) -> None:
    """Before the first worker: take over systemd's messages from gunicorn, and set up logging."""
    global _probe
    if server.cfg.is_ssl:
        print("gunicorn: certfile and keyfile are not supported; put a TLS proxy in front", file=sys.stderr)
        sys.exit(ConfigError.exit_code)
    _probe = Probe.from_environment()
    on_reload(server)


def on_reload(server: Any) -> None:
    """At the start and after SIGHUP: log gunicorn's own lines as ours, with secrets masked.

    SIGHUP replaces the workers. They inherit the master's environment and loaded code, so a changed setting
    or release needs a restart.
    """
    logs.configure(_settings)
    log = logging.getLogger("gunicorn.error")
    log.propagate = True


def when_ready(server: Any) -> None:
    """In the master, when the port is open: install the signal handlers, and probe for systemd."""
    _stop_like_the_worker(server)
    if _probe:
        _probe.begin(server.LISTENERS[0].sock)


def post_fork(server: Any, worker: Any) -> None:
    """In each new worker: drop the probe, which belongs to the master."""
    if _probe:
        _probe.forget()


def post_worker_init(worker: Any) -> None:
    """In each new worker, with its application: run the readiness checks once, which log any failure."""
    malloc.give_back_large_blocks()
    # the master ends a hung worker by SIGABRT; faulthandler then prints where it hung
    faulthandler.enable()
    # Ctrl-C reaches the workers too; the master tells them when to stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker.wsgi.extensions["mailsync"].readiness.failures()


def worker_exit(server: Any, worker: Any) -> None:
    """In a worker that ends: close its database connections and IMAP sessions."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.extensions["mailsync"].close()


def _stop_like_the_worker(server: Any) -> None:
    """Treat SIGINT like SIGTERM, and end all processes at once on a second signal (SPEC §17)."""
    is_stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal is_stopping
        if is_stopping:
            for pid in list(server.WORKERS):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os._exit(128 + number)
        is_stopping = True
        if _probe:
            _probe.end()
        server.signal(signal.SIGTERM, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
