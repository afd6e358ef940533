"""Pages for people: text only, whatever the text is."""

from __future__ import annotations

from mailsync.web.http.pages import page, redirect


def test_texts_are_escaped_and_nothing_is_loaded() -> None:
    evil = "<script>alert('x')</script>&\"{title}{0}"
    answer = page(400, evil, evil)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert answer.content_type == "text/html; charset=utf-8"
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;&quot;{title}{0}") == 3
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "sandbox"} <= {*policy}
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_a_redirect_is_a_get_that_tells_nobody_where_it_comes_from() -> None:
    answer = redirect("https://app.example.com/?a=b&error=access_denied")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "https://app.example.com/?a=b&error=access_denied"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.get_data() == b""
