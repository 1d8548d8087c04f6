"""Messages with attachments."""

from email.message import EmailMessage


def message(text: str = "see below", **attached: bytes) -> bytes:
    """A message in the form that lies in files; `report__md=b"…"` attaches report.md."""
    made = EmailMessage()
    made["Subject"], made["From"] = "Report", "a@example.org"
    made.set_content(text)
    for name, data in attached.items():
        file = name.replace("__", ".")
        made.add_attachment(data, maintype="application", subtype="octet-stream", filename=file)
    return bytes(made)
