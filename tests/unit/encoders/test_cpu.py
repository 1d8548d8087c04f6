import pytest

from shared.domain.errors import ConfigurationError
from shared.encoders.local import cpu


def test_flags_are_read_from_the_first_processor(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n\nflags : other\n")

    assert cpu.flags(info) == {"fpu", "avx2", "avx512_vnni"}


def test_a_system_that_does_not_say_has_no_flags(tmp_path):
    assert cpu.flags(tmp_path / "none") == frozenset()


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx_vnni", "amx_int8"])
def test_int8_runs_where_it_makes_the_same_vectors(flag):
    cpu.require_int8({"avx2", flag})


def test_int8_is_refused_where_it_would_make_other_vectors():
    with pytest.raises(ConfigurationError, match=r"set embedding\.numeric to f32"):
        cpu.require_int8({"avx2", "avx512f"})
