"""The checks: one module each, with what the check is as data beside the code that judges."""
