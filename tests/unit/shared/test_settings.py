"""Settings: where each comes from, in which units, and what people are told when one is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import ConfigurationError
from shared.domain.template import OF_RECORDS
from shared.settings import FolderSettings, PushSettings, Settings, SourceChunking, load, names


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "instep.toml"
        path.write_text(text)
        return path

    return write


def loaded(config=None, options=None, **environ):
    return load(config=config, environ=environ, options=options)


def told(config=None, options=None, **environ):
    """What a person is told about settings that are not taken."""
    with pytest.raises(ConfigurationError) as error:
        loaded(config, options, **environ)
    return str(error.value).splitlines()


# -- where they come from --------------------------------------------------------------------------


def test_without_anything_everything_has_its_default():
    assert loaded().settings == Settings()
    assert loaded().origins == {}


def test_the_command_line_beats_the_environment_which_beats_the_file(toml):
    file = toml("[embedding]\nmax_batch = 16\nmax_tokens = 512\nthreads = 1\n")

    found = loaded(
        file,
        {"embedding.max_batch": 64, "gateway.port": None},
        INSTEP_EMBEDDING__MAX_BATCH="32",
        INSTEP_EMBEDDING__MAX_TOKENS="1024",
    )

    embedding = found.settings.embedding
    assert (embedding.max_batch, embedding.max_tokens, embedding.threads) == (64, 1024, 1)
    assert found.origins == {
        "embedding.max_batch": "the command line",
        "embedding.max_tokens": "INSTEP_EMBEDDING__MAX_TOKENS",
        "embedding.threads": "instep.toml:4",
    }


def test_a_source_is_a_table_by_its_name(toml):
    file = toml('[sources.my-docs]\npath = "./docs"\ninclude = ["**/*.md"]\n')

    source = loaded(file, INSTEP_SOURCES__MY_DOCS__RESCAN="1 min").settings.sources["my-docs"]

    assert (str(source.path), source.include, source.rescan) == ("docs", ("**/*.md",), 60.0)


def test_the_name_of_the_model_has_a_variable_of_its_own():
    found = loaded(EMBEDDING_MODEL="fake-8")

    assert found.settings.embedding.model == "fake-8"
    assert found.origins == {"embedding.model": "EMBEDDING_MODEL"}


def test_variables_of_others_and_of_the_command_line_are_left_alone():
    found = loaded(PATH="/bin", INSTEP_DATA="x", INSTEP_CONFIG="y", INSTEP_URL="z", instep_x="1")

    assert found.settings == Settings()


@pytest.mark.parametrize("text", ["**/*.md, notes/*.txt", '["**/*.md", "notes/*.txt"]'])
def test_a_list_in_a_variable_has_commas_or_is_written_as_in_toml(text):
    found = loaded(INSTEP_SOURCES__DOCS__PATH=".", INSTEP_SOURCES__DOCS__INCLUDE=text)

    assert found.settings.sources["docs"].include == ("**/*.md", "notes/*.txt")


# -- units -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250 ms", 0.25), ("5 s", 5), ("1.5 min", 90), ("2h", 7200), ("1 d", 86400), ("0 s", 0)],
)
def test_times_are_written_with_their_unit(text, seconds):
    assert loaded(INSTEP_VALIDATION__POLL=text).settings.validation.poll == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("7 B", 7), ("100 KB", 102400), ("1.5 MB", 1572864), ("2GB", 2 * 1024**3)]
)
def test_sizes_are_written_with_their_unit(text, size):
    assert loaded(INSTEP_BUS__MAX_FILE=text).settings.bus.max_file == size


@given(st.from_regex(r"[0-9]{1,3}( ?[a-zA-Z]{1,3})?", fullmatch=True))
def test_a_time_without_a_known_unit_is_never_guessed(text):
    if text.lstrip("0123456789 ") in ("ms", "s", "min", "h", "d"):
        assert loaded(INSTEP_VALIDATION__POLL=text).settings.validation.poll >= 0
    else:
        assert "give a unit" in told(INSTEP_VALIDATION__POLL=text)[0]


def test_numbers_in_the_file_are_seconds_and_bytes(toml):
    found = loaded(toml("[validation]\npoll = 2.5\n[bus]\nmax_file = 4096\n")).settings

    assert (found.validation.poll, found.bus.max_file) == (2.5, 4096)


# -- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("INSTEP_EMBEDING__DEVICE", "INSTEP_EMBEDDING__DEVICE"),
        ("INSTEP_EMBEDDING__DEVCE", "INSTEP_EMBEDDING__DEVICE"),
        ("INSTEP_EMBEDDING_MAX_BATCH", "INSTEP_EMBEDDING__MAX_BATCH"),
        ("INSTEP_SOURCES__MY_DOCS__RESCN", "INSTEP_SOURCES__MY_DOCS__RESCAN"),
        ("INSTEP_SOURCE__DOCS__PATH", None),
        ("INSTEP_QUUX", None),
        ("INSTEP_", None),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_right_one(variable, hint):
    suggestion = f"; did you mean {hint}?" if hint else ""

    assert told(**{"INSTEP_SOURCES__MY_DOCS__PATH": ".", variable: "auto"}) == [
        f"{variable} is not a setting{suggestion}"
    ]


def test_a_misspelt_name_in_the_file_is_refused_with_its_line_and_the_right_one(toml):
    file = toml(
        '[sources.docs]\npath = "./docs"\nexclud = ["a"]\nchunkng = { kind = "fixed" }\n\n'
        "[embeding]\n# a comment = here\nnumeric = 'int8'\n"
    )

    assert told(file) == [
        "instep.toml:3: sources.docs.exclud is not a setting; did you mean sources.docs.exclude?",
        "instep.toml:4: sources.docs.chunkng.kind is not a setting; "
        "did you mean sources.docs.chunking.kind?",
        "instep.toml:8: embeding.numeric is not a setting; did you mean embedding.numeric?",
    ]


def test_a_misspelt_option_is_refused_too():
    assert told(options={"embedding.max_bath": 3}) == [
        "the command line: embedding.max_bath is not a setting; did you mean embedding.max_batch?"
    ]


def test_all_faults_are_told_at_once(toml):
    file = toml("[embedding]\nmax_batch = 0\ndevice = 'tpu'\n[gateway]\nport = 99999\n")

    assert sorted(told(file, INSTEP_CHUNKING__TOKENS="many")) == [
        "INSTEP_CHUNKING__TOKENS: must be a whole number",
        "instep.toml:2: embedding.max_batch: must be at least 1",
        "instep.toml:3: embedding.device: must be 'auto', 'cpu' or 'cuda'",
        "instep.toml:5: gateway.port: must be at most 65535",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[sources.docs]\nkind = 'folder'\n",
            "instep.toml:2: sources.docs.path: is missing",
        ),
        (
            "[sources.my_docs]\npath = '.'\n",
            "instep.toml:2: sources.my_docs: a source name has 1 to 40 of a-z, 0-9 and '-',"
            " and no '-' at the start",
        ),
        (
            "[sources.docs]\npath = '.'\nrescan = '5'\n",
            'instep.toml:3: sources.docs.rescan: give a unit, as "5 min" (ms, s, min, h, d)',
        ),
        ("sources = 'docs'\n", "instep.toml:1: sources: must be a table of settings"),
        ("embedding = 3\n", "instep.toml:1: embedding: must be a table of settings"),
        ("[chunking]\noverlap = 0.9\n", "instep.toml:2: chunking.overlap: must be at most 0.5"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(toml, text, expected):
    assert told(toml(text)) == [expected]


def test_a_value_is_never_repeated(toml):
    file = toml("[bus]\nurl = ['nats://secret-token@example.com']\n[gateway]\nport = 'hunter2'\n")

    assert not any("secret" in line or "hunter2" in line for line in told(file))


def test_a_file_that_is_missing_or_not_toml_is_told(toml, tmp_path):
    assert told(tmp_path / "absent.toml") == [f"{tmp_path / 'absent.toml'}: no such file"]
    assert told(tmp_path)[0].endswith(": Is a directory")
    assert "not TOML" in told(toml("x = ["))[0]


@pytest.mark.parametrize("name", list(names()))
def test_every_setting_can_be_set_by_a_variable(name):
    variable = "INSTEP_" + name.replace("NAME", "docs").replace(".", "__").upper()

    try:
        loaded(**{"INSTEP_SOURCES__DOCS__PATH": ".", variable: "?"})
    except ConfigurationError as error:
        said = str(error)
    else:
        said = ""

    assert "is not a setting" not in said


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("path = '.'\nregion = 'x'", "region: is of another kind of source: bucket, not folder"),
        ("kind = 'push'\npath = '.'", "path: is of another kind of source: folder, not push"),
        (
            "kind = 'ftp'\npath = '.'",
            "kind: must be 'folder' or 'bucket' or 'sql' or 'web' or 'push'",
        ),
        ("kind = 'bucket'\npath = '.'\nurl = 's3://a'", "path: is of another kind of source"),
        ("path = '.'\nchunking.tokens = 3", "chunking.tokens: must be at least 16"),
    ],
)
def test_a_fault_of_a_source_is_told_where_the_file_has_it(toml, table, fault):
    assert any(f"sources.docs.{fault}" in line for line in told(toml(f"[sources.docs]\n{table}\n")))


def test_of_many_faults_the_first_twenty_are_told_and_the_rest_counted(toml):
    unknown = [f"k{n} = {n}" for n in range(3_000)]
    at_top = told(toml("\n".join(unknown)))
    in_groups = told(toml("[embedding]\n" + "\n".join(unknown)))
    below_one = told(toml("[nosuch]\n" + "\n".join(unknown)))

    for lines in (at_top, in_groups, below_one):
        assert len(lines) == 21
        assert lines[-1] == "and 2,980 more"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{title}", "{text} is missing"),
        ("{text} {text}", "more than once"),
        ("{title {text}", "no name and }"),
        ("{text} }", "no { before it"),
    ],
)
def test_a_broken_template_is_refused_with_the_name_of_its_setting(template, why):
    options = {"sources.shop.kind": "push", "sources.shop.chunking.template": template}

    with pytest.raises(ConfigurationError) as refused:
        load(config=None, environ={}, options=options)

    assert "sources.shop.chunking.template" in str(refused.value)
    assert why in str(refused.value)


def test_fields_of_all_sources_are_one_table(toml):
    file = toml(
        "[sources.docs]\npath = '.'\n[sources.docs.fields]\ntags = 'keywords'\n'dc.date' = 'date'\n"
        "[sources.shop]\nkind = 'push'\nfields = { price = 'number', tags = 'keywords' }\n"
    )

    found = loaded(file, INSTEP_SOURCES__DOCS__FIELDS__CREATED_AT="date").settings

    assert found.fields == {
        "tags": "keywords",
        "dc.date": "date",
        "price": "number",
        "created_at": "date",
    }


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ("tags = 'text'", "sources.docs.fields.tags: must be 'keyword', 'keywords', 'number'"),
        ("source = 'keyword'", "source has a meaning of its own in a filter"),
        ("'a b' = 'keyword'", "a field has no blanks"),
        ("lang = 'keyword'", "fields.lang: what front matter calls lang has the name language"),
        (
            "authors = 'keywords'",
            "fields.authors: what front matter calls authors has the name author",
        ),
        ("Date = 'date'", "fields.Date: what front matter calls Date has the name date"),
        ("title = 'keyword'", "fields.title: a title is no metadata"),
        (
            "price = 'date'",
            "price is a number in sources.shop and a date in sources.docs",
        ),
    ],
)
def test_a_field_that_cannot_be_is_refused(toml, fields, fault):
    file = toml(
        f"[sources.docs]\npath = '.'\n[sources.docs.fields]\n{fields}\n"
        "[sources.shop]\nkind = 'push'\nfields = { price = 'number' }\n"
    )

    assert fault in "\n".join(told(file))


@pytest.mark.parametrize(
    "source",
    [
        "kind = 'push'",
        "path = '.'\nrecords = true",
        "kind = 'sql'\nurl = 'sqlite:///a.db'\ntable = 'a'\nkey = 'id'\nbody = 'text'",
    ],
)
def test_metadata_of_publishers_records_and_rows_keep_their_names(toml, source):
    file = toml(f"[sources.docs]\n{source}\n[sources.docs.fields]\nlang = 'keyword'\n")

    assert loaded(file).settings.fields == {"lang": "keyword"}


@pytest.mark.parametrize(
    ("chosen", "template"),
    [({}, OF_RECORDS), ({"template": ""}, ""), ({"template": "{text}"}, "{text}")],
)
def test_records_have_the_title_twice_unless_their_source_says_otherwise(chosen, template):
    chunking = {"tokens": 100, **chosen}

    cut = FolderSettings(path=".", records=True, chunking=chunking).cut

    assert (cut.template, cut.tokens) == (template, 100)


def test_documents_that_are_no_records_have_the_template_of_their_settings_only():
    assert PushSettings(kind="push").cut == SourceChunking()
    assert FolderSettings(path=".").cut == SourceChunking()
    assert PushSettings(kind="push", chunking={"template": "{text}"}).cut.template == "{text}"
