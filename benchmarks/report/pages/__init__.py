"""The pages of the report, each made of blocks; nothing here writes a file."""
