"""The page that takes files."""
