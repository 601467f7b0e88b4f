"""A chosen model becomes something that a person can use: a command, a web page, a folder to give away."""
