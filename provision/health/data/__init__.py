"""Data files of the audit."""
