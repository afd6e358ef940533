"""The endpoints, one Flask blueprint for each kind of thing that is asked for."""
