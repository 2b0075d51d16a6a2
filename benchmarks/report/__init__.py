"""Tables and pages for people; reads results, never trains."""
