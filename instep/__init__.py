"""The functions for other programs. The first call imports the rest of instep."""

from pathlib import Path


def generate_embeddings(batch_size: int = 100, *, data: str | Path | None = None) -> dict[str, int]:
    """Send documents with missing or wrong vectors again, and wait until they are done.

    Asks the running instance: that of the data folder, else that of INSTEP_URL.

    Args:
        batch_size: documents that are sent again at a time, 1 to 10,000.
        data: the instance's data folder; default: INSTEP_DATA, else `.instep` here.

    Returns:
        `{"processed": n, "failed": m}`: documents that were sent again and are right by now, and
        those that ended as failed (`instep failures` says why). Both 0: everything was right.

    Raises:
        BusUnavailable: no instance runs; says what to do.
        ConfigurationError: `batch_size` is not possible.
    """
    from instep.tasks import generate_embeddings as generate

    return generate(batch_size, data=data)


__all__ = ["generate_embeddings"]
