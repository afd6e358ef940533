"""The HTTP API: :func:`create_app` builds it from one blueprint for each part.

It may import everything but the worker, the demo and the command line. A request passes through ``server/``
(gunicorn), ``http/auth``, ``http/endpoint`` and one of the ``views/``; ``schemas/`` has the documents that
clients send and receive.
"""

from __future__ import annotations

import logging

from flask import Flask

from mailsync import logs
from mailsync.config import Settings, find_environment
from mailsync.errors import ConfigError
from mailsync.ops import core_dumps
from mailsync.web.http import auth, problems
from mailsync.web.resources import Resources
from mailsync.web.schemas.base import Id
from mailsync.web.views import accounts, bodies, folders, health, messages, meta, oauth, runs_and_events

MAX_BODY = 1 << 20


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application; it connects to nothing before the first request that needs a connection.

    Without `settings`, as under a WSGI server, read them from the environment, set up logging and forbid core
    dumps. Raises ConfigError with one line, also if ``API_TOKEN`` is not set.
    """
    if settings is None:
        core_dumps.forbid()
        settings = Settings.from_env(
            find_environment(), require=("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN")
        )
        logs.configure(settings)
        # the readiness checks log an outage once; the pool would log each attempt to reconnect
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    if not settings.api_tokens():
        raise ConfigError("API_TOKEN: not set; the API does not start without a bearer token")
    app = Flask("mailsync.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False
    # a redirect would be an HTML page, and would point to whatever host the client named
    app.url_map.merge_slashes = False
    app.url_map.converters["id"] = Id
    app.extensions["mailsync"] = Resources(settings)
    problems.install(app)
    auth.install(app, settings.api_tokens())
    for views in (health, meta, accounts, oauth, folders, messages, bodies, runs_and_events):
        app.register_blueprint(views.routes)
    return app
