"""A WSGI application on a loopback port, served by threads of the test's process, over HTTP or HTTPS."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support import run_directory
from tests.support.certificates import Certificate

Application = Callable[[dict[str, Any], Any], Any]


class ServedApplication:
    """Serves from its creation until ``stop``; ``url`` has no path."""

    host = "127.0.0.1"

    def __init__(self, application: Application, certificate: Certificate | None = None) -> None:
        self.port = run_directory.free_port()
        self._server = make_server(
            self.host,
            self.port,
            application,
            threaded=True,
            request_handler=_QuietHandler,
            ssl_context=certificate and certificate.context(),
        )
        self.url = f"{'https' if certificate else 'http'}://{self.host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more connections; responses that are being sent go on."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _QuietHandler(WSGIRequestHandler):
    """Logs nothing: requests contain secrets, and clients that hang up are part of the tests."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass

    def version_string(self) -> str:
        return "tests"
