import subprocess
import sys
from pathlib import Path

import pytest

from services.cli import main
from services.cli.exits import Stop, unreachable
from shared.domain.errors import BusUnavailable, ConfigurationError, DocumentRefused


@pytest.fixture
def ending(monkeypatch, tmp_path):
    """Run a command that ends with an error."""

    def end(error, *more):
        def command(args, options):
            raise error

        monkeypatch.setattr("services.cli.commands.status.run", command)
        return main.run(["status", "--data", str(tmp_path), *more])

    return end


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Stop("no such thing", fix="make it"), 2, "instep: no such thing. Fix: make it\n"),
        (
            Stop("did you mean 'n9.md'?", fix="show it"),
            2,
            "instep: did you mean 'n9.md'? Fix: show it\n",
        ),
        (BusUnavailable("is it there?"), 3, "instep: is it there? Fix: instep doctor\n"),
        (unreachable("nobody answers"), 3, "instep: nobody answers\n"),
        (ConfigurationError("one\ntwo"), 2, "instep: one\ninstep: two\n"),
        (BusUnavailable("no server"), 3, "instep: no server. Fix: instep doctor\n"),
        (DocumentRefused("empty", "it is empty"), 2, "instep: it is empty\n"),
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("text of a document"), 70, "RuntimeError"),
    ],
)
def test_errors_end_with_a_status_and_lines_that_help(ending, capsys, error, status, said):
    assert ending(error) == status

    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
    assert "text of a document" not in shown


def test_debug_lets_the_error_through(ending):
    with pytest.raises(RuntimeError):
        ending(RuntimeError("x"), "--debug")


def test_nothing_here_is_not_reachable_and_says_what_to_do(tmp_path, capsys):
    data = str(tmp_path / "none")

    statuses = [main.run([name, "--data", data]) for name in ("status", "failures", "validate")]

    assert statuses == [3, 3, 3]
    assert capsys.readouterr().err.count("Fix: instep up PATH") == 3


def test_a_settings_file_that_is_named_must_be_there(tmp_path, capsys):
    assert main.run(["settings", "--config", str(tmp_path / "no.toml")]) == 2

    assert "no such settings file" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("status", "command"), [(0, "version"), (3, "status --data nowhere")])
def test_a_command_whose_output_is_closed_ends_with_its_own_status(
    monkeypatch, tmp_path, closed, status, command
):
    monkeypatch.setenv("PYTHONPATH", str(Path(main.__file__).parents[2]))
    script = f'"$0" -m services {command} {closed}'
    done = subprocess.run(["sh", "-c", script, sys.executable], check=False, cwd=tmp_path)

    assert done.returncode == status
