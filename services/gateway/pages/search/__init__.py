"""The page for questions: its form, its hits, and the same question as commands."""
