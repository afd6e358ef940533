"""The HTTP API: an application factory and one blueprint for each part."""

from __future__ import annotations

from flask import Flask

from mailsync import logs
from mailsync.config import Settings, read_environment
from mailsync.errors import ConfigError
from mailsync.ops import core_dumps
from mailsync.web import accounts, bodies, folders, guard, health, history, messages, meta, problems
from mailsync.web.fields import Id
from mailsync.web.readiness import Readiness
from mailsync.web.services import Services

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
    guard.install(app, settings.api_tokens())
    for part in (health, meta, accounts, folders, messages, bodies, history):
        app.register_blueprint(part.routes)
    return app
