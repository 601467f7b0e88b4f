"""Turn a chosen model into something that a person can use: a command, a web page, or a folder to give away."""
