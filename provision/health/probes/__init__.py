"""What looks at the node: one module a surface, each run in a child process of its own."""
