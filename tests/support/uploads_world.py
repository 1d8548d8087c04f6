"""A gateway over memory that documents can be sent to: the producer's door answers it."""

from collections import Counter

from gateway_world import Index
from intake_door import Door

from services.gateway.app import build_app
from services.gateway.uploads.uploads import Uploads
from services.producer.submissions.submission import SourceLimits
from shared.domain.events import Inline
from shared.domain.ids import doc_key
from shared.domain.submissions import encoded
from shared.ports import Delivery, Submitted

LIMIT = 3_000_000
INBOX = SourceLimits(LIMIT, ("file:///shared/",))


class DoorIntake:
    """Implements `Intake`: the bus and the producer in one."""

    def __init__(self, door):
        self.door = door
        self.ids = {}
        self.bodies = []
        self.count = 1_000
        self.failing = None
        """Raised instead of storing."""
        self.answers = True
        """Whether receipts come."""

    async def open(self):
        pass

    async def submit(self, source, body, *, token, message_id, wait_s=30.0):
        if self.failing is not None:
            raise self.failing
        if message_id in self.ids:
            return Submitted(self.ids[message_id], True, None)
        self.count += 1
        self.ids[message_id] = self.count
        self.bodies.append(dict(body))
        headers = {"Instep-Reply-To": f"_INBOX_gateway.receipts.{'x' * 32}.{token}"}
        delivery = Delivery(
            sequence=self.count, subject=f"documents.submitted.{source}", headers=headers
        )
        sequence = self.count
        await self.door.accept(encoded({"schema": 1, **body}), delivery)
        receipt = self.door.receipt.model_dump(mode="json") if self.answers else None
        return Submitted(sequence, False, receipt)


class UploadWorld:
    def __init__(self):
        self.index = Index()
        self.door = Door(self.index.changes, inbox=INBOX, wiki=SourceLimits(LIMIT))
        self.intake = DoorIntake(self.door)
        self.running = 1
        self.uploads = Uploads(
            self.intake,
            self.index.changes,
            self.index.queries,
            present=lambda: self.running,
            most_bytes={"inbox": LIMIT},
        )

    def app(self, **options):
        index = self.index
        return build_app(index.queries, index.commands, uploads=self.uploads, **options)

    @property
    def ops(self):
        return Counter(body.get("op", "upsert") for body in self.intake.bodies)

    async def content(self, path, source="inbox"):
        """The bytes of the newest change of a document."""
        change = (await self.index.changes.newest(source, doc_key(source, path))).readable
        content = change.content
        return (
            content.bytes()
            if isinstance(content, Inline)
            else await self.door.bodies.get(content.hash)
        )
