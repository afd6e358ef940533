"""docs/querying.rst and the SQL of README.rst: every block run against a mirror."""
