"""An issuer of tokens on a real socket, whose keys change, and which may fail in every way."""

import asyncio
import contextlib
import json
import time
from functools import cache

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import JWKRegistry
from joserfc.jws import JWSRegistry

AUDIENCE = "instep"
KINDS = {
    "RS": ("RSA", 2048),
    "PS": ("RSA", 2048),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}


@cache
def new_key(algorithm, kid):
    """The key of this name; the same one in every test, as one takes a moment to make."""
    kind = KINDS.get(algorithm) or KINDS[algorithm[:2]]
    return JWKRegistry.generate_key(*kind, {"kid": kid, "use": "sig"})


class AnyRegistry(JWSRegistry):
    """Signs by every algorithm."""

    max_header_length = max_payload_length = 2**20

    def get_alg(self, name):
        return self.algorithms[name]


def claims(issuer, **more):
    """The claims of a good token, with others in place of them; None: without that one."""
    now = int(time.time())
    told = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "somebody",
        "iat": now,
        "exp": now + 600,
        "scope": "openid instep:search instep:read",
    }
    return {name: value for name, value in (told | more).items() if value is not None}


def signed(told, key, algorithm="RS256", header=None):
    """A token with these claims. `header`: beside `alg` and `kid`, which it may replace."""
    header = {"alg": algorithm, "kid": key.kid} | (header or {})
    header = {name: value for name, value in header.items() if value is not None}
    registry = AnyRegistry(strict_check_header=False)
    return jwt.encode(header, told, key, registry=registry)


class TokenIssuer:
    """What it answers can be changed while it runs."""

    def __init__(self):
        self.algorithm = "RS256"
        self.key = new_key("RS256", "first")
        self.published = [self.key]
        self.issuer = None
        self.named = None
        """Issuer of the discovery document; None: itself."""
        self.jwks_uri = None
        self.asked = []
        self.status = 200
        self.headers = {}
        self.body = None
        """In place of the JWKS."""
        self.padding = b""
        """Behind the JWKS."""
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.arrived = asyncio.Event()

    def rotate(self, kid):
        """Sign by a new key, and publish it in place of the others."""
        self.key = new_key(self.algorithm, kid)
        self.published = [self.key]

    def token(self, *, header=None, **more):
        return signed(claims(self.issuer, **more), self.key, self.algorithm, header)

    async def answer(self, request):
        self.asked.append(request.path)
        self.arrived.set()
        await self.hangs.wait()
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers)
        if request.path.endswith("openid-configuration"):
            told = {"issuer": self.named or self.issuer}
            keys = self.jwks_uri or "{issuer}/keys"
            told["jwks_uri"] = keys.format(issuer=self.issuer) if isinstance(keys, str) else keys
            return web.json_response(told)
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": f"{self.issuer}/keys"})
        if self.body is not None:
            return web.Response(body=self.body, headers=self.headers)
        keys = {"keys": [key.as_dict(private=False) for key in self.published]}
        return web.Response(body=json.dumps(keys).encode() + self.padding)


@contextlib.asynccontextmanager
async def token_issuer():
    issuer = TokenIssuer()
    app = web.Application()
    app.router.add_get("/{path:.*}", issuer.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        issuer.hangs.set()
        await runner.cleanup()


def unsigned(told, header):
    """A token without a valid signature."""
    parts = [json.dumps(part).encode() for part in (header, told)]
    return ".".join([*map(b64, parts), ""])


def b64(data):
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(data).rstrip(b"=").decode()
