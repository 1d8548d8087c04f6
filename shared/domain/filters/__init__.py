"""Filters over documents: kinds of fields, the expression, and the terms that stores compare. Pure.

settings  created_at = "date"
a row     metadata {"created_at": "2026-01-03"}  ->  its column of terms
a search  created_at >= 2026-01-01               ->  a few terms, one of which the row has
"""
