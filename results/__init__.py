"""The paper's own numbers (``paper/``) and the schema of a record, shipped with the package."""
