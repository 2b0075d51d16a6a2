"""Reads files of vectors and of ids as other tools write them: tables, arrays, folders of shards; it stores nothing."""
