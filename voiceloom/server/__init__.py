"""Voiceloom over HTTP and WebSocket: `voiceloom serve`."""
