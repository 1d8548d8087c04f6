"""What each identity may do, as properties that hold whatever streams are added."""

import pytest

from shared.bus.access.permissions import (
    IDENTITIES,
    PUBLISHER,
    permissions,
    source_of,
    stages_of,
    streams_of,
)
from shared.domain.presence import subject_of
from shared.domain.services import NAMES, consumers, served, service_of
from shared.domain.topology import BATCHES, BODIES, BUCKETS, STREAMS, ledger_bucket

MINE, OTHER = "gmine", "gother"
OTHERS = [name for name in IDENTITIES if name != "admin"]
STREAM_NAMES = [
    *(stream.name for stream in STREAMS),
    *(f"KV_{bucket.name}" for bucket in (*BUCKETS, ledger_bucket(MINE), ledger_bucket(OTHER))),
    f"OBJ_{BODIES}",
]


def fits(pattern, subject):
    """As nats-server compares."""
    told, asked = pattern.split("."), subject.split(".")
    for place, token in enumerate(told):
        if token == ">":
            return len(asked) > place
        if place >= len(asked) or token not in ("*", asked[place]):
            return False
    return len(told) == len(asked)


def may(identity, subject, generations=(MINE,)):
    allowed = permissions(identity, generations)
    return any(fits(p, subject) for p in allowed.publish) and not any(
        fits(p, subject) for p in allowed.not_publish
    )


def may_hear(identity, subject):
    return any(fits(p, subject) for p in permissions(identity, [MINE]).subscribe)


def test_the_admin_may_do_everything():
    assert may("admin", "$JS.API.STREAM.DELETE.DOCS")


@pytest.mark.parametrize("identity", OTHERS)
@pytest.mark.parametrize("stream", STREAM_NAMES)
def test_nobody_else_makes_changes_or_deletes_a_stream(identity, stream):
    for verb in ("CREATE", "UPDATE", "DELETE", "RESTORE", "SNAPSHOT", "LEADER.STEPDOWN"):
        assert not may(identity, f"$JS.API.STREAM.{verb}.{stream}")
    for api in ("ACCOUNT.PURGE.A", "SERVER.REMOVE", "META.LEADER.STEPDOWN"):
        assert not may(identity, f"$JS.API.{api}")


@pytest.mark.parametrize("identity", OTHERS)
def test_nobody_else_makes_or_deletes_a_durable_consumer(identity):
    for stage in consumers(MINE):
        where = f"{stage.stream}.{stage.name}"
        assert not may(identity, f"$JS.API.CONSUMER.DURABLE.CREATE.{where}")
        assert not may(identity, f"$JS.API.CONSUMER.CREATE.{where}")
        assert not may(identity, f"$JS.API.CONSUMER.DELETE.{where}")


@pytest.mark.parametrize("identity", OTHERS)
def test_only_its_own_stages_give_it_messages_and_take_its_acknowledgements(identity):
    own = () if source_of(identity) else {s.name for s in served(service_of(identity), MINE)}
    for stage in consumers(MINE):
        where = f"{stage.stream}.{stage.name}"
        expected = stage.name in own
        assert may(identity, f"$JS.API.CONSUMER.MSG.NEXT.{where}") == expected
        assert may(identity, f"$JS.ACK.{where}.1.2.3.4.5") == expected
        assert may(identity, f"$JS.ACK.hub.acc.{where}.1.2.3.4.5.6") == expected


@pytest.mark.parametrize("identity", OTHERS)
@pytest.mark.parametrize("stream", STREAM_NAMES)
def test_what_it_may_empty_it_may_write(identity, stream):
    if may(identity, f"$JS.API.STREAM.PURGE.{stream}"):
        kind, _, name = stream.partition("_")
        key = {"KV": f"$KV.{name}.", "OBJ": f"$O.{name}."}[kind]

        assert any(key in subject for subject in permissions(identity, [MINE]).publish)


@pytest.mark.parametrize("identity", OTHERS)
def test_another_generation_is_closed_to_it(identity):
    bucket = ledger_bucket(OTHER).name
    for subject in (
        f"$KV.{bucket}.abc",
        f"$JS.API.STREAM.INFO.KV_{bucket}",
        f"$JS.API.STREAM.MSG.GET.KV_{bucket}",
        f"$JS.API.DIRECT.GET.KV_{bucket}",
        f"$JS.API.CONSUMER.CREATE.KV_{bucket}",
        f"documents.enriched.{OTHER}.docs",
        f"embeddings.ready.{OTHER}.docs",
        f"documents.indexed.{OTHER}.docs",
        f"instep.here.embedder_{OTHER}.p1",
    ):
        assert not may(identity, subject)


