"""The SQL of docs/howto and README.rst: every block runs against a mirror."""
