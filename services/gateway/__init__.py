"""The gateway: search, status, documents, failures over HTTP, and the same answers in Python."""