def test_of_two_generations_both_are_open():
    for generation in (MINE, OTHER):
        assert may("embedder", f"embeddings.ready.{generation}.docs", (MINE, OTHER))


WRITERS = {
    "documents.changed.docs.abc": {"producer", "enricher", "validator", "gateway"},
    f"documents.enriched.{MINE}.docs": {"enricher"},
    f"embeddings.ready.{MINE}.docs": {"enricher", "embedder"},
    f"documents.indexed.{MINE}.docs": {"indexer"},
    f"documents.removed.{MINE}.docs": {"indexer"},
    f"documents.refused.{MINE}.docs": {"producer", "enricher"},
    f"documents.failed.{MINE}.docs": {"validator"},
    f"documents.validated.{MINE}.docs": {"validator"},
    f"batches.completed.{MINE}.docs": {"validator"},
    "documents.submitted.docs": {"publisher", "gateway"},
    f"$KV.ledger_{MINE}.abc": {"enricher", "indexer", "validator", "gateway"},
    "$KV.embcache.abc": {"embedder"},
    "$KV.instance.live": set(),
    f"$KV.{BATCHES.name}.abc": {"producer", "validator", "gateway"},
    f"$O.{BODIES}.M.abc": {"producer"},
    "instep.sources.release.docs": {"gateway"},
    "instep.sources.audit.docs": {"gateway", "validator"},
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.DOCS.x": set(),
    "instep.here.accept.p1": {"producer"},
    f"instep.here.embedder_{MINE}.p1": {"embedder"},
    f"instep.here.embedder_bulk_{MINE}.p1": {"embedder"},
    f"instep.here.indexer_{MINE}.p1": {"indexer"},
    f"instep.here.validator_{MINE}.p1": {"validator"},
    "instep.here.dlq_mover.p1": {"validator"},
}


@pytest.mark.parametrize("subject", WRITERS)
def test_only_these_may_write(subject):
    assert {identity for identity in OTHERS if may(identity, subject)} == WRITERS[subject]


def test_the_command_line_has_no_key():
    with pytest.raises(ValueError, match="no identity"):
        permissions("cli", [MINE])


@pytest.mark.parametrize("identity", [PUBLISHER, f"{PUBLISHER}-wiki"])
def test_a_publisher_asks_nothing_of_jetstream(identity):
    allowed = permissions(identity, [MINE]).publish

    assert not [subject for subject in allowed if subject.startswith("$")]


@pytest.mark.parametrize("identity", OTHERS)
def test_it_says_that_it_is_there_for_what_it_consumes_and_only_the_gateway_hears_it(identity):
    own = () if source_of(identity) else {s.name for s in served(service_of(identity), MINE)}
    for stage in consumers(MINE):
        assert may(identity, subject_of(stage.name, "p1")) == (stage.name in own)
        assert may_hear(identity, subject_of(stage.name, "p1")) == (identity == "gateway")


@pytest.mark.parametrize("identity", OTHERS)
def test_answers_to_others_are_closed_to_it(identity):
    assert may_hear(identity, f"_INBOX_{identity}.x.1")
    for other in (*(name for name in OTHERS if name != identity), "publisher-wiki"):
        assert not may_hear(identity, f"_INBOX_{other}.x.1")
    assert not may_hear(identity, "_INBOX.x.1")


def test_a_publisher_of_one_source_publishes_for_no_other():
    assert may("publisher-wiki", "documents.submitted.wiki")
    assert not may("publisher-wiki", "documents.submitted.docs")
    assert len(permissions("publisher-wiki", [MINE]).publish) == 1


def test_the_producer_answers_the_publishers_there_are_and_the_services_that_ask_it():
    publishers = (PUBLISHER, "publisher-wiki")
    told = permissions("producer", [MINE], publishers=publishers).publish

    assert {subject for subject in told if subject.startswith("_INBOX")} == {
        "_INBOX.>",
        "_INBOX_gateway.>",
        "_INBOX_validator.>",
        "_INBOX_publisher.>",
        "_INBOX_publisher-wiki.>",
    }


@pytest.mark.parametrize("identity", NAMES)
def test_whatever_it_cannot_do_without_it_may_look_at(identity):
    for stream in streams_of(identity, MINE):
        assert may(identity, f"$JS.API.STREAM.INFO.{stream}")
    by_name = {stage.name: stage for stage in consumers(MINE)}
    for name in stages_of(identity, MINE) & by_name.keys():
        assert may(identity, f"$JS.API.CONSUMER.INFO.{by_name[name].stream}.{name}")


def test_an_unknown_identity_is_an_error():
    with pytest.raises(ValueError, match="no identity"):
        permissions("indexer2", [MINE])
