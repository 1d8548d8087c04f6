"""Addresses of sources: buckets, databases, pages of the web. Pure."""
