"""Addresses of buckets, as the command line and the settings take them."""

import pytest

from shared.domain.addresses import bucket_address
from shared.domain.errors import ConfigurationError
from shared.settings import load


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://docs", ("s3", "docs", "")),
        ("gs://docs/", ("gs", "docs", "")),
        ("az://docs/team/de/", ("az", "docs", "team/de")),
        ("s3://docs/my%20team/100%", ("s3", "docs", "my team/100%")),
    ],
)
def test_an_address_has_a_scheme_a_bucket_and_a_prefix(url, parts):
    assert bucket_address.parse(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "docs",
        "s3://",
        "s3:///team",
        "file:///etc",
        "http://docs/team",
        "memory://docs",
        "s3://key:hidden@docs",
        "s3://docs:80",
        "s3://docs/a?versionId=hidden",
        "s3://docs/#hidden",
        "s3://docs/a//b",
        "s3://docs/a/../b",
        "s3://docs/a/%2e%2e/b",
        "s3://[hidden",
    ],
)
def test_what_is_no_address_is_refused_by_settings_and_never_repeated(tmp_path, url):
    with pytest.raises(ValueError, match=r"bucket|IPv6"):
        bucket_address.parse(url)

    file = tmp_path / "instep.toml"
    file.write_text(f'[sources.docs]\nkind = "bucket"\nurl = "{url}"\n')
    with pytest.raises(ConfigurationError) as refused:
        load(config=file, environ={})
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("endpoint", ["nowhere", "http://", "http://a b", "ftp://x", "http://x:y"])
def test_an_endpoint_is_the_address_of_a_server(tmp_path, endpoint):
    file = tmp_path / "instep.toml"
    file.write_text(f'[sources.d]\nkind = "bucket"\nurl = "s3://docs"\nendpoint = "{endpoint}"\n')

    with pytest.raises(ConfigurationError, match="http://localhost"):
        load(config=file, environ={})
