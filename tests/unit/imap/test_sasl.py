"""The messages of SASL mechanisms, and what the refusal of a token says (SPEC §23.1)."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from mailsync.credentials import BearerToken
from mailsync.errors import (
    AuthenticationFailed,
    InvalidInput,
    MailsyncError,
    NotConnected,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.imap.sasl import (
    LONGEST_CHALLENGE,
    MOST_CHALLENGES,
    Challenges,
    Refusal,
    check_token,
    read_refusal,
    token_error,
    token_response,
)
from mailsync.imap.status_responses import StatusResponse
from mailsync.model import Endpoint
from mailsync.redaction import masking

SCOPE = "https://mail.example.com/"
JSON = json.dumps({"status": "401", "schemes": "bearer", "scope": SCOPE}).encode()
CODE = b64encode(JSON)


def endpoint(user: str, host: str = "imap.example.com") -> Endpoint:
    return Endpoint(host, 993, "tls", user)


@pytest.mark.parametrize(
    ("mechanism", "user", "host", "message"),
    [
        ("XOAUTH2", "a@b.c", "h", "user=a@b.c|auth=Bearer t0k/en==||"),
        ("XOAUTH2", "ä=,@b.c", "h", "user=ä=,@b.c|auth=Bearer t0k/en==||"),
        ("OAUTHBEARER", "a@b.c", "h", "n,a=a@b.c,|host=h|port=993|auth=Bearer t0k/en==||"),
        ("OAUTHBEARER", "ä=,@b.c", "[::1]", "n,a=ä=3D=2C@b.c,|host=::1|port=993|auth=Bearer t0k/en==||"),
    ],
)
def test_the_message_of_a_mechanism(mechanism: str, user: str, host: str, message: str) -> None:
    expected = message.replace("|", "\x01").encode()
    assert token_response(mechanism, endpoint(user, host), "t0k/en==") == expected


@pytest.mark.parametrize(
    ("user", "token", "words"),
    [
        ("a\x01auth=Bearer x", "token", "user name"),
        ("a", "to\x01ken", "access token"),
        ("a", "to ken", "access token"),
        ("a", "tokén", "access token"),
        ("a", "token\n", "access token"),
        ("a", "", "access token"),
    ],
)
def test_what_cannot_stand_in_a_message_is_refused(user: str, token: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        check_token(endpoint(user), BearerToken(token))
    assert caught.value.step == "connect"
    assert not token or token not in str(caught.value)
    check_token(endpoint("a,b=c"), BearerToken("~visible+/-._="))


@pytest.mark.parametrize(
    ("challenges", "refusal"),
    [
        ([CODE], Refusal("401", SCOPE)),
        ([CODE[:40], CODE[40:]], Refusal("401", SCOPE)),
        ([CODE[:41], CODE[41:43], CODE[43:]], Refusal("401", SCOPE)),
        ([b64encode(JSON[:41]), b64encode(JSON[41:])], Refusal("401", SCOPE)),
        ([CODE.rstrip(b"=")], Refusal("401", SCOPE)),
        ([CODE[:30]], Refusal("401", "")),
        ([CODE[:29]], Refusal("401", "")),
        ([JSON], Refusal("401", SCOPE)),
        ([b64encode(b'{"status":400}')], Refusal("400", "")),
        ([b64encode(b'{"status" : 400, "scope": ["x"], ')], Refusal("400", "")),
        ([b64encode(b'{"status":"invalid_token","scope":null}')], Refusal("invalid_token", "")),
        ([b64encode(b'{"scope":"x"}')], None),
        ([b64encode(b'{"status":["401"]}')], None),
        ([b64encode(b'"status"')], None),
        ([b64encode(b"[" * 6000)], None),
        ([b64encode(b'{"status":"\xff\xfe"}')], Refusal("\ufffd\ufffd", "")),
        ([b"\xff\xff not base64 ="], None),
        ([b""], None),
        ([], None),
    ],
)
def test_a_refusal_is_read_in_any_form(challenges: list[bytes], refusal: Refusal | None) -> None:
    assert read_refusal(challenges) == refusal


@pytest.mark.parametrize(
    ("answer", "status", "kind", "words"),
    [
        ("NO failed.", "401", AuthenticationFailed, r"failed\. \(status 401: .* expired"),
        ("NO failed.", "400", AuthenticationFailed, r"failed\. \(status 400: .* not accepted"),
        ("NO failed.", "invalid_token", AuthenticationFailed, r"\(invalid_token: .* expired"),
        ("NO failed.", "INVALID_TOKEN ", AuthenticationFailed, r"\(invalid_token: .* expired"),
        ("NO failed.", "insufficient_scope", AuthenticationFailed, rf"lacks the scope {SCOPE}\)$"),
        ("NO failed.", "503", Transient, r"\(status 503\)$"),
        ("NO failed.", "temporarily_unavailable", Transient, r"\(status temporarily_unavailable\)$"),
        ("NO failed.", "429", Throttled, r"\(status 429\)$"),
        ("NO failed.", "418", AuthenticationFailed, r"failed\. \(status 418\)$"),
        ("NO failed.", None, AuthenticationFailed, r"the server said NO failed\.$"),
        ("NO [UNAVAILABLE] later", None, Transient, "UNAVAILABLE"),
        ("NO [UNAVAILABLE] later", "418", Transient, "UNAVAILABLE"),
        ("BAD what?", None, ProtocolError, "what"),
        ("BAD what?", "401", AuthenticationFailed, "what"),
        ("BAD User is authenticated but not connected.", "401", NotConnected, "not connected"),
    ],
)
def test_the_status_of_a_refusal_classes_the_error(
    answer: str, status: str | None, kind: type[MailsyncError], words: str
) -> None:
    kind_of_answer, _, text = answer.partition(" ")
    completion = StatusResponse(kind_of_answer, text.encode())
    error = token_error(completion, Refusal(status, SCOPE) if status else None)
    assert type(error) is kind
    assert error.step == "login"
    with pytest.raises(kind, match=words):
        raise error


def test_a_refusal_waits_as_long_as_the_server_asks() -> None:
    completion = StatusResponse("NO", b"try again in 15 minutes")
    assert token_error(completion, Refusal("401", "")).retry_after == 900


def test_the_words_of_a_refusal_are_masked_and_cut() -> None:
    completion = StatusResponse("NO", b"no", masking("secret-token"))
    error = token_error(completion, Refusal("insufficient_scope", "secret-token " + "x" * 10_000 + "\n\x1b"))
    assert "secret" not in str(error)
    assert len(str(error)) < 400
    assert str(error).isprintable()
    error = token_error(completion, Refusal("secret-token\n" * 1000, ""))
    assert "secret" not in str(error)
    assert len(str(error)) < 400


class Sent(list[bytes]):
    """The lines that were sent."""

    def __call__(self, line: bytes) -> None:
        self.append(line)


def test_each_challenge_is_answered_and_folded_lines_belong_to_it() -> None:
    sent, challenges = Sent(), Challenges(b"AQ==")
    assert not challenges.reply(b"e30=", sent), "nothing is folded before the first challenge"
    assert challenges.reply(b"+ " + CODE[:20], sent)
    assert challenges.reply(CODE[20:30] + b" ", sent)
    assert challenges.reply(b" " + CODE[30:], sent)
    assert challenges.reply(b"+", sent)
    assert challenges.parts == [CODE, b""]
    assert sent == [b"AQ==", b"AQ=="]


def test_a_server_that_ignores_the_initial_response_gets_it_again_once() -> None:
    sent, challenges = Sent(), Challenges(b"AQ==", b"initial")
    for line in (b"+ ", b"+ ", b"+ " + CODE):
        assert challenges.reply(line, sent)
    assert sent == [b"initial", b"AQ==", b"AQ=="]
    assert challenges.parts == [b"", CODE]
    sent, challenges = Sent(), Challenges(b"", b"initial")
    for line in (b"+ " + CODE, b"+ "):
        assert challenges.reply(line, sent)
    assert sent == [b"", b""]


def test_what_is_kept_of_challenges_is_bounded() -> None:
    sent, challenges = Sent(), Challenges(b"")
    for _ in range(MOST_CHALLENGES):
        assert challenges.reply(b"+ " + b"A" * 8000, sent)
        assert challenges.reply(b"A" * 8000, sent)
    assert sum(map(len, challenges.parts)) == LONGEST_CHALLENGE
    with pytest.raises(ProtocolError, match="challenges"):
        challenges.reply(b"+ ", sent)
    assert read_refusal(challenges.parts) is None
