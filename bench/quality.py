"""How good the order of the hits is: nDCG@10, MRR and recall on judged questions, by mode.

python bench/quality.py [--docs FOLDER --judged FILE] [--weights 0.6 0.4]
python bench/quality.py --own bench/data/other-languages.jsonl [--below ru/]

A line of the judged file is `{"q": QUESTION, "relevant": {PATH: GRADE}}`; grade 2 is a page with
the answer, 1 one that helps. Hits are grouped by document. The folder is the manual by default.
A line of a file of `--own` is a document and what is asked about it:
`{"path": PATH, "text": TEXT, "questions": [QUESTION]}`.
"""

from __future__ import annotations

import json
import math
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from harness import MANUAL, Instep, arguments, wait_until, workplace

AT = 10
JUDGED = Path(__file__).parent / "data" / "manual-judged.jsonl"


def ndcg(paths: list[str], relevant: dict[str, int]) -> float:
    """Gain 2^grade - 1, discount by the logarithm of the rank; in [0, 1]."""
    gains = [2 ** relevant.get(path, 0) - 1 for path in paths[:AT]]
    best = sorted((2**grade - 1 for grade in relevant.values()), reverse=True)[:AT]
    return _discounted(gains) / _discounted(best)


def _discounted(gains: list[int]) -> float:
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))


def reciprocal_rank(paths: list[str], relevant: dict[str, int]) -> float:
    ranks = (n for n, path in enumerate(paths[:AT], 1) if path in relevant)
    return 1 / next(ranks, math.inf)


def recall(paths: list[str], relevant: dict[str, int]) -> float:
    return len(relevant.keys() & set(paths[:AT])) / len(relevant)


def ask(gateway: str, body: dict[str, Any]) -> list[str]:
    data = json.dumps({**body, "limit": AT, "group_by": "document"}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{gateway}/api/v1/search", data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [hit["document"]["path"] for hit in json.load(answer)["hits"]]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--judged", type=Path, default=JUDGED)
    parser.add_argument("--weights", type=float, nargs=2, metavar=("VECTOR", "KEYWORD"))
    parser.add_argument("--worst", type=int, default=0, help="print so many of the worst questions")
    parser.add_argument("--own", type=Path, help="documents and questions in one file")
    parser.add_argument("--below", default="", help="ask about its documents with this prefix only")
    args = parser.parse_args()
    own = read(args.own) if args.own else []
    judged = read(args.judged) if not own else own_judged(own, args.below)
    with (
        tempfile.TemporaryDirectory() as folder,
        workplace(own_documents(own, Path(folder)) if own else args.docs or MANUAL, args.count) as (
            docs,
            data,
        ),
    ):
        instep = Instep(data)
        with instep.up(docs) as process:
            wait_until(lambda: instep.in_step(process), 600)
            for mode in ("hybrid", "vector", "keyword"):
                body: dict[str, Any] = {"mode": mode}
                if args.weights and mode == "hybrid":
                    body["weights"] = dict(zip(("vector", "keyword"), args.weights, strict=True))
                found = [ask(instep.gateway(), {"q": one["q"], **body}) for one in judged]
                tell(mode, judged, found, args.worst)


def read(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def own_judged(own: list[Any], below: str) -> list[Any]:
    return [
        {"q": question, "relevant": {one["path"]: 2}}
        for one in own
        if one["path"].startswith(below)
        for question in one["questions"]
    ]


def own_documents(own: list[Any], folder: Path) -> Path:
    for one in own:
        file = folder / one["path"]
        file.parent.mkdir(exist_ok=True)
        file.write_text(one["text"])
    return folder


def tell(mode: str, judged: list[Any], found: list[list[str]], worst: int) -> None:
    pairs = [(paths, one["relevant"]) for paths, one in zip(found, judged, strict=True)]
    scores = [ndcg(*pair) for pair in pairs]
    means = [sum(each) / len(judged) for each in (scores, *zip(*map(_others, pairs), strict=True))]
    named = zip(("nDCG@10", "MRR", "recall@10"), means, strict=True)
    values = "  ".join(f"{name} {mean:.3f}" for name, mean in named)
    print(f"{mode:8} {values}  ({len(judged)} questions)", flush=True)
    for score, one, paths in sorted(zip(scores, judged, found, strict=True), key=lambda x: x[0])[
        :worst
    ]:
        print(f"  {score:.2f}  {one['q']}: {', '.join(paths[:3])}")


def _others(pair: tuple[list[str], dict[str, int]]) -> tuple[float, float]:
    return reciprocal_rank(*pair), recall(*pair)


if __name__ == "__main__":
    main()
