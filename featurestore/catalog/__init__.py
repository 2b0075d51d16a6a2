"""DuckDB over one state: connections, views, the SQL sandbox; the writer and its commits; snapshots and maintenance."""
