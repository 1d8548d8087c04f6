"""What every source promises the watch: a folder, buckets of S3, Google and Azure, the web."""

import dataclasses
import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import web_server
from databases import with_driver
from sqlalchemy import create_engine, text

from services.producer.sources.bucket.bucket import open_bucket
from services.producer.sources.containers import ContainerSource
from services.producer.sources.folder.source import FolderSource
from services.producer.sources.listing import Seen, compare, moved
from services.producer.sources.port import DocumentSource, SourceUnavailable
from services.producer.sources.rules import Rules
from services.producer.sources.sql.table import open_table
from services.producer.sources.web.web import open_web
from shared.formats.containers import Parts, split
from shared.reading.parts_protocol import SplitQuestion
from shared.settings import SqlSettings, WebSettings

LIMIT = 1000
_names = count()


@dataclass
class InFolder:
    """Documents in a folder, as a person changes them."""

    root: Path

    def source(self, **settings: Any) -> DocumentSource:
        return FolderSource(self.root, Rules(**settings), max_bytes=LIMIT)

    def put(self, path: str, data: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)

    def move(self, old: str, new: str) -> None:
        (self.root / old).rename(self.root / new)

    def delete(self, path: str) -> None:
        (self.root / path).unlink()

    def drop(self) -> None:
        shutil.rmtree(self.root)

    def name(self, path: str) -> str:
        """As an event has it."""
        return str(self.root / path)


class InFolderWithContents(InFolder):
    """As the producer watches a folder: with the documents inside its files."""

    def source(self, **settings: Any) -> DocumentSource:
        return ContainerSource(super().source(**settings), splits, None)


def splits(question: SplitQuestion, data: bytes) -> Parts:
    return split(data, question.path, question.fields)


@dataclass
class InBucket:
    """Documents in a bucket, below a prefix."""

    server: Any
    bucket: str
    scheme: str = "s3"

    def __post_init__(self) -> None:
        self.server.bucket(self.bucket)
        self.server.put(self.bucket, "others/z.md", b"of others")

    def source(self, **settings: Any) -> DocumentSource:
        return open_bucket(
            f"{self.scheme}://{self.bucket}/docs",
            Rules(**settings),
            max_bytes=LIMIT,
            endpoint=self.server.endpoint,
            region="us-east-1",
        )

    def put(self, path: str, data: bytes) -> None:
        self.server.put(self.bucket, f"docs/{path}", data)

    def move(self, old: str, new: str) -> None:
        self.server.copy(self.bucket, f"docs/{old}", f"docs/{new}")
        self.delete(old)

    def delete(self, path: str) -> None:
        self.server.delete(self.bucket, f"docs/{path}")

    def drop(self) -> None:
        self.server.drop(self.bucket)

    def name(self, path: str) -> str:
        return path


