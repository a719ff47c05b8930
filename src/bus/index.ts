// The ground: one connection to NATS, or an embedded server.
