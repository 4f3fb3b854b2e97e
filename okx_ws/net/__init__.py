"""The client's only sockets and threads."""
