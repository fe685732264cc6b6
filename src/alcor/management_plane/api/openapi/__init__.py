"""The API described by itself: the OpenAPI document, made from what is served, and a page that shows it."""
