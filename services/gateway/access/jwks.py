"""Which key of an issuer has signed a token, and whether it has. Pure.

The token says which key and algorithm it means, and nothing more is taken from its header: keys and
addresses in it (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import base64_to_int

from services.gateway.access.claims import refused

LONGEST_TOKEN: Final = 8 * 1024
"""Characters; a header of a request is not longer."""
MAX_KEYS: Final = 100
"""Of one issuer; more are not looked at."""
RSA_BITS: Final = range(2_048, 8_193)
ALGORITHMS: Final = frozenset(
    {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
    }
)
"""Those with a public key only: an issuer's public key must never do as a shared secret."""

Key = RSAKey | ECKey | OKPKey
_BROKEN: Final = (
    JoseError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
    OverflowError,
)
"""What a library may raise for bytes that are not what they should be."""


class _Registry(JWSRegistry):
    max_header_length = 4 * 1024
    max_payload_length = LONGEST_TOKEN

    def get_alg(self, name: str) -> Any:
        """Without the library's warning of EdDSA's name, which issuers go on using."""
        if name not in ALGORITHMS:
            raise refused("the token is signed by an algorithm that is not accepted")
        return self.algorithms[name]


_REGISTRY: Final = _Registry(algorithms=ALGORITHMS, strict_check_header=False)


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """What a token says of its signature."""

    algorithm: str
    kid: str | None


def read_header(token: str) -> TokenHeader:
    """The header of a token, before anything of it is verified.

    Raises:
        Problem: `invalid_token`.
    """
    if len(token) > LONGEST_TOKEN:
        raise refused(f"the token is longer than {LONGEST_TOKEN:,} characters")
    try:
        header = jws.extract_compact(token.encode("ascii"), registry=_REGISTRY).headers()
    except _BROKEN:
        raise refused("the token is not a signed JWT") from None
    if not isinstance(header, dict) or not isinstance(algorithm := header.get("alg"), str):
        raise refused("the token is not a signed JWT")
    if algorithm not in ALGORITHMS:
        raise refused("the token is signed by an algorithm that is not accepted")
    if "crit" in header or "b64" in header:
        raise refused("the token has a critical header that is not known")
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise refused("the token is not a signed JWT")
    return TokenHeader(algorithm, kid)


def read_keys(document: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys of a JWKS with which tokens may be signed; others are left out.

    Raises:
        ValueError: it is no JWKS.
    """
    match document:
        case {"keys": list(given)}:
            read = (_read_key(one) for one in given[:MAX_KEYS])
            return tuple(key for key in read if key is not None)
    raise ValueError("it has no list of keys")


def fitting(keys: Sequence[Key], header: TokenHeader) -> list[Key]:
    """The keys that can have signed a token; without a `kid` it must be clear which is meant."""
    fit = [key for key in keys if _fits(key, header.algorithm)]
    if header.kid is None:
        return fit if len(fit) == 1 else []
    return [key for key in fit if key.kid == header.kid]


def claims_of(token: str, keys: Sequence[Key]) -> dict[str, Any]:
    """The claims of a token that one of the keys has signed.

    Raises:
        Problem: `invalid_token`: none has.
    """
    for key in keys:
        try:
            return jwt.decode(token, key, registry=_REGISTRY).claims
        except _BROKEN:
            continue
    raise refused("the signature of the token is not valid")


def _fits(key: Key, algorithm: str) -> bool:
    try:
        key.check_alg(algorithm)
        _REGISTRY.get_alg(algorithm).check_key(key)
    except JoseError:
        return False
    return True


def _read_key(given: Any) -> Key | None:
    """None: it is none with which tokens may be signed."""
    if not isinstance(given, dict) or given.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        if given["kty"] == "RSA" and base64_to_int(given["n"]).bit_length() not in RSA_BITS:
            return None
        key = JWKRegistry.import_key(given)
        key.check_use("sig")
        key.check_key_op("verify")
    except _BROKEN:
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None
