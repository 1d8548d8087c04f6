"""Questions to a running gateway, from the command line."""

from dataclasses import replace

import pytest

from services.host.data_folder import DataFolder


async def test_search_prints_hits_and_json_has_the_same(served, cli):
    await served.put("ops/keys.md", ["rotate the credential"])
    await served.put("faq.md", ["opening hours"])

    shown = await cli("search", "rotate", "credential", "-n", "1", "--explain")
    told = (await cli("search", "rotate credential", "-n", "1", "--explain", "--json")).json()

    assert shown.status == 0
    assert shown.err == ""
    assert "docs/ops/keys.md > Top" in shown.out
    assert f"{told['hits'][0]['score']:.4f}" in shown.out
    assert [hit["document"]["path"] for hit in told["hits"]] == ["ops/keys.md"]
    assert "\x1b" not in shown.out  # not a terminal


async def test_the_running_instance_is_found_and_url_overrides_it(served, cli):
    assert (await cli("status")).status == 0

    elsewhere = await cli("status", "--url", "http://127.0.0.1:9")
    assert elsewhere.status == 3
    assert "no gateway answers at http://127.0.0.1:9" in elsewhere.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["show", "faqq.md"], "did you mean 'faq.md'?"),
        (["search", "x", "--filter", "sorce:docs"], "did you mean source?"),
        (["search", "x", "-n", "900"], "limit"),
        (["retry", "f_nosuch"], "is not a failure"),
        (["failures", "dismiss"], "nothing is chosen"),
    ],
)
async def test_no_is_one_line_and_status_2(served, cli, args, said):
    await served.put("faq.md", ["x"])

    done = await cli(*args)

    assert done.status == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1


async def test_show_finds_a_document_by_the_file_it_comes_from(served, cli):
    root = cli.cwd / "notes"
    (root / "guide").mkdir(parents=True)
    source = served.sources[0].model_copy(update={"path": str(root)})
    served.queries.sources = [source]
    key, _ = await served.put("guide/a.md", ["text"])

    for name in ("notes/guide/a.md", str(root / "guide/a.md"), "docs/guide/a.md", "guide/a.md"):
        done = await cli("show", name, "--json")
        assert (done.status, done.json()["doc_key"]) == (0, key), name


async def test_failures_are_listed_retried_and_dismissed(served, cli):
    await served.begin("big.csv", ["big"])
    await served.fail("big.csv")

    listed = (await cli("failures", "--json")).json()["failures"]
    plan = await cli("retry", "--all", "--dry-run")
    dismissed = await cli("failures", "dismiss", listed[0]["id"])

    assert listed[0]["document"] == "docs/big.csv"
    assert listed[0]["code"] == "exhausted"
    assert "nothing was done: 1 failure would be retried" in plan.out
    assert (dismissed.status, dismissed.out.splitlines()[-1]) == (0, "1 failure dismissed")


async def test_doctor_asks_the_instance(served, cli):
    await served.put("a.md", ["text"])

    done = await cli("doctor", "--json", INSTEP_EMBEDDING__MODEL="fake-64")

    checks = {check["name"]: check for check in done.json()["checks"]}
    assert checks["bus"]["level"] == "ok"
    assert checks["index"]["text"] == "index: 1 row, equal to the ledger"


async def test_validate_reads_questions_and_ends_with_its_verdict(served, cli):
    done = await cli("validate", "--queries", "-", stdin='{"q": "x", "expect": "docs/a.md"}\n')

    assert done.status == 0
    assert "all is well" in done.out


async def test_publish_to_a_gateway_that_takes_no_documents_is_not_reachable(served, impatient):
    done = await impatient("publish", "-", "--source", "inbox", "--path", "a.md", stdin="text")

    assert done.status == 3
    assert "this gateway takes no documents" in done.err


async def test_a_reader_who_has_enough_is_no_error(served, cli):
    import asyncio
    import sys

    for n in range(60):
        await served.put(f"{n}.md", ["zebra " * 40])
    command = f"{sys.executable} -m services search zebra -n 60 --json --data {cli.data} | head -1"
    process = await asyncio.create_subprocess_shell(
        command, cwd=cli.cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()

    assert out == b"{\n"
    assert err == b""


async def test_doctor_asks_an_instance_on_another_machine_and_not_for_its_folders(
    served, cli, tmp_path
):
    here = replace(cli, data=tmp_path / "other")
    url = DataFolder(cli.data).read_instance().gateway_url
    settings = {
        "INSTEP_URL": url,
        "INSTEP_BUS__URL": "nats://there:4222",
        "INSTEP_SOURCES__DOCS__PATH": "/srv/there",
        "INSTEP_EMBEDDING__MODEL": "fake-64",
    }
    findings = (await here("doctor", "--json", **settings)).json()["checks"]

    assert [f["name"] for f in findings if f["level"] == "FAIL"] == []
    assert "bus" in [f["name"] for f in findings]
