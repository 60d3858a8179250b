"""One federation: messages, the grid of processes, the client and the server, on public Flower alone."""
