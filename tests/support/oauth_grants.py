"""The grants of an authorization server of the tests, checked by Authlib."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from authlib.integrations.flask_oauth2 import AuthorizationServer as AuthlibServer
from authlib.oauth2.rfc6749 import (
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    InvalidRequestError,
    RefreshTokenGrant,
)
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant
from flask import Flask
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.support import planted
from tests.support.oauth_tokens import SCOPES, Client, Code, Device, Family, TokenStore, new_secret

CLIENT_METHODS = ["none", "client_secret_basic", "client_secret_post"]
DEVICE_GRANT = DeviceCodeGrant.GRANT_TYPE


class Terms:
    """How the server grants. Tests may change each of these at any time.

    ``seconds`` is how long access tokens live, and ``announced`` what answers say of it if that differs: with
    a moment, clients renew before each use. ``rotates`` tells whether a renewal returns a new refresh token,
    as Microsoft does and Google does not. ``id_tokens`` are sent for the scope ``openid``.
    """

    def __init__(self) -> None:
        self.seconds: float = 3600
        self.announced: float | None = None
        self.token_length = 1200
        self.rotates = True
        self.id_tokens = True
        self.code_seconds: float = 60
        self.device_seconds: float = 600
        self.device_interval: float = 1
        self.next_user: str | None = None
        """Whose token the next grant gives, in place of the right user's."""


class Grants:
    """Authlib's server over a store. Call it inside a request of the Flask application."""

    def __init__(self, app: Flask, store: TokenStore, terms: Terms, issuer: str) -> None:
        self.store, self.terms, self.issuer = store, terms, issuer
        self._key = OctKey.generate_key(256)
        app.config["OAUTH2_SCOPES_SUPPORTED"] = SCOPES
        self.authlib = AuthlibServer(app, query_client=store.clients.get, save_token=self._save)
        self.authlib.register_token_generator(
            "default",
            BearerTokenGenerator(
                lambda **_: new_secret(terms.token_length),
                lambda **_: new_secret(200),
                lambda *_: terms.seconds if terms.announced is None else terms.announced,
            ),
        )
        self.authlib.register_grant(self._bound(_CodeGrant), [_RequiredPkce(), self._add_id_token])
        self.authlib.register_grant(self._bound(_RefreshGrant), [self._add_id_token])
        self.authlib.register_grant(self._bound(_DeviceGrant), [self._add_id_token])
        self.authlib.register_grant(_ClientGrant)
        self.authlib.register_endpoint(self._bound(_DeviceEndpoint))

    def _bound(self, kind: type) -> type:
        # Authlib creates an object for each request and passes only its own server
        return type(kind.__name__, (kind,), {"grants": self})

    def user_of(self, user: str) -> str:
        """Return whom the tokens of a grant are for: `user`, or once the one that a test asked for."""
        chosen, self.terms.next_user = self.terms.next_user, None
        return chosen or user

    def issue(self, client: Client, user: str, scope: str) -> dict[str, Any]:
        """Return tokens as after a consent."""
        token = {"access_token": new_secret(self.terms.token_length), "refresh_token": new_secret(200)}
        family = self.store.begin_family(client.client_id, user, scope, token["refresh_token"])
        self.store.add_access(token["access_token"], user, self.terms.seconds, family)
        return token

    def _save(self, token: dict[str, Any], request: Any) -> None:
        client, family = request.client, None
        if request.payload.grant_type == "client_credentials":
            user = client.mailbox
        else:
            user = request.user
            family = getattr(request, "refresh_token", None)
            if family is not None:
                self.store.rotate(family, token.get("refresh_token"))
            elif "refresh_token" in token:
                scope = token.get("scope", "")
                family = self.store.begin_family(client.client_id, user, scope, token["refresh_token"])
        self.store.add_access(token["access_token"], user, self.terms.seconds, family)

    def _add_id_token(self, grant: Any) -> None:
        def add(grant: Any, response: tuple[int, dict[str, Any], Any]) -> None:
            token, user = response[1], grant.request.user
            if self.terms.id_tokens and "openid" in token.get("scope", "").split():
                now = int(time.time())
                claims = {"iss": self.issuer, "sub": f"id-of-{user}", "iat": now, "exp": now + 3600}
                claims |= {"aud": grant.request.client.client_id, "email": user, "preferred_username": user}
                token["id_token"] = planted.keep(jwt.encode({"alg": "HS256"}, claims, self._key))

        grant.register_hook("after_create_token_response", add)


