"""`atoll support-bundle`: what helps to find a fault, and nothing that anybody must keep to themselves."""
