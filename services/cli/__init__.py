"""The command line. Nothing heavy is imported before the command that needs it."""
