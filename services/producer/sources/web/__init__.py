"""Pages of the web as documents."""
