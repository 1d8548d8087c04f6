import pytest

from services.gateway.build import read_key
from shared.domain.errors import ConfigurationError


def test_the_key_is_one_line(tmp_path):
    (tmp_path / "key").write_text("a key of many letters\n")

    assert read_key(tmp_path / "key") == "a key of many letters"


@pytest.mark.parametrize("content", [b"", b"short\n", b"two lines that\nare long", b"\xff" * 20])
def test_what_is_no_key_is_refused_without_showing_it(tmp_path, content):
    (tmp_path / "key").write_bytes(content)

    with pytest.raises(ConfigurationError) as refused:
        read_key(tmp_path / "key")
    assert "two lines" not in str(refused.value)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        read_key(tmp_path / "nowhere")
