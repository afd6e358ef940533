"""How gunicorn runs the API: its worker class, connections, memory, and the messages to systemd."""
