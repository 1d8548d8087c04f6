import subprocess
import sys
import tomllib

import pytest
from pydantic import TypeAdapter

from services.cli.command_table import COMMANDS
from services.cli.exits import Stop
from services.cli.main import run
from services.cli.parser import build, parse
from shared.settings import Source


def stopped(*argv):
    with pytest.raises(Stop) as stop:
        parse(argv)
    return stop.value


NAMES = [c.name for c in COMMANDS] + [f"{c.name} {a.name}" for c in COMMANDS for a in c.actions]


@pytest.mark.parametrize("command", NAMES)
def test_every_command_has_help_with_an_example(command, capsys):
    assert run([*command.split(), "--help"]) == 0

    shown = capsys.readouterr().out
    assert "example:" in shown
    assert f"instep {command}" in shown
    assert "--data DIR" in shown


@pytest.mark.parametrize("argv", [["--json", "status"], ["status", "--json"]])
def test_global_options_stand_before_or_after_the_command(argv):
    assert parse(argv).json is True


def test_an_option_before_the_command_is_not_undone_after_it():
    args = parse(["--data", "x", "--json", "search", "q", "--url", "http://h"])

    assert (args.data, args.json, args.url, args.quiet) == ("x", True, "http://h", False)
    assert parse(["--data", "x", "search", "q", "--data", "y"]).data == "y"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["serach", "x"], "'serach' is not a command; did you mean search?"),
        (["search", "x", "--explian"], "--explian is no option of search; did you mean --explain?"),
        (["search", "x", "--jsn"], "did you mean --json?"),
        (["--dta", "x", "status"], "did you mean --data?"),
        (["search", "x", "--mode", "vectr"], "'vectr' is not possible; did you mean vector?"),
        (["run", "embeder"], "'embeder' is not possible; did you mean embedder?"),
        (["search"], "the following arguments are required: Q"),
        (["version", "extra"], "'extra' is one argument too many"),
        (["search", "x", "--exp"], "--exp is no option of search"),
        (["search", "x", "-n", "many"], "'many' is not a number"),
        (["search", "x", "--filter", "-path:old"], "is written --filter=VALUE"),
        (["search", "--replicas"], "no option of search; did you mean --explain? If it is no"),
        (["search", "--replicas"], "write: instep search -- --replicas"),
        (["search", "x", "-y"], "write: instep search -- -y"),
        (["--json", "show", "--a.md"], "write: instep show -- --a.md"),
        (["--data", "x", "search", "--json"], "the following arguments are required: Q"),
        (["--data", "x", "--jsn"], "--jsn is no option of instep; did you mean --json?"),
        (["removals", "aprove", "docs"], "'aprove' is not possible; did you mean approve?"),
        (["removals", "approve", "--foo"], "write: instep removals approve -- --foo"),
        (["removals", "approve", "a", "b"], "one argument too many for removals approve"),
        (["failures", "dismiss", "--al"], "no option of failures dismiss; did you mean --all?"),
        (["failures", "--all"], "--all is no option of failures"),
        (["failures", "--state=refused", "dismiss", "--all"], "--state is no option of failures d"),
    ],
)
def test_what_cannot_be_understood_is_one_line_with_what_was_meant(argv, said):
    stop = stopped(*argv)

    assert said in stop.text
    assert "\n" not in stop.text
    assert stop.status == 2


def test_a_question_needs_no_quotes():
    assert parse(["search", "how", "do", "I", "-n", "3"]).query == ["how", "do", "I"]


def test_what_stands_after_two_dashes_is_the_question():
    assert parse(["search", "--json", "--", "--replicas", "-n"]).query == ["--replicas", "-n"]
    assert parse(["search", "-v means what"]).query == ["-v means what"]
    assert parse(["search", "-5"]).query == ["-5"]


@pytest.mark.parametrize(
    ("argv", "source", "ids"),
    [
        (["failures", "--source", "x", "dismiss", "f_1"], "x", ["f_1"]),
        (["failures", "dismiss", "f_1", "--source", "x"], "x", ["f_1"]),
        (["failures", "--source", "y", "dismiss", "--source", "x"], "x", []),
        (["failures", "dismiss", "f_1"], "", ["f_1"]),
    ],
)
def test_options_stand_before_and_after_an_action(argv, source, ids):
    args = parse(argv)

    assert (args.handler, args.source, args.ids) == ("commands.failures:run_dismiss", source, ids)


def test_no_command_prints_the_help(capsys):
    assert run([]) == 0

    assert "instep up ./docs" in capsys.readouterr().out


def test_the_version_has_two_ways(capsys):
    assert run(["version"]) == run(["--version"]) == 0

    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith("instep 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell, capsys):
    assert run(["completion", shell]) == 0

    shown = capsys.readouterr().out
    assert all(command.name in shown for command in COMMANDS)


def test_handlers_exist():
    import importlib

    for command in [*COMMANDS, *(action for c in COMMANDS for action in c.actions)]:
        module, _, function = command.handler.partition(":")
        assert callable(getattr(importlib.import_module(f"services.cli.{module}"), function))
    assert build().prog == "instep"


HEAVY = ("pydantic", "numpy", "nats", "rich", "asyncio", "aiohttp", "structlog", "faststream")


@pytest.mark.parametrize(
    "module",
    [
        "main",
        *map(
            "commands.{}".format, ("search", "status", "show", "failures", "removals", "validate")
        ),
    ],
)
def test_what_everybody_waits_for_imports_nothing_heavy(module):
    code = (
        f"import services.cli.main, services.cli.{module}, sys;"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("sqlite:///shop.db", "sqlite:///shop.db"),
        ("sqlite:////srv/shop.db", "sqlite:////srv/shop.db"),
        ("postgresql://me:secret@db:5432/shop?password=secret", "postgresql://me@db:5432/shop"),
        ("postgresql+psycopg://me:secret@db/shop", "postgresql://me@db/shop"),
        ("mysql://db/shop", "mysql://db/shop"),
    ],
)
def test_a_database_is_answered_with_the_lines_of_settings_that_it_needs(
    tmp_path, monkeypatch, capsys, typed, url
):
    monkeypatch.chdir(tmp_path)

    assert run(["up", typed]) == 2

    told = capsys.readouterr().err
    assert "it needs the names of its columns" in told
    assert "secret" not in told
    settings = tomllib.loads(told.partition("\n\n")[2])
    source = TypeAdapter(Source).validate_python(settings["sources"]["shop"])
    assert source.url.get_secret_value() == url
    assert (source.table, source.key, source.body) == ("TABLE", ("ID",), ("TEXT",))
    assert "INSTEP_SOURCES__SHOP__PASSWORD" in told
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_a_database_without_its_name_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert run(["up", "postgresql://me:secret@db"]) == 2

    told = capsys.readouterr().err
    assert 'names no database, as "postgresql://reader@localhost/shop"' in told
    assert "secret" not in told
