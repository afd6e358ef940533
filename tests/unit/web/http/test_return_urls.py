"""Which addresses a browser may be sent to after a consent."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from mailsync.errors import InvalidInput
from mailsync.web.http.return_urls import check_return_url, with_parameters

ALLOWED = (
    "https://app.example.com/oauth/",
    "https://admin.example.com",
    "https://port.example.com:8443/done",
    "http://localhost:5173/",
    "https://query.example.com/done?tenant=7&",
)


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com/oauth/",
        "https://app.example.com/oauth/done",
        "https://app.example.com/oauth/done?user=1&x=%2F..%5C@",
        "https://app.example.com:443/oauth/done",
        "HTTPS://APP.example.com/oauth/done",
        "https://app.example.com/oauth//evil.example",
        "https://app.example.com/oauth/...",
        "https://app.example.com/oauth/@evil.example",
        "https://admin.example.com",
        "https://admin.example.com/",
        "https://admin.example.com/a/b?c",
        "https://admin.example.com?c",
        "https://port.example.com:8443/done",
        "https://port.example.com:8443/done?",
        "https://port.example.com:8443/done/",
        "https://port.example.com:8443/done/7",
        "http://localhost:5173/done",
        "https://query.example.com/done?tenant=7&user=1",
    ],
)
def test_addresses_below_a_listed_one_are_accepted(url: str) -> None:
    check_return_url(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        # another origin
        "http://app.example.com/oauth/done",
        "https://app.example.com:444/oauth/done",
        "https://app.example.com.evil.example/oauth/",
        "https://app.example.com./oauth/",
        "https://evil.example/https://app.example.com/oauth/",
        "https://evil.example/?https://app.example.com/oauth/",
        "https://evil-admin.example.com/",
        "https://admin.example.com.evil.example/",
        "https://admin.example.comevil.example/",
        "https://admin.example.com:8443/",
        "https://port.example.com/done",
        "http://localhost/",
        "http://127.0.0.1:5173/",
        # another path
        "https://app.example.com/",
        "https://app.example.com/oauth",
        "https://app.example.com/OAUTH/",
        "https://port.example.com:8443/done2",
        "https://query.example.com/done?tenant=8&",
        "https://query.example.com/done",
        "https://query.example.com/done/x?tenant=7&",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="begins with one of OAUTH_RETURN_URLS") as caught:
        check_return_url(url, ALLOWED)
    assert caught.value.field == "return_url"
    with pytest.raises(InvalidInput):
        check_return_url(url, ())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/oauth/done",
        "//app.example.com/oauth/",
        "https:app.example.com/oauth/",
        "https:///app.example.com/oauth/",
        "javascript:alert(1)//https://admin.example.com",
        "data:text/html,https://admin.example.com",
        "https://user@admin.example.com/",
        "https://user:secret@admin.example.com/",
        "https://admin.example.com@evil.example/",
        "https://admin.example.com:443@evil.example/",
        "https://@admin.example.com/",
        "https://admin.example.com\\@evil.example/",
        "https://evil.example\\@admin.example.com/",
        "https://admin.example.com\\.evil.example/",
        "https://admin.example.com%5c@evil.example/",
        "https:\\\\admin.example.com/",
        "https://admin.example.com/a\\b",
        "https://app.example.com/oauth/../evil",
        "https://app.example.com/oauth/..",
        "https://app.example.com/oauth/./x",
        "https://app.example.com/oauth/%2e%2e/evil",
        "https://app.example.com/oauth/.%2E/evil",
        "https://app.example.com/oauth/%2e",
        "https://app.example.com/oauth/..;/evil",
        "https://app.example.com/oauth/..;a=b/evil",
        "https://app.example.com/oauth/..%2fevil",
        "https://app.example.com/oauth/..%5Cevil",
        "https://app.example.com/oauth/%00",
        "https://admin.example.com/#fragment",
        "https://admin.example.com/a b",
        " https://admin.example.com/",
        "https://admin.example.com/\r\nSet-Cookie: a=b",
        "https://admin.exa\tmple.com/",
        "https://admin.example.com/\0",
        "https://admin.example.c\u043em/",
        "https://\uff41dmin.example.com/",
        "https://admin\u3002example.com/",
        "https://admin.example.com/\u202e",
        "https://admin.example.com:0/",
        "https://admin.example.com:99999/",
        "https://admin.example.com:/\u0660",
        "https://[admin.example.com/",
        "https://admin.example.com/" + "a" * 2000,
    ],
)
def test_tricks_are_refused_whatever_is_listed(url: str) -> None:
    with pytest.raises(InvalidInput, match="return_url: expected an absolute address in ASCII") as caught:
        check_return_url(url, (*ALLOWED, "https://evil.example/"))
    assert caught.value.field == "return_url"


@pytest.mark.parametrize(
    "url",
    [
        "https://admin.example.com",
        "https://admin.example.com/a/",
        "https://admin.example.com/a?",
        "https://admin.example.com/a?b=c&d",
        "https://admin.example.com:8443/a?b=c&",
    ],
)
def test_a_result_is_added_to_the_query(url: str) -> None:
    result = with_parameters(url, error="access_denied", x="a&b=c#ü ")
    before, after = urlsplit(url), urlsplit(result)
    assert after[:3] == before[:3]
    assert after.fragment == ""
    added = [("error", "access_denied"), ("x", "a&b=c#ü ")]
    assert parse_qsl(after.query) == [*parse_qsl(before.query), *added]
    assert after.query.startswith(before.query)
    assert result.isascii()
