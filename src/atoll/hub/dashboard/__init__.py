"""The dashboard: pages that people look at, served by the hub under `/dashboard` (docs/adr/0041).

Owns what a browser sees: pages, sign-in, live updates and the assets, which work without any other server. Data comes
one way: the hub's watch cache → rows (`rows`) → a page's frozen scope → its pure view model → a template. It must not
decide anything about objects: what a person changes goes through the API as that person (`inside`), so that access,
admission and audit are those of every other client.
"""
