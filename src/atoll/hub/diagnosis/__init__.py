"""How a hub and what it depends on are, measured when it is asked: NATS's servers and streams, the members' clocks and
credentials. Nothing here is stored, and nothing here judges: what is wrong is for who asks to say.
"""
