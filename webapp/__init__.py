"""The project in a browser, and as a service; only app.py imports it."""
