"""What is trusted of a Weaviate server that encrypts, and which errors a person has to mend."""

import ssl

import pytest
import trustme

from shared.domain.errors import ConfigurationError
from shared.stores.weaviate.open import context_of, refusal


def test_the_certificates_of_the_file_are_trusted_and_no_others(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = context_of(tmp_path / "ca.pem")

    assert len(context.get_ca_certs()) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context_of(None).verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("text", "said"), [(None, "No such file"), ("", "no certificate"), ("no PEM", "no certificate")]
)
def test_a_file_without_certificates_is_named(tmp_path, text, said):
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=f"tls_ca: {file}: {said}"):
        context_of(file)


def test_only_what_stays_wrong_is_refused():
    unknown = ssl.SSLCertVerificationError("x")
    unknown.verify_message = "self-signed certificate"
    plain, torn = ssl.SSLError(1, "[SSL]"), ssl.SSLEOFError(8, "EOF")
    plain.reason, torn.reason = "WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING"

    assert "store.weaviate.tls_ca" in refusal(unknown)
    assert "store.weaviate.url" in refusal(plain)
    assert refusal(torn) == refusal(ConnectionResetError()) == refusal(TimeoutError()) == ""
