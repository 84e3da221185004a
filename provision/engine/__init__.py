"""Drives Ansible: preflight, plan, waves, journal, resume, restarts, events.

Roles change nodes; this room decides which of them run where and when, and keeps the journal.
"""
