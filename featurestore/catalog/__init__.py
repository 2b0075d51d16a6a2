"""DuckDB over one state: connections, views, the sandbox; the writer and its commits; snapshots and maintenance."""
