"""Secrets are masked in every form and place, and nothing else is."""

from __future__ import annotations

import base64
import json
import threading
import tracemalloc
from urllib.parse import quote, quote_plus

import pytest

from mailsync import redaction
from mailsync.redaction import keep_secret, kept_secret, mask_credentials, redact, redact_beginning

SECRETS = [
    "p\"a\\ss'wörd §1",
    "hunter2!",
    "a b&c=d/e?f#g",
    "ключ-от-почты",
    "tab\tand\x7f",
    "~~~???>>>",
    "Zx9",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_masked_in_every_form(secret: str) -> None:
    keep_secret(secret)
    raw = secret.encode()
    imap_quoted = secret.replace("\\", "\\\\").replace('"', '\\"')
    forms = [
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), imap_quoted, raw.hex(),
        json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1],
        repr(raw)[2:-1], base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(),
    ]  # fmt: skip
    for form in forms:
        text = redact(f"before {form} after")
        assert form not in text, form
        assert text.startswith("before ***"), text
        assert text.endswith("after"), text


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "abcd@example.org"])
def test_a_password_inside_sasl_plain_is_masked(user: str) -> None:
    secret = "correct horse battery"
    keep_secret(secret)
    line = base64.b64encode(f"\0{user}\0{secret}".encode()).decode()
    hidden = redact(f"sent {line}")
    assert "***" in hidden
    assert base64.b64encode(secret.encode()).decode()[4:-4] not in hidden


def test_a_very_short_secret_is_masked_only_as_a_whole_word() -> None:
    keep_secret("q7")
    assert redact("q7 in q7x and (q7), aq7") == "*** in q7x and (***), aq7"


def test_secrets_that_contain_each_other_are_masked_as_a_whole() -> None:
    keep_secret("open-sesame")
    keep_secret("open-sesame-and-close")
    assert redact("open-sesame-and-close open-sesame") == "*** ***"


def test_an_empty_secret_masks_nothing() -> None:
    keep_secret("")
    assert redact("plain text") == "plain text"


def test_a_password_is_masked_while_it_is_tried_and_in_errors() -> None:
    tried = "Tried-and-rejected"
    cause = OSError(f"cause {tried}")
    with pytest.raises(ValueError, match=r"^the server says \*\*\*$") as raised, kept_secret(tried):
        assert redact(f"now {tried}") == "now ***"
        raise ValueError(f"the server says {tried}") from cause
    assert "rejected" not in f"{raised.value!r} {cause!r}"
    assert redact(f"later {tried}") == f"later {tried}"


def test_a_secret_is_masked_until_its_last_keeper_is_gone() -> None:
    with kept_secret("tried-by-two"):
        with kept_secret("tried-by-two"), kept_secret("q8"):
            assert redact("tried-by-two q8") == "*** ***"
        assert redact("tried-by-two q8") == "*** q8"
    assert redact("tried-by-two") == "tried-by-two"
    keep_secret("tried-and-stored")
    with kept_secret("tried-and-stored"):
        pass
    assert redact("tried-and-stored") == "***"


def test_a_form_that_two_secrets_share_stays_until_both_are_gone() -> None:
    with kept_secret("a shared form"):
        with kept_secret("a%20shared%20form"):
            assert redact("a%20shared%20form") == "***"
        assert redact("a%20shared%20form") == "***"
    assert redact("a%20shared%20form") == "a%20shared%20form"


def _sizes() -> tuple[int, int, int]:
    """The numbers of entries for the secrets of the process."""
    known = redaction._secrets
    return len(known._users), len(known._by_head), len(known._short)


def test_secrets_of_many_threads_leave_no_entries() -> None:
    before = _sizes()
    seen = []

    def try_some(thread: int) -> None:
        for number in range(100):
            with kept_secret(f"common-{number % 3}"), kept_secret(f"pass-{thread}-{number}"):
                seen.append(redact(f"common-{number % 3} pass-{thread}-{number}"))

    threads = [threading.Thread(target=try_some, args=(thread,)) for thread in range(4)]
    for started in threads:
        started.start()
    for started in threads:
        started.join()
    assert seen == ["*** ***"] * 400
    assert _sizes() == before
    assert not redaction._secrets._removed


