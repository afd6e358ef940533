"""The API under gunicorn, for ``mailsync api``; other servers load ``wsgi.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import Application  # type: ignore[import-untyped]

from mailsync.web import create_app


def serve(on_ready: Callable[[object], None]) -> None:
    """Serve until SIGTERM or SIGINT, as :mod:`mailsync.web.gunicorn_conf` says; ends the process.

    `on_ready` is called once, with the socket's address, when the port is open. Settings are read from the
    environment anew; ``GUNICORN_CMD_ARGS`` counts as it does for the program ``gunicorn``.
    """

    class Api(Application):  # type: ignore[misc]
        def load(self) -> Flask:
            return create_app()

        def load_config(self) -> None:
            found = self.load_config_from_module_name_or_filename("python:mailsync.web.gunicorn_conf")
            given = vars(self.cfg.parser().parse_args(self.cfg.get_cmd_args_from_env()))
            for name, value in given.items():
                if value is not None and name != "args":
                    self.cfg.set(name, value)

            def when_ready(server: Any) -> None:
                found["when_ready"](server)
                on_ready(server.LISTENERS[0].sock.getsockname())

            self.cfg.set("when_ready", when_ready)

    Api().run()
