"""What requests may hold and answers do, as pydantic models."""
