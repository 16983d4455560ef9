"""HTTP to use case and back; nothing is decided here."""
