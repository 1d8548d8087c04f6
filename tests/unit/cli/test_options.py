from argparse import Namespace
from pathlib import Path

import pytest

from services.cli import main
from services.cli.exits import Stop
from services.cli.options import Surroundings, common
from services.cli.parser import parse
from services.cli.up.live import LiveView
from services.host.options import Options, SourceArgument, UpOptions
from shared.domain.errors import ConfigurationError
from shared.observe.progress import Progress


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("INSTEP_DATA", "INSTEP_CONFIG", "INSTEP_URL", "INSTEP_KEY_FILE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def args(**given):
    none = {"data": None, "config": None, "url": None, "key_file": None}
    flags = {"json": False, "quiet": False, "debug": False, "no_color": False}
    return Namespace(**{**none, **flags, **given})


def up(**given):
    progress = Progress()
    view = LiveView(progress, "0", "x")
    return UpOptions(data=Path("x"), progress=progress, view=view, **given)


def test_an_option_goes_before_the_environment_before_the_default(here):
    around = Surroundings.of({"INSTEP_DATA": "there"})

    assert common(args(), Surroundings())["data"] == Path(".instep")
    assert common(args(), around)["data"] == Path("there")
    assert common(args(data="mine"), around)["data"] == Path("mine")


def test_instep_toml_is_taken_where_it_lies(here):
    assert common(args())["config"] is None
    (here / "instep.toml").write_text("")
    assert common(args())["config"] == Path("instep.toml")
    with pytest.raises(Stop, match="no such settings file"):
        common(args(), Surroundings(config="other.toml"))


@pytest.mark.parametrize(
    ("environ", "option", "color"),
    [
        ({}, False, True),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, False, True),
        ({"TERM": "dumb"}, False, False),
        ({}, True, False),
    ],
)
def test_colour_is_a_wish_that_may_be_refused(here, environ, option, color):
    assert common(args(no_color=option), Surroundings.of(environ))["color"] is color


def test_folders_given_are_the_only_folders_and_keep_what_the_file_says_of_them(here):
    (here / "instep.toml").write_text(
        '[sources.docs]\npath = "old"\nexclude = ["x/**"]\n[sources.wiki]\npath = "wiki"\n'
        '[sources.inbox]\nkind = "push"\n'
    )
    config = Path("instep.toml")
    folder = SourceArgument("docs", str(here / "new"), "new")

    given = up(config=config, folders=(folder,), include=("*.md",), port=0).settings()
    none = up(config=config).settings()

    assert set(given.sources) == {"docs", "inbox"}
    assert given.sources["docs"].path == here / "new"
    assert given.sources["docs"].exclude == ("x/**",)
    assert given.sources["docs"].include == ("*.md",)
    assert given.gateway.port == 0
    assert set(none.sources) == {"docs", "wiki", "inbox"}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["up", "dcos"], "no such folder; did you mean docs?"),
        (["up", "file.md"], "is a file"),
        (["up", "docs", "docs/sub"], "is inside docs"),
        (["up", "docs", "--source", "Bad Name"], "a source name has"),
        (["up", "docs", "wiki", "--source", "x"], "names one folder"),
        (["up", "--source", "x"], "go with a PATH"),
        (["up", "docs", "--strict"], "--strict goes with --once"),
        (["up", "docs", "--open", "--once"], "--open does not go with --once"),
        (["up", "docs", "--port", "99999"], "0 to 65535"),
        (["up"], "nothing to watch"),
    ],
)
def test_up_refuses_what_cannot_be_meant_before_anything_is_started(here, capsys, argv, said):
    for name in ("docs", "docs/sub", "wiki"):
        (here / name).mkdir()
    (here / "file.md").write_text("x")

    assert main.run([*argv, "--data", str(here / "data")]) == 2

    assert said in capsys.readouterr().err
    assert not (here / "data").exists()


def test_options_hold_what_was_parsed(here):
    options = Options(**common(parse(["status", "--json", "--url", "http://h"])))

    assert (options.json, options.url, options.quiet) == (True, "http://h", False)


def test_the_key_is_read_from_its_file_and_a_missing_one_is_said(here):
    (here / "key").write_text("secret-of-many-letters\n")
    around = Surroundings.of({"INSTEP_KEY_FILE": "key"})

    assert Options(**common(args(), Surroundings())).key() is None
    assert Options(**common(args(), around)).key() is None  # that is for another gateway, perhaps
    assert Options(**common(args(key_file="key"), around)).key() == "secret-of-many-letters"
    with pytest.raises(ConfigurationError, match="nowhere"):
        Options(**common(args(key_file="nowhere"), around)).key()
