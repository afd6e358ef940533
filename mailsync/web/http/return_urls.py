"""Where a browser is sent after a consent (SPEC §23.5): only below the addresses that the operator lists."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from mailsync.config.oauth import is_endpoint_url
from mailsync.errors import InvalidInput

_PORTS = {"https": 443, "http": 80}
# browsers read a backslash as a slash, and servers may decode the others before they read a path
_AMBIGUOUS = ("\\", "%5c", "%2f", "%00")
_EXPECTED = (
    "expected an absolute address in ASCII, such as https://app.example.com/connected,"
    " without user name, fragment, backslash and dot segments"
)


def check_return_url(url: str, allowed: Iterable[str]) -> None:
    """Raise InvalidInput unless `url` begins with one of the `allowed` addresses.

    Scheme, host and port have to be the same; the path has to be the same or below.
    """
    if not is_endpoint_url(url) or _is_ambiguous(url):
        raise InvalidInput(f"return_url: {_EXPECTED}", field="return_url")
    if not any(_begins_with(urlsplit(url), urlsplit(beginning)) for beginning in allowed):
        raise InvalidInput(
            "return_url: expected an address that begins with one of OAUTH_RETURN_URLS", field="return_url"
        )


def with_parameters(url: str, **parameters: str) -> str:
    """Return a checked address with more parameters in its query."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(parameters))))
    return urlunsplit(parts._replace(query=query))


def _is_ambiguous(url: str) -> bool:
    before_query = url.partition("?")[0].lower()
    # some servers ignore what follows a semicolon
    segments = {part.partition(";")[0] for part in before_query.replace("%2e", ".").split("/")}
    return any(text in before_query for text in _AMBIGUOUS) or not segments.isdisjoint({".", ".."})


def _begins_with(url: SplitResult, beginning: SplitResult) -> bool:
    if _origin(url) != _origin(beginning):
        return False
    path, first = url.path or "/", beginning.path or "/"
    if beginning.query:
        return path == first and url.query.startswith(beginning.query)
    return path == first or path.startswith(first.rstrip("/") + "/")


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or _PORTS[url.scheme]