class _RequiredPkce(CodeChallenge):
    """PKCE with S256, also from confidential clients."""

    SUPPORTED_CODE_CHALLENGE_METHOD: ClassVar = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        if grant.request.payload.data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge_method must be S256")
        super().validate_code_challenge(grant, redirect_uri)

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        if verifier := grant.request.form.get("code_verifier"):
            planted.keep(verifier)
        super().validate_code_verifier(grant, result)


class _CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_METHODS
    grants: Grants

    def generate_authorization_code(self) -> str:
        return new_secret(60)

    def save_authorization_code(self, code: str, request: Any) -> None:
        data = request.payload.data
        self.grants.store.codes[code] = Code(
            code,
            request.client.client_id,
            request.user,
            request.scope,
            request.payload.redirect_uri,
            data.get("code_challenge"),
            data.get("code_challenge_method"),
            time.time() + self.grants.terms.code_seconds,
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        known = self.grants.store.codes.get(code)
        if known and known.client_id == client.client_id and time.time() < known.expires_at:
            return known
        return None

    def delete_authorization_code(self, authorization_code: Code) -> None:
        del self.grants.store.codes[authorization_code.code]

    def authenticate_user(self, authorization_code: Code) -> str:
        return self.grants.user_of(authorization_code.user)


class _RefreshGrant(RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_METHODS
    grants: Grants

    @property
    def INCLUDE_NEW_REFRESH_TOKEN(self) -> bool:
        return self.grants.terms.rotates

    def authenticate_refresh_token(self, refresh_token: str) -> Family | None:
        return self.grants.store.find_family(refresh_token)

    def authenticate_user(self, refresh_token: Family) -> str:
        return self.grants.user_of(refresh_token.user)

    def revoke_old_credential(self, refresh_token: Family) -> None:
        pass  # TokenStore.rotate did


class _ClientGrant(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_METHODS


class _DeviceGrant(DeviceCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_METHODS
    grants: Grants

    def query_device_credential(self, device_code: str) -> Device | None:
        return self.grants.store.devices.get(device_code)

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        for code, device in self.grants.store.devices.items():
            if device.user_code == user_code and (device.user or device.denied):
                # a device code is good for one grant
                del self.grants.store.devices[code]
                return self.grants.user_of(device.user or ""), not device.denied
        return None

    def should_slow_down(self, credential: Device) -> bool:
        now, before = time.time(), credential.polled_at
        credential.polled_at = now
        if now - before >= credential.interval:
            return False
        credential.interval += 5
        return True


class _DeviceEndpoint(DeviceAuthorizationEndpoint):
    grants: Grants

    @property
    def EXPIRES_IN(self) -> float:
        return self.grants.terms.device_seconds

    @property
    def INTERVAL(self) -> float:
        return self.grants.terms.device_interval

    def generate_device_code(self) -> str:
        return new_secret(60)

    def get_verification_uri(self) -> str:
        return f"{self.grants.issuer}/device"

    def save_device_credential(self, client_id: str, scope: str | None, data: dict[str, Any]) -> None:
        terms = self.grants.terms
        self.grants.store.devices[data["device_code"]] = Device(
            data["device_code"],
            data["user_code"],
            client_id,
            scope or "",
            time.time() + terms.device_seconds,
            terms.device_interval,
        )
