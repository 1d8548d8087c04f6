"""Which tokens are accepted, and what they allow."""

import contextlib
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_issuer import AUDIENCE, b64, claims, new_key, signed, unsigned

from services.gateway.access.access import SCOPES
from services.gateway.access.claims import SKEW_S, access_from
from services.gateway.access.jwks import (
    ALGORITHMS,
    LONGEST_TOKEN,
    MAX_KEYS,
    claims_of,
    fitting,
    read_header,
    read_keys,
)
from services.gateway.problems import Problem
from shared.settings.groups import Oidc

ISSUER = "https://login.example.org/realms/main"
RULE = Oidc(issuer=ISSUER, audience=AUDIENCE)
NOW = 1_800_000_000
GOOD = {"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "exp": NOW + 600}
KEY = new_key("RS256", "first")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)


def with_rule(**more):
    return Oidc(issuer=ISSUER, audience=AUDIENCE, **more)


def published(*keys):
    return read_keys({"keys": [key.as_dict(private=False) for key in keys]})


def verify(token, keys):
    return claims_of(token, fitting(keys, read_header(token)))


def code(error):
    return error.value.code


# -- claims ----------------------------------------------------------------------------------------


@given(st.sets(st.sampled_from(SCOPES)), st.sets(st.text()), st.booleans(), st.text(max_size=5))
def test_a_token_has_the_scopes_that_it_names_and_no_other(scopes, others, as_list, prefix):
    others = {" ".join(one.split()) for one in others}
    words = [*(prefix + one for one in scopes), *others]
    rule = with_rule(scope_prefix=prefix, scopes_claim="permissions")

    access = access_from(GOOD | {"permissions": words if as_list else " ".join(words)}, rule, NOW)

    named = set(words) if as_list else set(" ".join(words).split())
    assert access.scopes == {one for one in SCOPES if prefix + one in named}


@given(JSON, JSON)
def test_claims_of_any_form_give_no_more_than_is_named(scope, sources):
    rule = with_rule(sources_claim="instep_sources")

    access = access_from(GOOD | {"scope": scope, "instep_sources": sources}, rule, NOW)

    assert access.scopes <= set(SCOPES)
    named = sources.split() if isinstance(sources, str) else sources
    for source in access.sources or ():
        assert source in named
    if not isinstance(sources, str | list):
        assert access.sources == set()


@pytest.mark.parametrize(
    ("given_claims", "rule", "sources"),
    [
        ({}, RULE, None),
        ({"instep_sources": ["docs"]}, RULE, None),
        ({}, with_rule(sources_claim="instep_sources"), set()),
        ({"instep_sources": ["docs", "wiki"]}, with_rule(sources_claim="instep_sources"), 2),
        ({"instep_sources": "docs wiki"}, with_rule(sources_claim="instep_sources"), 2),
        ({"instep_sources": ["*"]}, with_rule(sources_claim="instep_sources"), None),
        ({"instep_sources": []}, with_rule(sources_claim="instep_sources"), set()),
        ({"instep_sources": [""]}, with_rule(sources_claim="instep_sources"), set()),
        (
            {"instep_sources": ["docs", "", "A b", "wiki"]},
            with_rule(sources_claim="instep_sources"),
            2,
        ),
        ({"instep_sources": None}, with_rule(sources_claim="instep_sources"), set()),
    ],
)
def test_the_sources_of_a_token(given_claims, rule, sources):
    wanted = {"docs", "wiki"} if sources == 2 else sources

    assert access_from(GOOD | given_claims, rule, NOW).sources == wanted


def test_a_scope_of_another_system_is_none_of_ours():
    access = access_from(GOOD | {"scope": "openid search read admin other:write"}, RULE, NOW)

    assert access.scopes == set()