def test_thousands_of_secrets_are_masked_and_leave_no_entries() -> None:
    known = redaction._Secrets()
    words = [f"{number * 7919:05x}-{number:x}-secret" for number in range(5000)]
    for word in words:
        known.add(word)
    assert known.mask(f"a {words[5]} b {words[-5]} c") == "a *** b *** c"
    for word in words:
        known.remove(word)
    assert not known._by_head
    assert not known._users
    assert not known._keepers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://bob:pw@host:5432/db?x=1", "postgresql://***@host:5432/db?x=1"),
        ("see imaps://me@x:p/w@host.", "see imaps://***@host."),
        ("A1 LOGIN bob pw123", "A1 LOGIN ***"),
        ('A1 LOGIN "bob" "p w\\"1"', "A1 LOGIN ***"),
        ('b\'A1 LOGIN "bob" "pw"\'', "b'A1 LOGIN ***'"),
        ("A1 AUTHENTICATE PLAIN AGJvYgBwdw==", "A1 AUTHENTICATE PLAIN ***"),
        ('sent b\'M04217.2 LOGIN "anna" "pw"\'', "sent b'M04217.2 LOGIN ***'"),
        ("C: a001 LOGIN SMITH SESAME", "C: a001 LOGIN ***"),
        ('  41:02.33 > b\'NBBJ1 LOGIN "anna" "pw"\'', "  41:02.33 > b'NBBJ1 LOGIN ***'"),
        ("sent A0001 LOGIN anna@example.org s3same, then waited", "sent A0001 LOGIN *** then waited"),
        ("b'A1 LOGIN anna \"pass word\"'", "b'A1 LOGIN ***'"),
        ('A1 LOGIN "anna" "cut he', "A1 LOGIN ***"),
        ("NO unknown user in A1 LOGIN anna secret", "NO unknown user in A1 LOGIN ***"),
        ("A2 AUTHENTICATE LOGIN cGFzc3dvcmQ=", "A2 AUTHENTICATE LOGIN ***"),
        ("b'A2 AUTHENTICATE XOAUTH2 dXNlcj1hAWF1dGg9'", "b'A2 AUTHENTICATE XOAUTH2 ***"),
        ("AUTHENTICATE PLAIN AGJvYgBwdw==", "AUTHENTICATE PLAIN ***"),
        ("LOGIN anna 4f3cc0ffee4f3cc0ffee1", "LOGIN ***"),
        ("NO [AUTHENTICATIONFAILED] LOGIN failed for bob", "NO [AUTHENTICATIONFAILED] LOGIN failed for bob"),
        ("http://localhost:3000/health", "http://localhost:3000/health"),
        ("give postgresql://user:password@host/db", "give postgresql://user:password@host/db"),
    ],
)
def test_credentials_are_also_masked_by_their_position(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "words",
    [
        "LOGIN disabled, use AUTHENTICATE PLAIN",
        "LOGIN command disabled, use AUTHENTICATE PLAIN over TLS",
        "LOGIN method not allowed here",
        "LOGIN is disabled on this port",
        "LOGIN disabled until STARTTLS",
        "LOGIN not permitted in the clear; use STARTTLS first",
        "LOGIN attempt 3 of 5",
        "LOGIN failed 3 times from 192.0.2.1",
        "LOGIN failure. Server error - please try again later.",
        "LOGIN Login error or password error",
        "LOGIN Invalid credentials",
        "LOGIN requires TLSv1.2 or later",
        "LOGIN user unknown or wrong password",
        "LOGIN only after STARTTLS",
        "LOGIN GetAuthInfo failed (lookup error)",
        "LOGIN Username / password incorrect",
        "LOGIN aborted: too many bad commands",
        "LOGIN temporarily blocked for 10 minutes",
        "LOGIN with an app password, see https://support.example/kb/185833",
        "IMAP4 LOGIN disabled",
        "user42 LOGIN failed",
        "A0002 NO LOGIN failed for anna",
        "A0002 NO [AUTHENTICATIONFAILED] LOGIN Invalid credentials (Failure)",
        "A0002 BAD Command Argument Error. 11, LOGIN needs literal+ support",
        "a2 NO [PRIVACYREQUIRED] LOGIN disallowed over plaintext",
        "AUTHENTICATE PLAIN failed",
        "AUTHENTICATE PLAIN is not offered, only GSSAPI",
        "AUTHENTICATE failed.",
        "AUTHENTICATE LOGIN over TLS",
        "AUTHENTICATE PLAIN requires TLSv1.2",
        "NO AUTHENTICATE Unsupported authentication mechanism",
        "A0003 NO AUTHENTICATE PLAIN not allowed for this account",
        "please use AUTHENTICATE XOAUTH2 instead of LOGIN",
        "[ALERT] Application-specific password required: https://support.example/accounts/answer/185833",
    ],
)
def test_the_words_of_servers_stay(words: str) -> None:
    # without the secrets that other tests keep
    assert mask_credentials(words) == words
    assert mask_credentials(f"the server said: A7 NO {words}") == f"the server said: A7 NO {words}"