class InTable:
    """Documents in rows; the key is the path without its slashes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_engine(with_driver(url))
        with self.engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS docs"))
            made = "CREATE TABLE docs (path VARCHAR(200) PRIMARY KEY, body TEXT)"
            connection.execute(text(made))

    def source(self, **settings: Any) -> DocumentSource:
        given = {"kind": "sql", "url": self.url, "table": "docs", "key": "path", "body": "body"}
        return open_table(SqlSettings.model_validate(given | {"max_bytes": LIMIT} | settings))

    def put(self, path: str, data: bytes) -> None:
        self.run("DELETE FROM docs WHERE path = :path", path=path)
        self.run("INSERT INTO docs VALUES (:path, :body)", path=path, body=data.decode())

    def move(self, old: str, new: str) -> None:
        self.run("UPDATE docs SET path = :new WHERE path = :old", old=old, new=new)

    def delete(self, path: str) -> None:
        self.run("DELETE FROM docs WHERE path = :path", path=path)

    def drop(self) -> None:
        self.run("DROP TABLE docs")

    def name(self, path: str) -> str:
        return path

    def run(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)


DATABASES = ("sqlite", "postgres", "mariadb")
NOT_PROMISED = (
    (
        DATABASES,
        "rows have no folders, endings or hidden names",
        {
            "test_documents_are_listed_at_any_depth_and_read_as_they_are",
            "test_what_no_rule_wants_is_no_document_and_is_counted",
            "test_names_of_events_mean_paths_and_those_of_hidden_files_mean_none",
        },
    ),
    (
        (*DATABASES, "web", "web without validators"),
        "there are no folders",
        {
            "test_the_rule_that_leaves_a_file_out_is_told",
            "test_a_folder_is_explained_by_what_is_left_out_below_it",
        },
    ),
    (
        ("azure",),
        "Azure gives each copy an ETag of its own: contents tell that it was moved",
        {"test_a_moved_document_is_found_to_be_the_same"},
    ),
)
"""Kinds of places, why they do not promise something, and the tests of it."""


class BelowSite:
    """A source of the web whose paths are those below the site."""

    def __init__(self, inner: DocumentSource, site: Any) -> None:
        self._inner, self._site = inner, site

    def _out(self, url: str) -> str:
        return unquote(url.removeprefix(f"{self._site.url}/"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def scan(self) -> Any:
        found = self._inner.scan()
        found.files = {self._out(url): one for url, one in found.files.items()}
        return found

    def look_at(self, known: Any, paths: Any) -> Any:
        address = self._site.address
        found = self._inner.look_at(set(map(address, known)), list(map(address, paths)))
        present = {self._out(url): one for url, one in found.present.items()}
        vanished = [self._out(url) for url in found.vanished]
        return dataclasses.replace(found, present=present, vanished=vanished)

    def read(self, path: str) -> Any:
        return self._inner.read(self._site.address(path))

    def opened(self, blocked: Any) -> Any:
        return self._inner.opened(list(map(self._site.address, blocked)))

    def unwanted(self, paths: Any) -> Any:
        found = self._inner.unwanted(list(map(self._site.address, paths)))
        return {self._out(url): why for url, why in found.items()}

    def meaning(self, names: Any) -> Any:
        found = self._inner.meaning(names)
        paths = {self._out(url): one for url, one in found.paths.items()}
        return dataclasses.replace(found, paths=paths)


@dataclass
class OnTheWeb:
    """Pages of a site, in its sitemap."""

    site: Any
    opened: list[Any] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.site.pages[".start.md"] = b"a sitemap has pages"

    def source(self, **settings: Any) -> Any:
        url = f"{self.site.url}/sitemap.xml"
        given = WebSettings(
            kind="web", url=url, allow_private=("127.0.0.1",), delay=0, max_bytes=LIMIT
        )
        source = open_web(given, Rules(**settings))
        self.opened.append(source)
        return BelowSite(source, self.site)

    def put(self, path: str, data: bytes) -> None:
        self.site.pages[path] = data

    def move(self, old: str, new: str) -> None:
        self.site.pages[new] = self.site.pages.pop(old)

    def delete(self, path: str) -> None:
        del self.site.pages[path]

    def drop(self) -> None:
        self.site.handlers["/sitemap.xml"] = lambda request: request.send(404)
        self.site.pages.clear()

    def name(self, path: str) -> str:
        return str(self.site.address(path))


@pytest.fixture(
    params=[
        "folder",
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.sql),
        pytest.param("mariadb", marks=pytest.mark.sql),
        "folder with contents",
        "web",
        "web without validators",
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("gcs", marks=pytest.mark.s3),
        pytest.param("azure", marks=pytest.mark.s3),
    ]
)
def place(request, tmp_path, monkeypatch):
    for kinds, why, tests in NOT_PROMISED:
        if request.param in kinds and request.function.__name__ in tests:
            pytest.skip(why)
    if request.param.startswith("folder"):
        root = tmp_path / "docs"
        root.mkdir()
        yield InFolder(root) if request.param == "folder" else InFolderWithContents(root)
        return
    if request.param in DATABASES:
        is_file = request.param == "sqlite"
        url = f"sqlite:///{tmp_path}/docs.db" if is_file else request.getfixturevalue(request.param)
        table = InTable(url)
        yield table
        table.engine.dispose()
        return
    if request.param.startswith("web"):
        with web_server.running(validators=request.param == "web") as site:
            web = OnTheWeb(site)
            yield web
            for source in web.opened:
                source.close()
        return
    server = request.getfixturevalue(request.param)
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    if request.param == "gcs":
        yield InBucket(server, f"contract{next(_names)}", "gs")
        return
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    scheme = "az" if request.param == "azure" else "s3"
    yield InBucket(server, f"contract{next(_names)}", scheme)


def accepted(source, paths):
    """The entries of these documents after they were read."""
    found = {}
    for path in paths:
        body = source.read(path)
        # long after: no later change can have this version
        found[path] = Seen(body.version, body.version.changed_ns + 10**10, body.content_hash, 1)
    return found


def test_an_empty_place_has_no_documents(place):
    assert place.source().scan().files == {}


def test_documents_are_listed_at_any_depth_and_read_as_they_are(place):
    texts = {"a.md": b"one", "deep/er/b ü+%20.txt": b"two\n", "empty.md": b""}
    for path, data in texts.items():
        place.put(path, data)
    source = place.source()

    found = source.scan()

    assert found.files.keys() == texts.keys()
    for path, data in texts.items():
        body = source.read(path)
        assert (body.data, body.version) == (data, found.files[path])
        assert source.look_at((), [path]).present == {path: body.version}


def test_what_no_rule_wants_is_no_document_and_is_counted(place):
    for path in ("a.md", "p.png", "drafts/b.md", "node_modules/c.md", ".hidden.md"):
        place.put(path, b"x")
    source = place.source(exclude=("drafts/",))

    found = source.scan()

    assert found.files.keys() == {"a.md"}
    assert found.left_out[".png"] == 1
    assert sum(found.left_out.values()) >= 3
    assert source.read("p.png") is None
    assert source.read("drafts/b.md") is None
    assert source.look_at({"drafts/b.md"}, ["drafts/b.md"]).vanished == ["drafts/b.md"]
    assert source.unwanted(["a.md", "drafts/b.md"]).keys() == {"drafts/b.md"}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("a.md", ""),
        ("deep/b.md", ""),
        ("p.png", "its ending .png is not read"),
        ("deep/q.png", "its ending .png is not read"),
        ("name", "its name has no ending"),
        (".hidden.md", ".hidden.md is hidden, as its name begins with a dot"),
        ("drafts/c.md", "excluded by the pattern drafts/"),
        ("drafts/deep/d.md", "excluded by the pattern drafts/"),
        ("node_modules/x/e.md", "by default: node_modules/"),
    ],
)
def test_the_rule_that_leaves_a_file_out_is_told(place, path, why):
    place.put(path, b"x")
    source = place.source(exclude=("drafts/",))

    told = source.explain(path)

    assert (told.exists, told.is_folder, told.why) == (True, False, why)
    assert not source.explain("never.md").exists
    assert not source.explain("../a.md").exists


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("", ""),
        ("deep", ""),
        ("deep/er", ""),
        ("drafts", "excluded by the pattern drafts/"),
        ("drafts/old", "excluded by the pattern drafts/"),
        ("node_modules", "by default: node_modules/"),
        ("deep/.git", ".git is hidden, as its name begins with a dot"),
    ],
)
def test_a_folder_is_explained_by_what_is_left_out_below_it(place, folder, why):
    below = f"{folder}/" if folder else ""
    for name in ("a.md", "p.png", "q.png"):
        place.put(f"{below}{name}", b"x")
    place.put("other/r.png", b"x")
    source = place.source(exclude=("drafts/", "other/"))

    told = source.explain(folder)

    assert (told.exists, told.is_folder, told.why) == (True, True, why)
    if not why:
        assert told.counts[".png"] == 2
        assert told.some[f"{below}p.png"] == "its ending .png is not read"
    if folder:
        assert not any("other" in path for path in told.some)


def test_a_document_that_stays_as_it_was_needs_no_reading(place):
    place.put("a.md", b"one")
    source = place.source()
    known = accepted(source, ["a.md"])

    found = compare(known, place.source().scan().files, max_bytes=LIMIT)

    assert (found.unchanged, found.suspects, found.vanished) == (1, (), ())


@pytest.mark.parametrize("after", [b"two", b"longer", b""])
def test_an_edit_gives_another_version_also_of_the_same_size(place, after):
    place.put("a.md", b"one")
    source = place.source()
    known = accepted(source, ["a.md"])

    place.put("a.md", after)

    assert compare(known, source.scan().files, max_bytes=LIMIT).suspects == ("a.md",)
    assert source.look_at(known, ["a.md"]).present["a.md"] != known["a.md"].version
    assert source.read("a.md").data == after


def test_a_deleted_document_vanishes_from_listings_looks_and_readings(place):
    place.put("a.md", b"one")
    place.put("b.md", b"stays")
    source = place.source()
    known = accepted(source, ["a.md", "b.md"])

    place.delete("a.md")

    assert compare(known, source.scan().files, max_bytes=LIMIT).vanished == ("a.md",)
    looked = source.look_at(known, ["a.md", "b.md", "never.md"])
    assert (looked.vanished, looked.present.keys()) == (["a.md"], {"b.md"})
    assert source.read("a.md") is None


def test_a_moved_document_is_found_to_be_the_same(place):
    place.put("a.md", b"one")
    source = place.source()
    known = accepted(source, ["a.md"])

    place.move("a.md", "new.md")
    files = source.scan().files

    assert files.keys() == {"new.md"}
    assert moved(known, ["a.md"], files).keys() == {"a.md"}


def test_a_document_above_the_limit_is_known_and_not_read(place):
    place.put("big.md", b"x" * (LIMIT + 1))
    source = place.source()

    body = source.read("big.md")

    assert source.scan().files["big.md"].size == LIMIT + 1
    assert body.data is None
    assert body.url.endswith("/big.md")


def test_a_place_that_is_gone_is_no_empty_place(place):
    place.put("a.md", b"one")
    source = place.source()
    known = accepted(source, ["a.md"])
    place.drop()

    with pytest.raises(SourceUnavailable):
        source.scan()
    with pytest.raises(SourceUnavailable):
        source.look_at(known, ["a.md"])


def test_names_of_events_mean_paths_and_those_of_hidden_files_mean_none(place):
    source = place.source()

    heard = source.meaning([place.name("a.md"), place.name("deep/b.md"), place.name(".git/c.md")])

    assert heard.paths.keys() == {"a.md", "deep/b.md"}
    assert (heard.root, heard.rules, heard.relinked) == (False, False, False)


def test_a_place_keeps_its_identity_and_two_have_two(place, tmp_path):
    other = FolderSource(tmp_path, Rules(), max_bytes=LIMIT)

    assert place.source().identity() == place.source().identity() != other.identity()


def test_nothing_that_is_blocked_opens_where_all_is_gone(place):
    place.put("a.md", b"one")

    assert place.source().opened(["a.md"]) == (True, False)