@given(st.integers(min_value=-200, max_value=200), st.integers(min_value=-200, max_value=200))
def test_a_token_counts_from_its_begin_to_its_end_give_or_take_a_minute(begin, end):
    told = GOOD | {"nbf": NOW + begin, "exp": NOW + end}
    if begin > SKEW_S or end <= -SKEW_S:
        with pytest.raises(Problem, match=r"expired|not valid yet"):
            access_from(told, RULE, NOW)
    else:
        assert access_from(told, RULE, NOW).until == NOW + end + SKEW_S > NOW


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": [ISSUER]}, "another issuer"),
        ({"iss": f"{ISSUER}/"}, "another issuer"),
        ({"iss": None}, "needs the claims"),
        ({"aud": "other"}, "another audience"),
        ({"aud": ["other", "more"]}, "another audience"),
        ({"aud": {AUDIENCE: 1}}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": None}, "needs the claims"),
        ({"exp": NOW - 61}, "expired"),
        ({"exp": None}, "needs the claims"),
        ({"exp": str(NOW + 600)}, "a claim"),
        ({"exp": float("nan")}, "a claim"),
        ({"exp": True}, "a claim"),
        ({"nbf": NOW + 61}, "not valid yet"),
        ({"nbf": "now"}, "not valid"),
        ({"iat": NOW + 61}, "in the future"),
        ({"sub": None}, "needs the claims"),
        ({"sub": 7}, "a claim"),
    ],
)
def test_a_token_that_is_not_for_this_gateway_now_is_refused(changed, said):
    with pytest.raises(Problem) as refused:
        access_from(GOOD | changed, RULE, NOW)

    assert (code(refused), refused.value.kind.status) == ("invalid_token", 401)
    assert said in refused.value.detail
    assert "error=" in refused.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize("far", [10**400, 1e300, NOW + 10**9])
def test_an_end_that_is_far_away_is_one(far):
    assert access_from(GOOD | {"exp": far}, RULE, NOW).until > NOW


def test_a_token_for_several_audiences_is_for_this_one_too():
    assert access_from(GOOD | {"aud": ["other", AUDIENCE]}, RULE, NOW).name == f"{ISSUER} somebody"


@given(st.text())
def test_a_subject_of_any_letters_makes_one_line_of_a_log(subject):
    name = access_from(GOOD | {"sub": subject or "x"}, RULE, NOW).name

    assert name.isprintable()
    assert len(name) <= 128


@given(st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "x"]), JSON))
def test_claims_of_any_form_are_accepted_or_refused(told):
    with contextlib.suppress(Problem):
        access_from(GOOD | told, RULE, NOW)


# -- signatures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_token_is_accepted_by_each_asymmetric_algorithm_and_by_no_other_key(algorithm):
    key, other = new_key(algorithm, "first"), new_key(algorithm, "second")
    token = signed(claims(ISSUER), key, algorithm)

    assert verify(token, published(other, key))["iss"] == ISSUER
    with pytest.raises(Problem, match="signature"):
        claims_of(token, published(other))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "x"])
def test_no_other_algorithm_is_accepted(algorithm):
    token = unsigned(claims(ISSUER), {"alg": algorithm, "kid": "first"})

    with pytest.raises(Problem, match="algorithm") as refused:
        verify(token, published(KEY))
    assert code(refused) == "invalid_token"


def test_the_public_key_of_the_issuer_is_no_shared_secret():
    told = unsigned(claims(ISSUER), {"alg": "HS256", "kid": "first"})
    for secret in (KEY.as_pem(private=False), json.dumps(KEY.as_dict(private=False)).encode()):
        signature = hmac.new(secret, told.rstrip(".").encode(), hashlib.sha256).digest()

        with pytest.raises(Problem, match="algorithm"):
            verify(told + b64(signature), published(KEY))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": new_key("RS256", "evil").as_dict(private=False)},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MIIB"]},
    ],
)
def test_keys_and_addresses_in_a_token_are_not_looked_at(header):
    evil = new_key("RS256", "evil")
    forged = signed(claims(ISSUER), evil, "RS256", {"kid": "first"} | header)
    honest = signed(claims(ISSUER), KEY, "RS256", header)

    with pytest.raises(Problem, match="signature"):
        verify(forged, published(KEY))
    assert verify(honest, published(KEY))["sub"] == "somebody"


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"b64": True}, {"crit": ["b64"]}])
def test_a_critical_header_is_refused(header):
    token = unsigned(claims(ISSUER), {"alg": "RS256", "kid": "first"} | header)

    with pytest.raises(Problem, match="critical"):
        read_header(token)


