"""Named experiments: each lists only what differs from a base, with the reason."""
