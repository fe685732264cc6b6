"""The HTTP border: one file per resource, attributes as data."""
