import os
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from services.enricher.load import Load
from shared.errors import DocumentRefused
from shared.events import (
    Batch,
    Document,
    DocumentChanged,
    Inline,
    Linked,
    Ready,
    Reference,
    Stored,
    SubmittedChunk,
)
from shared.identity import doc_key

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Bodies:
    """A ContentStore of what was put."""

    def __init__(self):
        self.kept = {}

    async def put(self, data):
        self.kept[sha256(data).hexdigest()] = data
        return sha256(data).hexdigest()

    async def get(self, content_hash):
        return self.kept[content_hash]


def changed(content, size=0):
    return DocumentChanged(
        document=Document(source="docs", path="a", doc_key=doc_key("docs", "a"), changed_at=NOW),
        batch=Batch(id="b", count=1, source="docs", started_at=NOW),
        op="upserted",
        content=content,
        size=size,
    )


def link(path):
    return changed(Linked(ref=Reference(url=path if isinstance(path, str) else path.as_uri())))


@pytest.fixture
def load(tmp_path):
    (tmp_path / "docs").mkdir()
    prefix = (tmp_path / "docs").as_uri() + "/"
    return Load(Bodies(), references={"docs": (prefix,)}, max_bytes={"docs": 10})


async def refused(load, event):
    with pytest.raises(DocumentRefused) as refusal:
        await load(event)
    return refusal.value.code


@pytest.mark.parametrize("data", [b"text \xc3\xa9", b"\xff\x00\xfe"])
async def test_inline_content_is_its_bytes_with_their_hash(load, data):
    loaded = await load(changed(Inline.of(data)))

    assert (loaded.data, loaded.content_hash) == (data, sha256(data).hexdigest())


async def test_inline_content_that_is_no_base64_is_corrupt(load):
    assert await refused(load, changed(Inline(encoding="base64", data="a"))) == "corrupt"


async def test_stored_content_is_read_and_missed_when_gone(load):
    name = await load.contents.put(b"body")

    assert (await load(changed(Stored(hash=name)))).data == b"body"
    assert await refused(load, changed(Stored(hash="0" * 64))) == "source_gone"


async def test_content_above_the_limit_is_refused_wherever_it_lies(load, tmp_path):
    name = await load.contents.put(b"x" * 11)
    (tmp_path / "docs/a").write_bytes(b"x" * 11)

    assert await refused(load, changed(Inline(data="x" * 11))) == "too_large"
    assert await refused(load, changed(Stored(hash=name))) == "too_large"
    assert await refused(load, link(tmp_path / "docs/a")) == "too_large"
    assert await refused(load, changed(Inline(data="x"), size=11)) == "too_large"


async def test_a_reference_below_an_allowed_folder_is_read(load, tmp_path):
    (tmp_path / "docs/a b.md").write_bytes(b"read")

    assert (await load(link(tmp_path / "docs/a b.md"))).data == b"read"


async def test_a_reference_that_leaves_its_folder_is_not_followed(load, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "docs/link").symlink_to(tmp_path / "secret")
    (tmp_path / "docs2").mkdir()
    (tmp_path / "docs2/a").write_bytes(b"secret")
    docs = (tmp_path / "docs").as_uri()

    for url in (
        tmp_path / "secret",
        tmp_path / "docs/link",
        tmp_path / "docs2/a",
        tmp_path / "nothing",
        f"{docs}/../secret",
        f"{docs}/%2e%2e/secret",
        f"{docs}/../nothing",
        f"{docs.replace('file://', 'file://elsewhere')}/a",
        f"{docs}/a%00b",
        "https://example.org/a",
        "file:relative",
    ):
        assert await refused(load, link(url)) == "reference_not_allowed", url


async def test_no_prefix_allows_no_reference(tmp_path):
    (tmp_path / "a").write_bytes(b"x")

    assert await refused(Load(Bodies()), link(tmp_path / "a")) == "reference_not_allowed"


async def test_a_linked_file_inside_the_folder_is_followed(load, tmp_path):
    (tmp_path / "docs/real").write_bytes(b"x")
    (tmp_path / "docs/link").symlink_to("real")

    assert (await load(link(tmp_path / "docs/link"))).data == b"x"


async def test_a_reference_to_nothing_a_folder_or_a_pipe_is_gone(load, tmp_path):
    (tmp_path / "docs/folder").mkdir()
    os.mkfifo(tmp_path / "docs/pipe")

    assert await refused(load, link(tmp_path / "docs/missing")) == "source_gone"
    assert await refused(load, link(tmp_path / "docs/folder")) == "source_gone"
    assert await refused(load, link(tmp_path / "docs/pipe")) == "source_gone"


async def test_ready_chunks_have_no_bytes(load):
    with pytest.raises(TypeError):
        await load(changed(Ready(chunks=(SubmittedChunk(text="x"),))))
