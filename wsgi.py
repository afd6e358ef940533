"""The API for a WSGI server: ``gunicorn -c python:mailsync.web.gunicorn_conf wsgi:app``."""

from mailsync.web import create_app

app = create_app()
