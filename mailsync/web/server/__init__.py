"""How gunicorn runs the API: its worker class, connections, memory and watchdog."""
