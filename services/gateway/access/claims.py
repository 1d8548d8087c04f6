"""What the holder of a token may do, by the claims that its issuer has signed. Pure."""

from collections.abc import Mapping, Set
from typing import Any, Final

from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwt import JWTClaimsRegistry

from services.gateway.access.access import SCOPES, Principal
from services.gateway.problems import Problem, cut
from shared.domain.ids import is_source
from shared.settings.groups import Oidc

SKEW_S: Final = 60
"""By which the clock of an issuer may differ from this one."""
LONGEST_NAME: Final = 128
"""Characters of a subject that logs show."""
ALL_SOURCES: Final = "*"
LAST_SECOND: Final = 2**53
"""Times of claims beyond it are this one."""


def access_from(claims: Mapping[str, Any], rule: Oidc, now: float) -> Principal:
    """What a token allows whose signature is verified.

    Args:
        claims: a JSON object.
        now: Unix time.

    Raises:
        Problem: `invalid_token`: it is for others, of others, or not valid now.
    """
    registry = JWTClaimsRegistry(
        now=int(now),
        leeway=SKEW_S,
        iss={"essential": True, "value": rule.issuer or ""},
        aud={"essential": True, "value": rule.audience or ""},
        exp={"essential": True},
        sub={"essential": True},
    )
    try:
        registry.validate(dict(claims))
    except JoseError as error:
        raise refused(_why(error)) from None
    granted = _words(claims, rule.scopes_claim)
    return Principal(
        name=_shown(f"{rule.issuer} {claims['sub']}"),
        scopes=frozenset(one for one in SCOPES if rule.scope_prefix + one in granted),
        sources=_sources(claims, rule),
        until=float(min(claims["exp"], LAST_SECOND)) + SKEW_S,
    )


def refused(why: str) -> Problem:
    """The answer to a token that is not accepted; it never shows the token."""
    challenge = 'Bearer realm="instep", error="invalid_token"'
    return Problem("invalid_token", why, headers={"WWW-Authenticate": challenge})


def _why(error: JoseError) -> str:
    if isinstance(error, ExpiredTokenError):
        return "the token has expired"
    if isinstance(error, MissingClaimError):
        return "the token needs the claims iss, aud, exp and sub"
    if isinstance(error, InvalidClaimError):
        return _WHY.get(error.claim, "a claim of the token is not valid")
    return "a claim of the token is not valid"


_WHY: Final = {
    "iss": "the token has another issuer",
    "aud": "the token is for another audience",
    "nbf": "the token is not valid yet",
    "iat": "the token was issued in the future",
}


def _sources(claims: Mapping[str, Any], rule: Oidc) -> Set[str] | None:
    if rule.sources_claim is None:
        return None
    named = _words(claims, rule.sources_claim)
    return None if ALL_SOURCES in named else frozenset(filter(is_source, named))


def _words(claims: Mapping[str, Any], name: str) -> Set[str]:
    """The texts of a claim, which may be a list or one text; none of what is neither."""
    value = claims.get(name)
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list):
        return frozenset(one for one in value if isinstance(one, str))
    return frozenset()


def _shown(name: str) -> str:
    return cut("".join(c if c.isprintable() else "?" for c in name), LONGEST_NAME)
