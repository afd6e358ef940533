"""The API under gunicorn, for ``mailsync api``; other servers load ``wsgi.py``."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from gunicorn.app.base import Application  # type: ignore[import-untyped]

from mailsync.web import create_app


def serve(on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, as :mod:`mailsync.web.gunicorn_conf` says; ends the process.

    `on_ready` is called once, when the port is open. Settings are read from the environment anew.
    """

    class Api(Application):  # type: ignore[misc]
        def load(self) -> Flask:
            return create_app()

        def load_config(self) -> None:
            self.load_config_from_module_name_or_filename("python:mailsync.web.gunicorn_conf")
            self.cfg.set("when_ready", lambda server: on_ready())

    Api().run()
