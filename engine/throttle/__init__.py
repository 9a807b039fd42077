"""How fast and how wide to send, learned from what the target answers. Pure: every call is told the time."""
