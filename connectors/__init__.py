"""What talks to the outside: sources that are read and targets that are written."""
