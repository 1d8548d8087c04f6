import re
import tomllib

import pytest

from services.cli import main
from services.cli.commands.settings import TEMPLATE, lines, public
from services.cli.commands.validate import read_queries
from services.cli.exits import Stop
from shared.settings import Settings, leaves, load


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_value_that_is_no_default_says_where_it_is_from(here, monkeypatch, capsys):
    monkeypatch.setenv("INSTEP_EMBEDDING__MAX_BATCH", "32")

    assert main.run(["settings"]) == 0

    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("embedding.max_batch"))
    assert re.fullmatch(r"embedding\.max_batch = 32 +from INSTEP_EMBEDDING__MAX_BATCH", line)
    assert "chunking.tokens = 220\n" in shown


def test_every_setting_is_printed():
    values = dict(leaves(Settings().model_dump(mode="json")))

    assert len(lines(values, {})) == len(values)
    assert "gateway.port" in values


def test_passwords_in_addresses_are_not_shown():
    assert public("nats://me:secret@host:4222") == "nats://***@host:4222"
    assert public("nats://host:4222") == "nats://host:4222"


def test_the_file_that_init_writes_is_right_when_uncommented(here, capsys):
    assert main.run(["settings", "--init"]) == 0
    text = (here / "instep.toml").read_text()
    assert tomllib.loads(text) == {}
    live = re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", text)
    (here / "instep.toml").write_text(live)

    assert main.run(["settings", "--check"]) == 0
    settings = load(config=here / "instep.toml", environ={}).settings
    changed = {"sources", "bus", "validation", "gateway", "webhooks", "health"}
    assert settings.model_dump(exclude=changed) == Settings().model_dump(exclude=changed)
    assert settings.sources["docs"].rescan == 300
    assert main.run(["settings", "--init"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert text == TEMPLATE


def test_check_tells_all_faults_at_once(here, capsys):
    (here / "bad.toml").write_text("[chunkng]\nkind = 1\n[embedding]\nmax_batch = 0\n")

    assert main.run(["settings", "--check", "bad.toml"]) == 2

    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2
    assert any("did you mean chunking" in line for line in shown)


def test_the_schema_is_for_editors(capsys):
    assert main.run(["settings", "--schema"]) == 0

    assert '"Chunking"' in capsys.readouterr().out


def test_contracts_are_written_and_compared(here, capsys):
    assert main.run(["contracts", "--check"]) == 1
    assert main.run(["contracts"]) == 0
    assert main.run(["contracts", "--check"]) == 0

    assert (here / "docs/contracts/asyncapi.json").exists()
    assert "is as the code says" in capsys.readouterr().out


def test_questions_of_a_file_are_read_and_bad_lines_named(here):
    (here / "q.jsonl").write_text('{"q": "x", "expect": "docs/a.md"}\n\n')
    (here / "bad.jsonl").write_text('{"q": "x", "expect": "docs/a.md"}\n{"q": 1}\n')

    assert read_queries("q.jsonl") == [{"q": "x", "expect": "docs/a.md"}]
    with pytest.raises(Stop, match=r"bad\.jsonl:2"):
        read_queries("bad.jsonl")


def test_show_asks_for_the_name_and_the_file_it_may_mean(here):
    from services.cli.commands.show import fields_of

    assert fields_of("docs/a.md", here) == {"name": "docs/a.md", "file": f"{here}/docs/a.md"}
    assert fields_of("../x.md", here)["file"] == str(here.parent / "x.md")
    assert fields_of("/abs/x.md", here) == {"name": "abs/x.md", "file": "/abs/x.md"}
