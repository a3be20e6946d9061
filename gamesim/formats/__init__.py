"""Files that people already have: graphs now, game files later."""
