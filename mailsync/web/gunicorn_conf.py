"""Settings of gunicorn: ``gunicorn -c python:mailsync.web.gunicorn_conf wsgi:app``.

gunicorn takes a module's variables as they are after its import, so this is the one module that reads the
environment when it is imported. A bad value ends the master with one line and exit code 2 before any
worker is forked. ``WEB_CONCURRENCY`` adds workers (one is plenty, for what the API does is wait);
``FORWARDED_ALLOW_IPS`` and ``GUNICORN_CMD_ARGS`` are gunicorn's own.
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
from mailsync.config import Settings, read_environment
from mailsync.errors import ConfigError
from mailsync.ops import core_dumps
from mailsync.web.server import malloc
from mailsync.web.server.connections import check_hooks
from mailsync.web.server.gunicorn_worker import Worker
from mailsync.web.server.systemd_watchdog import Watch

# here, so that the workers are forked with it; before anything secret is read
core_dumps.forbid()
try:
    check_hooks(Worker)
    _settings = Settings.from_env(
        read_environment(), require=("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN")
    )
except ConfigError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)

bind = (
    f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
)
worker_class = "mailsync.web.server.gunicorn_worker.Worker"
# more than services.MAX_ENGINES and MAX_DOWNLOADS together, so that health checks are answered while all of
# those wait for mail servers and for slow readers
threads = 24
preload_app = False
# A worker whose main loop does not even heartbeat for this long is ended; a request may take what it needs.
timeout = 60
# What runs then is cut off: `start` and systemd kill after it, and after SIGTERM all is over within 10 s.
graceful_timeout = 8
# longer than proxies keep idle connections, so that they never send into one that is being closed
keepalive = 75
# Each connection is a file descriptor, and others are for the database, mail servers and files. Before
# there are so many connections, mailsync.web.server.connections closes those that have waited longest for
# their client.
_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
worker_connections = 1000 if _files == resource.RLIM_INFINITY else max(100, min(1000, _files - 200))
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
# A header whose name holds an underscore is dropped, even from a proxy: by default gunicorn would take
# SCRIPT_NAME and PATH_INFO from any client on this host.
forwarder_headers = ""
header_map = "drop"
# The parser that we test. By default gunicorn takes another one wherever that is installed.
http_parser = "python"
proc_name = "mailsync-api"
# Everything is logged through mailsync.logs, the line for each request by mailsync.web.http.auth.
errorlog = None
accesslog = None
control_socket_disable = True

_watch: Watch | None = None


def on_starting(server: Any) -> None:
    """Before the first worker: speak to systemd in gunicorn's place, and log as mailsync does."""
    global _watch
    if server.cfg.is_ssl:
        print("gunicorn: certfile and keyfile are not possible here; let a proxy speak TLS", file=sys.stderr)
        sys.exit(ConfigError.exit_code)
    _watch = Watch.from_environment()
    on_reload(server)


def on_reload(server: Any) -> None:
    """After SIGHUP too: let gunicorn's own lines look like ours, and keep secrets out of them.

    The workers are made anew then, one generation after the other. The environment is that of the process,
    and the code is loaded: what has changed there needs a restart.
    """
    logs.configure(_settings)
    log = logging.getLogger("gunicorn.error")
    log.propagate = True


def when_ready(server: Any) -> None:
    """In the master, when the port is open: be asked to end like every program here; let systemd know."""
    _end_like_the_worker(server)
    if _watch:
        _watch.begin(server.LISTENERS[0].sock)


def post_fork(server: Any, worker: Any) -> None:
    """In each new worker: what the master watches is not for it."""
    if _watch:
        _watch.forget()


def post_worker_init(worker: Any) -> None:
    """In each new worker, with its application: run the checks once, so that the log tells what is wrong."""
    malloc.give_back_large_blocks()
    # the master ends a process that hangs by SIGABRT; faulthandler then shows where it hung
    faulthandler.enable()
    # Ctrl-C reaches the workers as well; what they do then, the master says
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    readiness = worker.wsgi.extensions["mailsync.readiness"]
    readiness.failures()


def worker_exit(server: Any, worker: Any) -> None:
    """In a worker that ends: close its database connections and kept IMAP sessions."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.extensions["mailsync"].close()


def _end_like_the_worker(server: Any) -> None:
    """SIGINT means what SIGTERM does, and a second signal ends it at once (SPEC §17)."""
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            for pid in list(server.WORKERS):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os._exit(128 + number)
        asked = True
        if _watch:
            _watch.end()
        server.signal(signal.SIGTERM, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
