"""Documents in any target's notation: written by tokens, read by path. Pure."""
