"""The endpoints, one Flask blueprint per kind of resource."""
