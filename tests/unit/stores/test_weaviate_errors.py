"""Replies of a real server (1.39.0, client 4.23.1), and what is done about each."""

import pytest

from shared.domain.errors import (
    ConfigurationError,
    QuestionRefused,
    StoreMismatch,
    StoreUnavailable,
)
from shared.stores.weaviate.answers import halves, refused, shown, sorted_error

RECORDED = [
    ("WeaviateInsertManyAllFailedError", "store is read-only due to: resource pressure", "full"),
    ("", "store is read-only due to: manually set by user", "full"),
    (
        "UnexpectedStatusCodeError",
        'updating db: TYPE_UPDATE_CLASS: vector index configs update: shard "Bv": store is '
        "read-only due to: UpdateVectorIndexConfigs: [default]",
        "changing",
    ),
    (
        "",
        "update inverted indices: put inverted indices props: failed adding to prop 'title' value "
        "bucket: store is read-only",
        "full",
    ),
    ("", "cannot process batch: not enough memory", "full"),
    ("", "write wal: no space left on device", "full"),
    ("WeaviateQueryError", "panic occurred: ValidateParam was called without any known", "away"),
    ("WeaviateQueryError", "Deadline Exceeded", "away"),
    ("WeaviateRetryError", "failed to connect to all addresses; connection refused", "away"),
    ("WeaviateDeleteManyError", "[UNAVAILABLE] failed to connect to all addresses", "away"),
    (
        "WeaviateStartUpError",
        "Could not connect to Weaviate:Connection to Weaviate failed.",
        "away",
    ),
    ("UnexpectedStatusCodeError", "Meta endpoint! Unexpected status code: 503", "away"),
    ("WeaviateBatchError", "shutting down", "away"),
    ("UnexpectedStatusCodeError", "Meta endpoint! Unexpected status code: 401, no", "key"),
    (
        "UnexpectedStatusCodeError",
        "Meta endpoint! Unexpected status code: 400, with response body: None.",
        "plain",
    ),
    (
        "UnexpectedStatusCodeError",
        "Collection may not have been created properly.! Unexpected status code: 422, with "
        "response body: {'allowed': None, 'error': [{'message': 'init sharding state: could not "
        "find enough weaviate nodes for replication: 1 available, 5 requested'}]}.",
        "nodes",
    ),
    ("InsufficientPermissionsError", "forbidden: User instep has insufficient permissions", "key"),
    ("WeaviateBatchError", "<AioRpcError status = StatusCode.UNAUTHENTICATED>", "key"),
    ("WeaviateQueryError", "anonymous access not enabled. Please authenticate", "key"),
    ("WeaviateQueryError", "could not find class Instep_g1 in schema", "gone"),
    (
        "WeaviateQueryError",
        "invalid pagination params: query maximum results exceeded",
        "otherwise",
    ),
    ("WeaviateQueryError", "search: tried to browse non-existing index for Instep_g1", "gone"),
    (
        "WeaviateStartUpError",
        "Weaviate version 1.20.0 is not supported. Please use Weaviate version 1.27.0 or higher.",
        "old",
    ),
    (
        "",
        "put local object: new node has a vector with length 383. Existing nodes have vectors with "
        "length 384",
        "object",
    ),
    ("WeaviateQueryError", "vector lengths don't match: 8 vs 9", "object"),
    (
        "WeaviateQueryError",
        "Query call with protocol GRPC search failed with message explorer: list class: search: "
        "local shard object search: invalid search term, only stopwords provided. Stopwords can "
        "be configured in class.invertedIndexConfig.stopwords.",
        "question",
    ),
]
MEANING = {
    "full": (StoreUnavailable, "full"),
    "changing": (StoreUnavailable, "changes the collection"),
    "away": (StoreUnavailable, "Weaviate"),
    "key": (ConfigurationError, "store.weaviate.key"),
    "plain": (ConfigurationError, "https://"),
    "nodes": (StoreUnavailable, "store.weaviate.replicas"),
    "gone": (StoreUnavailable, "makes it anew"),
    "otherwise": (StoreMismatch, "another set-up"),
    "old": (ConfigurationError, "1.38"),
    "object": (StoreMismatch, "other vectors"),
    "question": (QuestionRefused, "this question"),
}


@pytest.mark.parametrize(("kind", "text", "meaning"), RECORDED)
def test_every_recorded_reply_is_sorted(kind, text, meaning):
    error = sorted_error(kind, text)

    wanted, said = MEANING[meaning]
    assert type(error) is wanted
    assert said in str(error)


def test_what_a_server_quotes_is_not_shown():
    text = 'invalid integer property \'born\' on class "C":\n  requires an integer, got "my text"'

    assert "my text" not in shown(text)
    assert "\n" not in shown(text)
    assert len(shown("x" * 10_000)) == 200


def test_rows_refused_for_what_they_hold_are_named():
    long = "new node has a vector with length 9. Existing nodes have vectors with length 8"

    assert refused({}) == frozenset()
    assert refused({"a": long, "b": "invalid integer property 'born' on class 'C'"}) == {"a", "b"}


def test_row_refused_for_another_reason_stops_the_call():
    with pytest.raises(StoreUnavailable, match="full"):
        refused({"a": "vector with length 9", "b": "store is read-only"})


def test_too_long_an_answer_is_asked_for_in_halves():
    assert halves(["a", "b", "c"], None) == [(["a"], None), (["b", "c"], None)]
    (first, second) = halves(["a"], None)
    assert [*first[1], *second[1]] == list(range(64))
    with pytest.raises(StoreUnavailable, match="more rows"):
        halves(["a"], [3])
