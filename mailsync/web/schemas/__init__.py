"""The documents and parameters of requests, and the answers, as pydantic models."""
