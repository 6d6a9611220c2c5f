"""Kubernetes-style API serving over any storage; knows no kind and no other room.

storage   the seam below: compare-and-set on keys, one revision counter, follow()
cache     every live object and the recent changes, from follow(); watching and reading look into it
store     get, list, watch, create, update, patch, delete, in process; writing and deletion decide, purely
resource  what is served: types, their admission strategies, the registry
options                      what a request may ask, and which options make no sense together
patch, strategic, apply      the four kinds of patch, over structure, typed and fieldset
managed_fields               who wrote which field
schema_*, crd, custom_resources   structural schemas, and resources that users define
gc, owner_graph, scale       owner references, and `/scale`
discovery, openapi, tables   what clients read about the kinds
http      all of it over HTTP; access has the hooks for who asks, who may, and who remembers it
"""
