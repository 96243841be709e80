"""Programs about the project that are not part of the package."""
