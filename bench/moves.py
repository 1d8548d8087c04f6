"""What must cost no encoding: moves, a copy, line endings, trailing space, a wiped store.

python bench/moves.py [--docs FOLDER]
"""

from __future__ import annotations

import shutil

from harness import Instep, arguments, workplace


def main() -> None:
    args = arguments(__doc__).parse_args()
    with workplace(args.docs, args.count) as (docs, data):
        instep = Instep(data)
        first, wall = instep.json("up", docs, "--once")
        print(f"first: {first['chunks']['embedded']} texts encoded in {wall:.1f} s")

        def again(what: str) -> None:
            summary, wall = instep.json("up", docs, "--once")
            assert summary["in_step"], summary
            print(f"{what}: {summary['chunks']['embedded']} texts encoded, {wall:.1f} s")

        files = sorted(docs.rglob("*.md"))
        (docs / "moved").mkdir()
        for file in files[:10]:
            file.rename(docs / "moved" / f"{file.parent.name}-{file.name}")
        again("10 files moved")
        shutil.copy(files[10], docs / "a-copy.md")
        again("1 file copied")
        for file in files[11:21]:
            file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
        again("line endings of 10 files")
        for file in files[21:31]:
            file.write_text("".join(line + "  \n" for line in file.read_text().splitlines()))
        again("trailing space in 10 files")
        shutil.rmtree(data / "store")
        again("store wiped")
        report, _ = instep.json("validate")
        print(f"validate: passed {report['passed']}")


if __name__ == "__main__":
    main()
