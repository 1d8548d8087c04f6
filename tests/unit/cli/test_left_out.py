"""What a folder leaves out, as `show` and `doctor` tell it."""

from services.cli.commands.doctor import DoctorObservations, FolderSeen, findings
from services.cli.commands.show import left_out_lines
from services.cli.terminal import Terminal

PLAIN = Terminal(width=80, color=False)


def answer(**fields):
    return {"source": "docs", "path": "", "why": "", "counts": {}, "some": {}} | fields


def test_show_of_a_folder_lists_some_with_the_rule_and_counts_the_rest():
    shown = left_out_lines(
        answer(
            path="sub",
            counts={".png": 3, "folders ignored by .gitignore": 1},
            some={"sub/out/": "ignored by line 2 of .gitignore: out/", "sub/\x1ba.png": "no"},
        ),
        PLAIN,
    )

    assert shown[0] == "docs/sub: left out: 3 .png, 1 folder ignored by .gitignore"
    assert "sub/out/" in shown[-2]
    assert "line 2 of .gitignore" in shown[-2]
    assert "\x1b" not in "".join(shown)
    assert shown[-1] == "and 2 more"


def test_show_of_a_folder_that_is_left_out_says_why():
    assert left_out_lines(answer(path="x", why="excluded by the pattern x"), PLAIN) == [
        "docs/x is left out: excluded by the pattern x"
    ]
    assert left_out_lines(answer(), PLAIN) == [
        "docs: nothing is left out but hidden and temporary files"
    ]


def test_doctor_counts_what_is_left_out():
    folder = FolderSeen("docs", "/docs", readable=True, folders=2, left_out={".png": 2, "": 1})
    seen = DoctorObservations(folders=[folder])

    texts = [one.text for one in findings(seen) if one.name == "source docs"]

    assert texts == ["source docs: /docs, 2 folders; left out: 2 .png, 1 without an ending"]
