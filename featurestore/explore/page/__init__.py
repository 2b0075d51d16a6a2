"""The explorer: one page on loopback that shows a store; the server knows no store, the answers know no HTTP."""