def test_the_kid_of_a_key_of_another_kind_leads_nowhere():
    curve = new_key("ES256", "same")
    token = signed(claims(ISSUER), new_key("RS256", "first"), "RS256", {"kid": "same"})

    assert fitting(published(curve), read_header(token)) == []
    both = published(curve, new_key("RS256", "first"))
    assert fitting(both, read_header(token)) == []


def test_two_keys_of_one_kid_are_both_tried():
    one, other = new_key("RS256", "first"), new_key("RS256", "second")
    twin = read_keys({"keys": [k.as_dict(private=False) | {"kid": "twin"} for k in (one, other)]})

    assert verify(signed(claims(ISSUER), other, header={"kid": "twin"}), twin)["sub"] == "somebody"


def test_without_a_kid_it_must_be_clear_which_key_is_meant():
    token = signed(claims(ISSUER), KEY, header={"kid": None})

    assert fitting(published(KEY, new_key("ES256", "c")), read_header(token))
    assert not fitting(published(KEY, new_key("RS256", "second")), read_header(token))


def test_a_key_for_encryption_or_of_a_fixed_algorithm_signs_nothing_else():
    known = KEY.as_dict(private=False)
    token = signed(claims(ISSUER), KEY)

    assert read_keys({"keys": [known | {"use": "enc"}]}) == ()
    assert read_keys({"keys": [known | {"key_ops": ["encrypt"], "use": None}]}) == ()
    assert not fitting(read_keys({"keys": [known | {"alg": "RS512"}]}), read_header(token))
    assert fitting(read_keys({"keys": [known | {"alg": "RS256"}]}), read_header(token))


def test_weak_and_secret_keys_are_left_out_and_the_others_count():
    weak = {"kty": "RSA", "kid": "weak", "e": "AQAB", "n": b64(b"\xff" * 128)}
    secret = {"kty": "oct", "kid": "first", "k": b64(b"s" * 32)}
    later = {"kty": "AKP", "kid": "pq", "pub": "x"}

    keys = read_keys({"keys": [weak, secret, later, 7, KEY.as_dict(private=False)]})

    assert [key.kid for key in keys] == ["first"]
    assert len(read_keys({"keys": [KEY.as_dict(private=False)] * (MAX_KEYS + 5)})) == MAX_KEYS


@given(st.dictionaries(st.sampled_from(["kty", "n", "e", "x", "y", "crv", "use", "kid"]), JSON))
def test_keys_of_any_form_are_read_or_left_out(changed):
    for kind in ("RS256", "ES256", "EdDSA"):
        read_keys({"keys": [new_key(kind, "first").as_dict(private=False) | changed]})


@given(st.text() | st.builds(".".join, st.lists(st.text("abcAZ09-_="), min_size=3, max_size=3)))
def test_bytes_of_any_form_are_no_token(text):
    with pytest.raises(Problem) as refused:
        read_header(text)
    assert code(refused) == "invalid_token"


@given(JSON, JSON)
def test_headers_of_any_form_are_read_or_refused(algorithm, kid):
    with contextlib.suppress(Problem):
        header = read_header(unsigned(claims(ISSUER), {"alg": algorithm, "kid": kid}))
        assert header.algorithm in ALGORITHMS


@pytest.mark.parametrize(
    "header", [b"[" * 3_000, b'{"alg":' * 500, b"7", b"null", b'{"alg":"RS256"}\xff', b"9" * 3_000]
)
def test_deep_and_broken_headers_are_refused(header):
    with pytest.raises(Problem) as refused:
        read_header(f"{b64(header)}.e30.x")
    assert code(refused) == "invalid_token"


def test_a_token_that_is_too_long_is_not_read():
    with pytest.raises(Problem, match="longer than"):
        read_header(signed(claims(ISSUER, more="x" * LONGEST_TOKEN), KEY))


def test_a_payload_that_is_no_object_is_refused():
    from joserfc import jws

    for payload in ("[1]", "no JSON", "[" * 3_000):
        token = jws.serialize_compact({"alg": "RS256", "kid": "first"}, payload, KEY)
        with pytest.raises(Problem):
            verify(token, published(KEY))
