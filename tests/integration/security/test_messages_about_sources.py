"""With keys, the producer hears of changes on one subject for each source, from a stream too."""

from nats.js.api import StreamConfig

from shared.bus.monitor.watchers import hear_changes


async def test_the_producer_hears_what_a_stream_gets_about_its_source_and_nothing_else(
    keyed, eventually
):
    refused = []
    async with keyed.session("admin") as admin, keyed.session("producer") as producer:
        subjects = ["instep.sources.changed.*", "debezium.>"]
        await admin.js.add_stream(StreamConfig(name="CAPTURE", subjects=subjects))
        heard = []
        await hear_changes(producer.client, "docs", heard.append)
        await hear_changes(producer.client, "docs", refused.append, "debezium.public.articles")

        for subject in ("debezium.public.articles", "instep.sources.changed.docs"):
            await admin.js.publish(subject, subject.encode())

        await eventually(lambda: heard == [b"instep.sources.changed.docs"])
        assert refused == []
        assert any("debezium.public.articles" in line for line in keyed.violations())
