"""Nothing changed: a second `up --once` over the same files.

    python bench/noop.py [--docs FOLDER] [--count 200] [--model all-MiniLM-L6-v2]

`--model fake-64` makes the first run quick where only the second one matters (20,000 files).
"""

from __future__ import annotations

from harness import Instep, arguments, workplace


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with workplace(args.docs, args.count) as (docs, data):
        instep = Instep(data, INSTEP_EMBEDDING__MODEL=args.model)
        first, wall = instep.json("up", docs, "--once")
        print(f"first: {wall:.2f} s, {first['documents']['found']} documents")
        for _ in range(args.rounds):
            again, wall = instep.json("up", docs, "--once")
            assert again["in_step"], again
            print(
                f"again: {wall:.2f} s whole process, {again['work_s']:.3f} s of work after "
                f"start-up, {again['chunks']['embedded']} texts encoded, "
                f"{again['documents']['unchanged']} unchanged"
            )


if __name__ == "__main__":
    main()
