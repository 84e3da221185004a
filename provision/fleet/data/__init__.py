"""Numbers and dashboards as files."""
