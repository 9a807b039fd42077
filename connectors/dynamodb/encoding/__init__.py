"""Items to the bytes that are sent, with every limit checked. Pure."""
