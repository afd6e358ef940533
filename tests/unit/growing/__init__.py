"""Which functions read what strangers send, and how their processor time grows with its length."""
