"""Security controls as data: what they are, which of them a node gets, and what SCAP is told."""
