"""Offer what pages and commands do to programs: the REST API, its tokens and its documentation.

Only ``urls`` and what it imports load django-ninja and pydantic, at the first request to the API.
"""
