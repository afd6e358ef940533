"""The HTTP API: an application factory and one blueprint for each part."""

from __future__ import annotations

from flask import Flask

from mailsync import logs
from mailsync.config import Settings, read_environment
from mailsync.errors import ConfigError
from mailsync.store.pool import Pool
from mailsync.web import guard, health, problems

MAX_BODY = 1 << 20
STATEMENT_TIMEOUT = 10.0
POOL_SIZE = 8


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application; nothing is connected to before the first request that needs it.

    Without `settings` the environment is read and logging is set up by it, as a WSGI server needs. Raises
    ConfigError with one line, also when there is no ``API_TOKEN``.
    """
    if settings is None:
        settings = Settings.from_env(read_environment(), require=("DATABASE_URL", "API_TOKEN"))
        logs.configure(settings)
    if not settings.api_tokens():
        raise ConfigError("API_TOKEN: not set; the API does not start without a bearer token")
    app = Flask("mailsync.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    pool = Pool(settings, "api", size=POOL_SIZE, statement_timeout=STATEMENT_TIMEOUT)
    problems.install(app)
    guard.install(app, settings.api_tokens())
    readiness = health.Readiness(settings, pool)
    app.extensions["mailsync.readiness"] = readiness
    app.register_blueprint(health.blueprint(readiness))
    return app