def test_a_password_in_the_words_of_a_server_is_masked_all_the_same() -> None:
    with kept_secret("Sesame-open"):
        assert redact("LOGIN disabled for anna Sesame-open") == "LOGIN disabled for anna ***"
        assert redact("LOGIN anna Sesame-open, use TLS") == "LOGIN anna ***, use TLS"


SECRET = 'pa55-Wört "q\\uote 0123456789'


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        "imap://anna:0123456789abcdef0123456789@mail.example.org/",
        'LOGIN anna "0123456789abcdef0123456789"',
        "LOGIN anna 0123456789abcdef0123456789",
        'AUTHENTICATE PLAIN "0123456789abcdef0123456789"',
        "AUTHENTICATE PLAIN 0123456789abcdef0123456789",
    ],
)
def test_a_secret_at_the_cut_is_never_partly_shown(shown: str) -> None:
    with kept_secret(SECRET), kept_secret("x"):
        for filler, step in (("a", 3), ("x ", 17)):
            for before in range(0, 900, step):
                text = (filler * before)[:before] + " " + shown + " b" * 2000
                beginning, is_whole = redact_beginning(text, 100)
                assert len(beginning) <= 100
                assert not is_whole
                assert not any(part in beginning for part in ("pa5", "012", "0123", "a55"))


TOKEN = "".join(f"{number:x}/+" for number in range(1000))
"""A token of 4,000 characters."""


def test_every_form_of_a_token_is_masked_as_a_whole() -> None:
    raw = TOKEN.encode()
    forms = [TOKEN, quote(TOKEN), quote(TOKEN, safe=""), raw.hex(), TOKEN.replace("/", "\\/")]
    forms += [base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()]
    with kept_secret(TOKEN):
        for form in forms:
            assert redact(f'a "{form}" b {form} c\n{form}') == 'a "***" b *** c\n***'
        for user in ("a", "ab", "abc"):
            message = f"user={user}\x01auth=Bearer {TOKEN}\x01\x01".encode()
            masked = redact(base64.b64encode(message).decode())
            assert masked.endswith("***")
            assert len(masked) < 40
        with pytest.raises(ValueError, match=r"^not \*\*\*, but another$"), kept_secret(TOKEN):
            raise ValueError(f"not {TOKEN}, but another")
    assert redact(TOKEN) == TOKEN


def test_a_long_passphrase_is_masked_as_it_is() -> None:
    phrase = "seven lemons under a green roof " * 20
    with kept_secret(phrase):
        assert redact(f"not {phrase}!") == "not ***!"
        assert redact(f"not {phrase[:-1]}!") == f"not {phrase[:-1]}!"


def test_a_token_takes_little_more_memory_than_a_password() -> None:
    def used(secret: str) -> int:
        tracemalloc.start()
        with kept_secret(secret):
            size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    used("warm up")
    assert used(TOKEN) < 2 * used("a-password-that-is-long") + 4096


def test_a_token_whose_end_is_missing_is_masked() -> None:
    token = "".join(f"{number:x}" for number in range(2000))
    with kept_secret(token):
        for length in (16, 100, 4000):
            assert redact(f"you said {token[:length]}") == "you said ***"
            code = base64.b64encode(token[:length].encode()).decode()[: length - length % 4]
            assert redact(f"you said {code}") == "you said ***"
        assert redact(f"you said {token[:15]}") == f"you said {token[:15]}"
        assert redact(f"you said {token[:16]} and more") == f"you said {token[:16]} and more"


@pytest.mark.parametrize("secret", [SECRET, "z" * 500])
def test_masking_never_moves_an_unmasked_secret_into_view(secret: str) -> None:
    with kept_secret(secret):
        for before in range(0, 600, 13):
            beginning, _ = redact_beginning("a" * before + f" {secret}" * 1000, 300)
            assert not any(part in beginning for part in ("pa5", "zz"))


def test_the_beginning_of_a_short_text_is_all_of_it() -> None:
    assert redact_beginning("imap://anna:secret@example.org", 100) == ("imap://***@example.org", True)
    assert redact_beginning("a" * 101, 100) == ("a" * 100, False)
    assert redact_beginning("a" * 100_000, 100) == ("a" * 100, False)
