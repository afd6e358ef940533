"""Runs the API under gunicorn for ``mailsync api``; other servers load ``wsgi.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import Application  # type: ignore[import-untyped]

from mailsync.web import create_app


def serve(on_ready: Callable[[object], None]) -> None:
    """Serve until SIGTERM or SIGINT with :mod:`mailsync.web.gunicorn_conf`, then end the process.

    Calls `on_ready` once, with the socket's address, when the port is open. Reads the settings and
    ``GUNICORN_CMD_ARGS`` from the environment, like the program ``gunicorn``.
    """

    class Api(Application):  # type: ignore[misc]
        def load(self) -> Flask:
            return create_app()

        def load_config(self) -> None:
            module = self.load_config_from_module_name_or_filename("python:mailsync.web.gunicorn_conf")
            options = vars(self.cfg.parser().parse_args(self.cfg.get_cmd_args_from_env()))
            for name, value in options.items():
                if value is not None and name != "args":
                    self.cfg.set(name, value)

            def when_ready(server: Any) -> None:
                module["when_ready"](server)
                on_ready(server.LISTENERS[0].sock.getsockname())

            self.cfg.set("when_ready", when_ready)

    Api().run()
