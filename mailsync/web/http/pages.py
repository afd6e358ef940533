"""A page for a person whose browser comes back from a consent: text only, and nothing is loaded."""

from __future__ import annotations

from html import escape

from flask import Response

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
"""Headers of a page. The address that it has holds a code, which no other site may learn."""

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
<p>{text}</p>
</html>
"""


def page(status: int, title: str, text: str) -> Response:
    """Return a page with one heading and one paragraph; both are texts, not HTML."""
    body = _PAGE.format(title=escape(title), text=escape(text))
    return Response(body, status, HEADERS, mimetype="text/html")


def redirect(url: str) -> Response:
    """Return a redirect by GET to a checked address, which does not learn where the browser comes from."""
    return Response(status=303, headers={"Location": url, "Referrer-Policy": "no-referrer"})
