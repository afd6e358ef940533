"""Endpoints for the metrics and the OpenAPI description."""

from __future__ import annotations

import json

from flask import Blueprint, Response, current_app

from mailsync.ops import metrics
from mailsync.web.http import openapi
from mailsync.web.http.endpoint import endpoint
from mailsync.web.resources import resources

routes = Blueprint("meta", __name__)


@routes.get("/metrics")
@endpoint(media="text/plain")
def read_metrics() -> Response:
    """Read the metrics of all accounts and workers as Prometheus text.

    All values come from Postgres, so scraping any one process is enough.
    """
    with resources().reading() as conn:
        return Response(metrics.render(conn), content_type=metrics.CONTENT_TYPE)


@routes.get("/openapi.json")
@endpoint()
def read_openapi() -> Response:
    """Read this description of the API (OpenAPI 3.1)."""
    text = current_app.extensions.get("mailsync.openapi")
    if text is None:
        text = json.dumps(openapi.document(current_app._get_current_object()), ensure_ascii=False)  # type: ignore[attr-defined]
        current_app.extensions["mailsync.openapi"] = text
    return Response(text + "\n", mimetype="application/json")
