"""The HTTP API: :func:`create_app` builds it from one blueprint for each part.

It may import everything but the worker, the demo and the command line. A request passes ``server/``
(gunicorn), ``http/auth``, ``http/endpoint`` and one of the ``views/``; ``schemas/`` has what may be sent
and what comes back.
"""

from __future__ import annotations

from flask import Flask

from mailsync import logs
from mailsync.config import Settings, read_environment
from mailsync.errors import ConfigError
from mailsync.ops import core_dumps
from mailsync.web.http import auth, problems
from mailsync.web.readiness import Readiness
from mailsync.web.resources import Services
from mailsync.web.schemas.base import Id
from mailsync.web.views import accounts, bodies, folders, health, messages, meta, runs_and_events

MAX_BODY = 1 << 20


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application; nothing is connected to before the first request that needs it.

    Without `settings` the environment is read and logging is set up by it, as a WSGI server needs; from
    then on the process leaves no core dump. Raises ConfigError with one line, also without ``API_TOKEN``.
    """
    if settings is None:
        core_dumps.forbid()
        settings = Settings.from_env(
            read_environment(), require=("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN")
        )
        logs.configure(settings)
    if not settings.api_tokens():
        raise ConfigError("API_TOKEN: not set; the API does not start without a bearer token")
    app = Flask("mailsync.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False
    # a redirect would be a page, and lead to whatever host the client has named
    app.url_map.merge_slashes = False
    app.url_map.converters["id"] = Id
    app.extensions["mailsync"] = services = Services(settings)
    app.extensions["mailsync.readiness"] = Readiness(settings, services.pool)
    problems.install(app)
    auth.install(app, settings.api_tokens())
    for part in (health, meta, accounts, folders, messages, bodies, runs_and_events):
        app.register_blueprint(part.routes)
    return app
