"""Findings, verdicts, and how they are shown: terminal, JSON, JUnit, HTML."""
