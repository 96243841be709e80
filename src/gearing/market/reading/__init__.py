"""Reading tables as people have them: files, data frames and JSON, brought to known columns, or rejected."""
